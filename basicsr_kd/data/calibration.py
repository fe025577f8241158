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
"""Of each clip, as in TecoGAN's training."""

_WHOLE = 512
"""Side of the most that is kept of an image."""

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
    check_numbers(size=(size, 4))
    images = list(_decoded(dataroot, num, channels))
    size = max(4, min([size] + [min(image.shape[:2]) for image in images]) // 4 * 4)
    return torch.stack([img2tensor(centre(image, size), bgr2rgb=True, float32=True) for image in images])


def read_whole(dataroot: str | os.PathLike[str], num: int = 16, channels: int = 3) -> list[Tensor]:
    """The images whose centres :func:`read_calibration` gives, as large as they are.

    Returns:
        In the same order ``(1, channels, h, w)`` each, RGB in [0, 1], float32 on the CPU; of larger images than 512 x
        512 pixels the middle.

    Raises:
        PruningError: see :func:`read_calibration`.
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


def read_calibration_for(net: Any, dataroot: str | os.PathLike[str], num: int = 16, size: int = 96,
                         sigma: float = SIGMA, clips: Sequence[Clip] | None = None) -> Tensor:
    """Read calibration images, for a network that goes from frame to frame clips.

    Args:
        net: what looks at them; on the meta device is enough.
        dataroot: of images see :func:`read_calibration`. Of clips: a folder with a folder a clip, or the folder of one
            clip, or BasicSR's LMDB, a folder ``….lmdb``. The frames are ground truth, of which low resolution is made
            as in training, or for a network of degradation BI, for which that cannot be done, low resolution.
        num: how many images or clips, all of them where there are fewer. A long clip counts for several, one for
            each :data:`FRAMES` frames; one of fewer frames is gone through backwards when it ends, as in training.
        size: side, in low resolution, of the square cut out of the middle of each; see :func:`read_calibration`. Of
            clips a multiple of 8.
        sigma: standard deviation of the blur, in pixels of the ground truth.
        clips: those of ``dataroot`` to take; default: all.

    Returns:
        ``(n, c, size, size)``, of clips ``(n, 10, c, size, size)``; RGB in [0, 1], float32 on the CPU. The same call
        gives the same images.

    Raises:
        PruningError: see :func:`read_calibration`; clips that cannot be used.
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
    scale, border = (int(net.scale), BORDER) if made else (1, 0)  # of a frame against the input
    smallest = min((clip for clip, _ in chosen), key=lambda clip: min(clip.size))
    size = min(size, (min(smallest.size) - 2 * border) // scale) // LR_MULTIPLE * LR_MULTIPLE
    if not size:
        raise PruningError(f'calibration: {smallest.frames[0]} has {words(smallest.size)}. Expected sides of at least '
                           f'{LR_MULTIPLE * scale + 2 * border}.')
    found = torch.stack([_cut(clip, start, Path(dataroot), size * scale + 2 * border, channels)
                         for clip, start in chosen])
    return gaussian_downsample(found, scale, sigma) if made else found


def _find(root: Path) -> list[Clip]:
    """The clips of a folder, or the one that it is; its frames are seen to be in order and of one size."""
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
    """Options are whole numbers.

    Args:
        numbers: What was given for an option, and the least it may be.

    Raises:
        PruningError: One is not.
    """
    for option, (value, least) in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise PruningError(f'calibration: {option} is {value!r}. Expected a whole number of at least {least}.')


def check_channels(channels: int) -> None:
    """Raises:
        PruningError: Images cannot have as many.
    """
    if channels not in (1, 3):
        raise PruningError(f'calibration: images have 3 channels or 1, and the network takes {channels}.')


def spread(items: Sequence[_T], num: int) -> list[_T]:
    """`num` items, evenly spread; all of them where there are fewer."""
    num = min(num, len(items))
    return [items[index * len(items) // num] for index in range(num)]


def read_lmdb(root: Path, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """What an LMDB has under some keys: where it is, in words, and its content.

    Not through BasicSR's FileClient, which never closes: no process may open an LMDB twice, as training will.

    Raises:
        PruningError: It cannot be read.
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
        where: It, in messages.
        channels: 3, or 1 for the luma of coloured images.

    Returns:
        (h, w, channels) BGR, float32 in [0, 1].

    Raises:
        PruningError: It cannot be read, or holds other values than 8 or 16 bits.
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
    """The square of side `size` in the middle of an image (h, w, c), or as much of it as there is."""
    return np.ascontiguousarray(middle(image, size))
