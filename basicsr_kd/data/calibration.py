"""Calibration images and clips: the few inputs that pruning looks at."""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import lmdb
import numpy as np
import torch
from basicsr.utils import img2tensor
from torch import Tensor

from basicsr_kd.archs.probe import input_channels, is_recurrent, makes_low_resolution
from basicsr_kd.data.clips import Clip, find_clips, read_clip, words
from basicsr_kd.data.tecogan_degradation import BORDER, SIGMA, gaussian_downsample
from basicsr_kd.data.tecogan_train_dataset import LR_MULTIPLE, reflected
from basicsr_kd.errors import ClipError, PruningError
from basicsr_kd.utils.images import SUFFIXES, middle

FRAMES = 10
"""Number of frames of each calibration clip, as in TecoGAN's training."""

_WHOLE = 512
"""Largest side of the part of an image that is kept."""

_T = TypeVar('_T')


def read_calibration(dataroot: str | os.PathLike[str], num: int = 16, size: int = 96, channels: int = 3) -> Tensor:
    """Read the centres of some images, evenly spread over a folder.

    Args:
        dataroot: A folder of images, also in folders inside it, or BasicSR's LMDB, a folder `….lmdb` with its
            `meta_info.txt`. The images are inputs of the network: low resolution.
        num: The number of images; all are taken if there are fewer.
        size: Side of the square cut out of the middle of each image. If the smallest chosen image is smaller, its
            shorter side is the size for all. Rounded down to a multiple of 4, for networks with a pixel-unshuffle.
        channels: 3, or 1 for a network of grey images, which gets the luma of coloured images.

    Returns:
        `(n, channels, size, size)`, RGB in [0, 1], float32 on the CPU. The same call gives the same images.

    Raises:
        PruningError: There is no such folder, it has no image, an image cannot be read, `num` is less than 1, `size`
            is less than 4, or `channels` is neither 1 nor 3.
    """
    check_numbers(size=(size, 4))
    images = list(_decoded(dataroot, num, channels))
    size = max(4, min([size] + [min(image.shape[:2]) for image in images]) // 4 * 4)
    return torch.stack([img2tensor(centre(image, size), bgr2rgb=True, float32=True) for image in images])


def read_whole(dataroot: str | os.PathLike[str], num: int = 16, channels: int = 3) -> list[Tensor]:
    """Read the images of `read_calibration` in full size, not only their centres.

    Returns:
        `(1, channels, h, w)` for each image, in the same order, RGB in [0, 1], float32 on the CPU; only the middle
        512 x 512 pixels of larger images.

    Raises:
        PruningError: As in `read_calibration`.
    """
    return [img2tensor(centre(image, _WHOLE), bgr2rgb=True, float32=True)[None]
            for image in _decoded(dataroot, num, channels)]


def _decoded(dataroot: str | os.PathLike[str], num: int, channels: int) -> Iterator[np.ndarray]:
    """Some images of a folder or LMDB, (h, w, channels) BGR float32 in [0, 1]."""
    check_numbers(num=(num, 1))
    check_channels(channels)
    root = Path(dataroot)
    if not root.is_dir():
        raise PruningError(f'calibration: {root} {"is a file" if root.exists() else "does not exist"} (from '
                           f'{os.getcwd()}). Expected a folder of images or an .lmdb folder.')
    files = _from_lmdb(root, num) if root.suffix == '.lmdb' else _from_folder(root, num)
    return (decode(content, where, channels) for where, content in files)


def _from_folder(root: Path, num: int) -> Iterator[tuple[str, bytes]]:
    """Path and content of `num` images of a folder."""
    paths = sorted(path for path in root.rglob('*')
                   if path.suffix.lower() in SUFFIXES and not path.name.startswith('.') and path.is_file())
    if not paths:
        raise PruningError(f'calibration: no images ({", ".join(sorted(SUFFIXES))}) in {root}. Expected some of the '
                           'low-resolution images that the network was trained on.')
    return ((str(path), path.read_bytes()) for path in spread(paths, num))


def _from_lmdb(root: Path, num: int) -> Iterator[tuple[str, bytes]]:
    """Key and content of `num` images of an LMDB.

    The keys are the first words of the lines of meta_info.txt without their ending, as in BasicSR.
    """
    meta = root / 'meta_info.txt'
    if not meta.is_file():
        raise PruningError(f'calibration: {meta} does not exist. Expected an LMDB as BasicSR writes it, with this list '
                           'of its images.')
    keys = sorted(line.split('.')[0] for line in meta.read_text().splitlines() if line.strip())
    if not keys:
        raise PruningError(f'calibration: {meta} lists no images.')
    return read_lmdb(root, spread(keys, num))


def read_calibration_for(net: Any, dataroot: str | os.PathLike[str], num: int = 16, size: int = 96,
                         sigma: float = SIGMA, clips: Sequence[Clip] | None = None) -> Tensor:
    """Read calibration images, or clips for a network that goes from frame to frame.

    Args:
        net: The network that the images are for; it may be on the meta device.
        dataroot: For images, see `read_calibration`. For clips: a folder with one folder for each clip, or the folder
            of one clip, or BasicSR's LMDB, a folder `….lmdb`. The frames are ground truth, from which low resolution is
            made as in training. A network of degradation BI, for which it cannot be made, needs low resolution here.
        num: The number of images or clips; all are taken if there are fewer. A long clip counts as several, one for
            each `FRAMES` frames. A clip of fewer frames is gone through backwards when it ends, as in training.
        size: Side, in low resolution, of the square cut out of the middle of each image; see `read_calibration`. For
            clips it is rounded down to a multiple of 8.
        sigma: Standard deviation of the blur, in pixels of the ground truth.
        clips: The clips of `dataroot` to take; default: all.

    Returns:
        `(n, c, size, size)`, for clips `(n, 10, c, size, size)`; RGB in [0, 1], float32 on the CPU. The same call
        gives the same images.

    Raises:
        PruningError: As in `read_calibration`, or clips cannot be used.
    """
    channels = input_channels(net)
    if not is_recurrent(net):
        return read_calibration(dataroot, num, size, channels)
    check_numbers(num=(num, 1), size=(size, LR_MULTIPLE))
    check_channels(channels)
    clips = _find(Path(dataroot)) if clips is None else clips
    chosen = spread([(clip, start) for clip in clips
                     for start in range(0, max(1, len(clip.frames) - FRAMES + 1), FRAMES)], num)
    made = makes_low_resolution(net)
    scale, border = (int(net.scale), BORDER) if made else (1, 0)  # of a frame compared with the input
    smallest = min((clip for clip, _ in chosen), key=lambda clip: min(clip.size))
    size = min(size, (min(smallest.size) - 2 * border) // scale) // LR_MULTIPLE * LR_MULTIPLE
    if not size:
        raise PruningError(f'calibration: {smallest.frames[0]} has {words(smallest.size)}. Expected sides of at least '
                           f'{LR_MULTIPLE * scale + 2 * border}.')
    found = torch.stack([_cut(clip, start, Path(dataroot), size * scale + 2 * border, channels)
                         for clip, start in chosen])
    return gaussian_downsample(found, scale, sigma) if made else found


def _find(root: Path) -> list[Clip]:
    """The clips in a folder, or the folder itself as one clip; order and sizes of frames are checked."""
    try:
        if root.suffix == '.lmdb':
            return find_clips(root, 'lmdb')
        if root.is_dir() and any(path.suffix.lower() in SUFFIXES for path in root.iterdir() if path.is_file()):
            return [read_clip(root)]
        return find_clips(root)
    except ClipError as error:
        raise PruningError(f'calibration: {error}') from None


def _cut(clip: Clip, start: int, root: Path, side: int, channels: int) -> Tensor:
    """The middle of some frames of a clip, (FRAMES, channels, side, side)."""
    order = reflected(start, FRAMES, len(clip.frames))
    names = [clip.frames[number] for number in sorted(set(order))]
    frames = {}
    for number, (where, content) in zip(sorted(set(order)), _contents(root, names), strict=True):
        image = decode(content, where, channels)
        if image.shape[:2] != clip.size:
            raise PruningError(f'calibration: {where} has {words(image.shape[:2])}, expected {words(clip.size)} as its '
                               'clip. Replace it, or correct the list of sizes.')
        frames[number] = img2tensor(centre(image, side), bgr2rgb=True, float32=True)
    return torch.stack([frames[number] for number in order])


def _contents(root: Path, names: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    if root.suffix == '.lmdb':
        return read_lmdb(root, names)
    return ((name, Path(name).read_bytes()) for name in names)


def check_numbers(**numbers: tuple[Any, int]) -> None:
    """Check that options are whole numbers, and not too small.

    Args:
        numbers: For each option, the value given and the least allowed.

    Raises:
        PruningError: A value is no whole number, or too small.
    """
    for option, (value, least) in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise PruningError(f'calibration: {option} is {value!r}. Expected a whole number of at least {least}.')


def check_channels(channels: int) -> None:
    """Check that a network's input can be an image: 1 or 3 channels.

    Raises:
        PruningError: The number of channels is another.
    """
    if channels not in (1, 3):
        raise PruningError(f'calibration: images have 3 channels or 1, and the network takes {channels}.')


def spread(items: Sequence[_T], num: int) -> list[_T]:
    """`num` items, evenly spread; all items if there are fewer."""
    num = min(num, len(items))
    return [items[index * len(items) // num] for index in range(num)]


def read_lmdb(root: Path, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """Read some keys of an LMDB: each key's place, in words for messages, and its content.

    BasicSR's FileClient is not used, as it never closes an LMDB: training opens it later, and no process may open an
    LMDB twice.

    Raises:
        PruningError: The LMDB cannot be read, or lacks a key.
    """
    try:
        with lmdb.open(str(root), readonly=True, lock=False, readahead=False) as database, database.begin() as reader:
            for key in keys:
                yield f'{root}: {key}', reader.get(key.encode()) or b''
    except lmdb.Error as error:
        raise PruningError(f'calibration: {root} cannot be read as an LMDB: {error}') from error


def decode(content: bytes, where: str, channels: int) -> np.ndarray:
    """The pixels of an image file; 16 bits keep their precision, which BasicSR's imfrombytes would drop.

    Args:
        content: The file.
        where: The file's name in messages.
        channels: 3, or 1 for the luma of coloured images.

    Returns:
        (h, w, channels) BGR, float32 in [0, 1].

    Raises:
        PruningError: The file cannot be read, or holds other values than 8 or 16 bits.
    """
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if image is None:
        raise PruningError(f'calibration: {where} is not an image that can be read. Remove it or put it right.')
    if image.dtype not in (np.uint8, np.uint16):
        raise PruningError(f'calibration: {where} holds {image.dtype} values. Expected 8 or 16 bits a channel.')
    image = image.astype(np.float32) / (255 if image.dtype == np.uint8 else 65535)
    image = image.reshape(*image.shape[:2], -1)
    image = image[:, :, :3] if image.shape[2] >= 3 else np.repeat(image[:, :, :1], 3, axis=2)
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[:, :, None] if channels == 1 else image


def centre(image: np.ndarray, size: int) -> np.ndarray:
    """The square of side `size` in the middle of an image (h, w, c); smaller where the image is."""
    return np.ascontiguousarray(middle(image, size))
