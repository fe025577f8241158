"""Video frame by frame, in memory that does not grow with its length."""
from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain, islice
from typing import Any

import torch
from torch import Tensor

FRONT = 5
"""Frames that run before the first one, in reverse: it then has a past, as all others have."""


@torch.no_grad()
def run_stream(net: Any, frames: Iterable[Tensor], front: int = FRONT) -> Iterator[Tensor]:
    """Enlarge a video; a result comes as soon as there is one.

    As in TecoGAN and TecoGAN-PyTorch, frames 5 … 1 run before frame 0 (fewer in a shorter video) and are thrown away.

    Args:
        net: A network with `step` and `scale`, as FRNet, in evaluation mode.
        frames: (n, c, h, w) each, RGB in [0, 1], on the network's device; they are fetched one by one.
        front: How many frames run in front.

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
