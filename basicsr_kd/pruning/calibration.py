"""Calibration images: the network inputs that activations and gradients are taken on."""
from __future__ import annotations

import os
from pathlib import Path
from typing import TypeVar

import cv2
import lmdb
import numpy as np
import torch
from basicsr.utils import img2tensor
from torch import Tensor

from basicsr_kd.pruning.errors import PruningError

SUFFIXES = frozenset({'.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm'})

_T = TypeVar('_T')


def read_calibration(dataroot: str | os.PathLike[str], num: int = 16, size: int = 96, channels: int = 3) -> Tensor:
    """Read the centres of some images, evenly spread over a folder.

    Args:
        dataroot: a folder of images (those in folders inside it too), or BasicSR's LMDB, a folder ``….lmdb`` with its
            ``meta_info.txt``. They are inputs of the network: low resolution.
        num: how many images, all of them where there are fewer.
        size: side of the square cut out of the middle of each. Where the smallest chosen image is smaller, its shorter
            side is the size for all. A multiple of 4, which networks with a pixel-unshuffle need: what is over is left.
        channels: 3, or 1 for a network of grey images, which gets the luma of coloured ones.

    Returns:
        ``(n, channels, size, size)``, RGB in [0, 1], float32 on the CPU. The same call gives the same images.

    Raises:
        PruningError: no such folder, no image in it, one that cannot be read, or ``num`` is less than 1 or
            ``size`` than 4, or a network of other channels.
    """
    for option, value, least in (('num', num, 1), ('size', size, 4)):
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise PruningError(f'calibration: {option} is {value!r}. Expected a whole number of at least {least}.')
    if channels not in (1, 3):
        raise PruningError(f'calibration: images have 3 channels or 1, and the network takes {channels}.')
    root = Path(dataroot)
    if not root.is_dir():
        raise PruningError(f'calibration: {root} {"is a file" if root.exists() else "does not exist"} (from '
                           f'{os.getcwd()}). Expected a folder of images or an .lmdb folder.')
    files = _from_lmdb(root, num) if root.suffix == '.lmdb' else _from_folder(root, num)
    images = [_decode(content, where) for where, content in files]
    size = max(4, min([size] + [min(image.shape[:2]) for image in images]) // 4 * 4)
    if channels == 1:
        images = [cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[:, :, None] for image in images]
    return torch.stack([img2tensor(_centre(image, size), bgr2rgb=True, float32=True) for image in images])


def _from_folder(root: Path, num: int) -> list[tuple[str, bytes]]:
    """Some of its images: path and content."""
    paths = sorted(path for path in root.rglob('*')
                   if path.suffix.lower() in SUFFIXES and not path.name.startswith('.') and path.is_file())
    if not paths:
        raise PruningError(f'calibration: no images ({", ".join(sorted(SUFFIXES))}) in {root}. Expected some of the '
                           'low-resolution images that the network was trained on.')
    return [(str(path), path.read_bytes()) for path in _spread(paths, num)]


def _from_lmdb(root: Path, num: int) -> list[tuple[str, bytes]]:
    """Some of its images; the keys are the first words of meta_info.txt without their ending, as in BasicSR."""
    meta = root / 'meta_info.txt'
    if not meta.is_file():
        raise PruningError(f'calibration: {meta} does not exist. Expected an LMDB as BasicSR writes it, with this list '
                           'of its images.')
    keys = sorted(line.split('.')[0] for line in meta.read_text().splitlines() if line.strip())
    if not keys:
        raise PruningError(f'calibration: {meta} lists no images.')
    try:
        # Not through BasicSR's FileClient, which never closes: no process may open an LMDB twice, as training will.
        with lmdb.open(str(root), readonly=True, lock=False, readahead=False) as database, database.begin() as reader:
            return [(f'{root}: {key}', reader.get(key.encode()) or b'') for key in _spread(keys, num)]
    except lmdb.Error as error:
        raise PruningError(f'calibration: {root} cannot be read as an LMDB: {error}') from error


def _spread(items: list[_T], num: int) -> list[_T]:
    num = min(num, len(items))
    return [items[index * len(items) // num] for index in range(num)]


def _decode(content: bytes, where: str) -> np.ndarray:
    """``(h, w, 3)`` BGR, float32 in [0, 1]; 16 bits keep their precision, which BasicSR's imfrombytes would drop."""
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if image is None:
        raise PruningError(f'calibration: {where} is not an image that can be read. Remove it or put it right.')
    if image.dtype not in (np.uint8, np.uint16):
        raise PruningError(f'calibration: {where} holds {image.dtype} values. Expected 8 or 16 bits a channel.')
    image = image.astype(np.float32) / (255 if image.dtype == np.uint8 else 65535)
    image = image.reshape(*image.shape[:2], -1)
    return image[:, :, :3] if image.shape[2] >= 3 else np.repeat(image[:, :, :1], 3, axis=2)


def _centre(image: np.ndarray, size: int) -> np.ndarray:
    top, left = ((side - size) // 2 for side in image.shape[:2])
    return np.ascontiguousarray(image[top:top + size, left:left + size])
