"""How strong the fine detail of images is, place by place, as a loss that a network can be trained by."""
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d, conv2d

_PLACE = 32
"""Side of a place, in pixels."""
_FLAT = 2 / 255
"""Strength of fine detail that does not matter."""


def detail_gap(made: Tensor, wanted: Tensor) -> Tensor:
    """How far the fine detail of images differs in strength, place by place, in parts of what is wanted there.

    An error of pixels makes a network soft: what it cannot predict it leaves out. This asks for as much detail,
    wherever its pixels lie.

    Args:
        made: ``(n, c, h, w)``, RGB around [0, 1], at least 5 x 5.
        wanted: the same shape.

    Returns:
        The mean square, a scalar.
    """
    strength, right = _fine_strength(made), _fine_strength(wanted)
    return ((strength - right) / (right + _FLAT)).square().mean()


def _fine_strength(images: Tensor) -> Tensor:
    """Root mean square of the fine detail around each place: ``(n, 1, h / 32, w / 32)``."""
    grey = images.mean(1, keepdim=True)
    taps = torch.tensor([1.0, 4, 6, 4, 1], device=grey.device) / 16
    fine = grey[:, :, 2:-2, 2:-2] - conv2d(grey, torch.outer(taps, taps)[None, None])
    return (avg_pool2d(fine.square(), _PLACE, ceil_mode=True) + 1e-8).sqrt()
