"""Calibration clips, for networks that go from frame to frame: what they see in a video, not stills."""
from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from basicsr.utils import img2tensor
from torch import Tensor, nn

from basicsr_kd.archs.upsample import BicubicUpsample
from basicsr_kd.data.clips import Clip, find_clips, read_clip, words
from basicsr_kd.data.degradation import BORDER, SIGMA, gaussian_downsample
from basicsr_kd.data.errors import ClipError
from basicsr_kd.data.video_train_dataset import reflected
from basicsr_kd.evaluation.images import SUFFIXES
from basicsr_kd.pruning.calibration import read_calibration
from basicsr_kd.pruning.calibration_files import centre, check_channels, check_numbers, decode, read_lmdb, spread
from basicsr_kd.pruning.errors import PruningError
from basicsr_kd.pruning.rebuild import input_channels

FRAMES = 10
"""Of each clip, as in TecoGAN's training."""
MULTIPLE = 8
"""Of sides in low resolution, so that nothing of FNet's flow is made up."""


def takes_clips(net: nn.Module) -> bool:
    """Whether calibration is by clips: FRNet, pruned or not."""
    return getattr(net, 'frames_in_sequence', False)


def makes_low_resolution(net: Any) -> bool:
    """Whether a network of clips is one of degradation BD, whose low resolution can be made of ground truth."""
    return isinstance(net.upsample_func, BicubicUpsample)


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
        clips: those of ``dataroot`` to take; left out: all.

    Returns:
        ``(n, c, size, size)``, of clips ``(n, 10, c, size, size)``; RGB in [0, 1], float32 on the CPU. The same call
        gives the same images.

    Raises:
        PruningError: see :func:`read_calibration`; clips that cannot be used.
    """
    channels = input_channels(net)
    if not takes_clips(net):
        return read_calibration(dataroot, num, size, channels)
    check_numbers(num=(num, 1), size=(size, MULTIPLE))
    check_channels(channels)
    clips = _find(Path(dataroot)) if clips is None else clips
    chosen = spread([(clip, start) for clip in clips
                     for start in range(0, max(1, len(clip.frames) - FRAMES + 1), FRAMES)], num)
    made = makes_low_resolution(net)
    scale, border = (int(net.scale), BORDER) if made else (1, 0)  # of a frame against the input
    smallest = min((clip for clip, _ in chosen), key=lambda clip: min(clip.size))
    size = min(size, (min(smallest.size) - 2 * border) // scale) // MULTIPLE * MULTIPLE
    if not size:
        raise PruningError(f'calibration: {smallest.frames[0]} has {words(smallest.size)}. Expected sides of at least '
                           f'{MULTIPLE * scale + 2 * border}.')
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
