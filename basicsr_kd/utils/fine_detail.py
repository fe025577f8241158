"""Training towards an image without getting softer than it."""
from __future__ import annotations

import torch
from torch import Tensor
from torch.nn.functional import conv2d, pad

_FLAT = 2 / 255
"""Strength of fine detail that is too small to matter."""
_LARGEST = 2.0
_GAIN = 0.05


def stronger(images: Tensor, factor: float) -> Tensor:
    """Multiply the strength of images' fine detail by a factor; coarser detail stays.

    A network that learns by a mean error gets soft: it leaves out what it cannot predict. If the target has stronger
    detail, the part that it can predict becomes stronger by the same factor, and lies in the right place. That costs
    less error than noise of the same strength, or than a loss for strength alone.

    Args:
        images: `(…, c, h, w)`, RGB around [0, 1], at least 3 x 3 pixels.
        factor: The factor; 1: images are unchanged.
    """
    return images if factor == 1 else images + (factor - 1) * _fine(images)


class DetailKeeper:
    """Makes the fine detail of a target so strong that the network that learns it keeps enough.

    Args:
        least: The wanted least strength of detail, as a share of the target's; it is reached in some tens of steps.
    """

    def __init__(self, least: float) -> None:
        self.least = least
        self.factor = 1.0

    def target(self, made: Tensor, wanted: Tensor) -> Tensor:
        """The target for the next step.

        Args:
            made: The network's present output, `(n, c, h, w)`, RGB around [0, 1].
            wanted: The wanted output, of the same shape.

        Returns:
            `wanted` with detail `factor` times as strong; the factor is adapted to the strength that is missing.
        """
        fine = _fine(wanted)
        found = ((_strength(_fine(made.detach())) + _FLAT) / (_strength(fine) + _FLAT)).mean().item()
        self.factor = min(max(self.factor + _GAIN * (self.least - found), 1.0), _LARGEST)
        return wanted + (self.factor - 1) * fine


def _strength(fine: Tensor) -> Tensor:
    """Root mean square of each image."""
    return fine.square().mean((1, 2, 3)).sqrt()


def _fine(images: Tensor) -> Tensor:
    """Fine detail: the image minus its blur over 5 x 5 pixels."""
    taps = torch.tensor([1.0, 4, 6, 4, 1], device=images.device) / 16
    planes = images.reshape(-1, 1, *images.shape[-2:])
    return images - conv2d(pad(planes, (2, 2, 2, 2), 'reflect'), torch.outer(taps, taps)[None, None]).view_as(images)
