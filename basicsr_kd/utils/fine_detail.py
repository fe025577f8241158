"""Training towards an image without getting softer than it."""
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

_FLAT = 2 / 255
"""Strength of fine detail that does not matter."""
_LARGEST = 2.0
_GAIN = 0.05


def stronger(images: Tensor, factor: float) -> Tensor:
    """Images whose fine detail is so many times as strong; what is coarser stays.

    A network that learns by a mean error gets soft: what it cannot predict it leaves out. From a target with stronger
    detail it takes the part that it can predict, which is then as much stronger and in the right place. That costs less
    of the error than noise of the same strength, or a loss that asks for strength alone.

    Args:
        images: `(…, c, h, w)`, RGB around [0, 1], at least 3 x 3 pixels.
        factor: 1: as they are.
    """
    return images if factor == 1 else images + (factor - 1) * _fine(images)


class DetailKeeper:
    """Makes the fine detail of a target so much stronger that what learns it keeps enough.

    Args:
        least: How strong detail is to be at least, in parts of the target's; it is reached in some tens of steps.
    """

    def __init__(self, least: float) -> None:
        self.least = least
        self.factor = 1.0

    def target(self, made: Tensor, wanted: Tensor) -> Tensor:
        """What the next step is to learn.

        Args:
            made: What the network gives now, `(n, c, h, w)`, RGB around [0, 1].
            wanted: What it is to give, of the same shape.

        Returns:
            The latter, with detail that is `factor` times as strong; the factor follows what is missing.
        """
        found = ((_strength(made.detach()) + _FLAT) / (_strength(wanted) + _FLAT)).mean().item()
        self.factor = min(max(self.factor + _GAIN * (self.least - found), 1.0), _LARGEST)
        return stronger(wanted, self.factor)


def _strength(images: Tensor) -> Tensor:
    """Root mean square of the fine detail of each image."""
    return _fine(images).square().mean((1, 2, 3)).sqrt()


def _fine(images: Tensor) -> Tensor:
    """What a blur over 5 x 5 pixels takes away."""
    taps = torch.tensor([1.0, 4, 6, 4, 1], device=images.device) / 16
    planes = images.reshape(-1, 1, *images.shape[-2:])
    return images - conv2d(pad(planes, (2, 2, 2, 2), 'reflect'), torch.outer(taps, taps)[None, None]).view_as(images)
