"""Modules that round values to 8 bits in PyTorch, and become QuantizeLinear and DequantizeLinear in ONNX."""
from __future__ import annotations

import torch
from torch import Tensor, nn

LEVELS = 255
"""Number of steps of an activation, from 0 on; a weight has 254, since its range is symmetric."""
WEIGHT_LEVELS = 127
"""Number of steps of a weight on each side of 0."""


class Quantiser(nn.Module):
    """Rounds features `(n, c, h, w)` to 256 values from `low` to `low + size`, after a factor for each channel.

    A new one passes everything through and records the range of each channel; `set` makes it round.
    """

    factor: Tensor | None

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer('factor', None)
        self.lowest: Tensor | None = None
        self.highest: Tensor | None = None
        self.step, self.zero = 0.0, 0
        self.rounds = False

    @property
    def reaches(self) -> tuple[Tensor, Tensor]:
        """The least and the largest value of each channel `(c)` so far, where 0 is always included."""
        assert self.lowest is not None and self.highest is not None
        return self.lowest, self.highest

    def set(self, low: float, size: float) -> None:
        """Round from now on to 256 values in a range that holds 0; 0 is one of them, since convolutions pad with it."""
        self.step = size / LEVELS
        self.zero = round(-low / self.step)

    def forward(self, x: Tensor) -> Tensor:
        if self.factor is not None:
            x = x * self.factor
        if self.rounds:
            return torch.fake_quantize_per_tensor_affine(x, self.step, self.zero, 0, LEVELS)
        if self.step == 0.0:
            self._note(x)
        return x

    def _note(self, x: Tensor) -> None:
        low, high = x.amin((0, 2, 3)).clamp(max=0), x.amax((0, 2, 3)).clamp(min=0)
        self.lowest = low if self.lowest is None else torch.minimum(low, self.lowest)
        self.highest = high if self.highest is None else torch.maximum(high, self.highest)


class RoundedWeight(nn.Module):
    """A parametrization: a convolution's weight `(o, c, h, w)` as 8 bits hold it, with one step for each output.

    Args:
        steps: The steps `(o)`.
    """

    steps: Tensor
    zeros: Tensor

    def __init__(self, steps: Tensor) -> None:
        super().__init__()
        self.register_buffer('steps', steps)
        self.register_buffer('zeros', torch.zeros(len(steps), dtype=torch.int32))

    def forward(self, weight: Tensor) -> Tensor:
        return torch.fake_quantize_per_channel_affine(weight, self.steps, self.zeros, 0, -WEIGHT_LEVELS - 1,
                                                      WEIGHT_LEVELS)


def weight_steps(weight: Tensor) -> Tensor:
    """The smallest step `(o)` for each output of a weight `(o, c, h, w)` that still reaches its largest value."""
    return (weight.flatten(1).abs().amax(1) / WEIGHT_LEVELS).clamp(min=1e-12)
