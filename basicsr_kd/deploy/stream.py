"""Video frame by frame, in memory that does not grow with its length."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

FRONT = 5
"""Frames that run in reverse before the first one, so that it has a past as all others have."""


@torch.no_grad()
def run_stream(net: Any, frames: Iterable[Tensor], front: int = FRONT) -> Iterator[Tensor]:
    """Enlarge a video; each result is yielded as soon as it is there.

    As in TecoGAN and TecoGAN-PyTorch, frames 5 … 1 run before frame 0 (fewer in a shorter video), and their results are
    thrown away.

    Args:
        net: A network with `step` and `scale`, like FRNet, in evaluation mode.
        frames: Frames (n, c, h, w), RGB in [0, 1], on the network's device, fetched one by one.
        front: How many frames run before the first.

    Yields:
        (n, c, scale·h, scale·w) for each frame, not clamped.
    """
    frames = iter(frames)
    first = list(islice(frames, front + 1))
    before: tuple[Tensor, Tensor] | None = None
    for index, frame in enumerate(chain(first[:0:-1], first, frames), start=1 - len(first)):
        if before is None:
            height, width = (net.scale * side for side in frame.shape[2:])
            before = torch.zeros_like(frame), frame.new_zeros(*frame.shape[:2], height, width)
        before = frame, net.step(frame, *before)
        if index >= 0:
            yield before[1]
