"""Calibration images: the network inputs that activations and gradients are taken on."""
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import torch
from basicsr.utils import img2tensor
from torch import Tensor

from basicsr_kd.pruning.calibration_files import centre, check_channels, check_numbers, decode, read_lmdb, spread
from basicsr_kd.pruning.errors import PruningError

SUFFIXES = frozenset({'.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm'})


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
    check_numbers(num=(num, 1), size=(size, 4))
    check_channels(channels)
    root = Path(dataroot)
    if not root.is_dir():
        raise PruningError(f'calibration: {root} {"is a file" if root.exists() else "does not exist"} (from '
                           f'{os.getcwd()}). Expected a folder of images or an .lmdb folder.')
    files = _from_lmdb(root, num) if root.suffix == '.lmdb' else _from_folder(root, num)
    images = [decode(content, where, channels) for where, content in files]
    size = max(4, min([size] + [min(image.shape[:2]) for image in images]) // 4 * 4)
    return torch.stack([img2tensor(centre(image, size), bgr2rgb=True, float32=True) for image in images])


def _from_folder(root: Path, num: int) -> Iterator[tuple[str, bytes]]:
    """Some of its images: path and content."""
    paths = sorted(path for path in root.rglob('*')
                   if path.suffix.lower() in SUFFIXES and not path.name.startswith('.') and path.is_file())
    if not paths:
        raise PruningError(f'calibration: no images ({", ".join(sorted(SUFFIXES))}) in {root}. Expected some of the '
                           'low-resolution images that the network was trained on.')
    return ((str(path), path.read_bytes()) for path in spread(paths, num))


def _from_lmdb(root: Path, num: int) -> Iterator[tuple[str, bytes]]:
    """Some of its images; the keys are the first words of meta_info.txt without their ending, as in BasicSR."""
    meta = root / 'meta_info.txt'
    if not meta.is_file():
        raise PruningError(f'calibration: {meta} does not exist. Expected an LMDB as BasicSR writes it, with this list '
                           'of its images.')
    keys = sorted(line.split('.')[0] for line in meta.read_text().splitlines() if line.strip())
    if not keys:
        raise PruningError(f'calibration: {meta} lists no images.')
    return read_lmdb(root, spread(keys, num))
