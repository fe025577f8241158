"""One step of a network that goes from frame to frame, as a function of one tensor: each layer runs once in it."""
from __future__ import annotations

from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor


@torch.no_grad()
def last_steps(net: Any, clips: Tensor) -> Tensor:
    """What a network gets for the last frame of each clip: that frame, the one before, and what it made of that.

    Args:
        net: A network with `step`, `in_nc` and `scale`, as FRNet, in evaluation mode; each clip runs through it alone.
        clips: (n, t, in_nc, h, w) in [0, 1], t at least 2.

    Returns:
        (n, (2 + scale²)·in_nc, h, w), for `run_step`.
    """
    made = torch.cat([net(clip[:, :-1])[:, -1] for clip in clips.split(1)])
    return torch.cat((clips[:, -1], clips[:, -2], F.pixel_unshuffle(made, net.scale)), dim=1)


def run_step(net: Any, steps: Tensor) -> Tensor:
    """The frames (n, in_nc, scale·h, scale·w) that a network makes of steps, which it or another one was in."""
    frame, before, made = steps.split((net.in_nc, net.in_nc, net.scale**2 * net.in_nc), dim=1)
    return net.step(frame, before, F.pixel_shuffle(made, net.scale))
