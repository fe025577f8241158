"""The part of a network that is written: its call on an image, or FRNet's step from frame to frame."""
from __future__ import annotations

import copy
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from basicsr.archs import rrdbnet_arch
from torch import Tensor, nn
from torch.nn import functional

from basicsr_kd.archs.probe import is_recurrent
from basicsr_kd.utils.arrays import as_tensor

LEAST = 32  # pixels: the least side of the images that a graph is recorded with


class _Step(nn.Module):
    """FRNet's step as the call of a module."""

    def __init__(self, net: Any) -> None:
        super().__init__()
        self.net = net

    def forward(self, lr_curr: Tensor, lr_prev: Tensor, hr_prev: Tensor) -> Tensor:
        return self.net.step(lr_curr, lr_prev, hr_prev)


@dataclass(frozen=True)
class Graph:
    """A network with what a runtime has to know about it."""

    net: nn.Module
    """In evaluation mode, on the CPU; takes tensors (1, 3, h, w), RGB in [0, 1], in the order of `inputs`."""
    inputs: tuple[str, ...]
    output: str
    scale: int
    multiple: int
    """The number that the sides of images have to be multiples of."""

    def tensors(self, height: int, width: int, seed: int = 0) -> tuple[Tensor, ...]:
        """Random input in [0, 1]."""
        generator = torch.Generator().manual_seed(seed)
        return tuple(torch.rand(1, 3, self._factor(name) * height, self._factor(name) * width, generator=generator)
                     for name in self.inputs)

    def of_image(self, image: np.ndarray) -> tuple[Tensor, ...]:
        """The input for an image (h, w, 3) BGR uint8, cut to multiples of `multiple`.

        A recurrent network gets it as the frame before, too, as in a clip that stands still.
        """
        height, width = (side // self.multiple * self.multiple for side in image.shape[:2])
        frame = as_tensor(image[:height, :width])
        return tuple(functional.interpolate(frame, scale_factor=self._factor(name)) for name in self.inputs)

    def side(self, least: int) -> int:
        """The smallest side that an image may have from `least` on."""
        return -(-least // self.multiple) * self.multiple

    def half(self) -> Graph:
        """The same graph in fp16."""
        return replace(self, net=copy.deepcopy(self.net).half())

    def rounded(self, smallest: float) -> Graph:
        """The same graph in fp32 with weights rounded to fp16, but not its biases and its activations' slopes.

        Args:
            smallest: The absolute value below which a weight becomes 0.
        """
        net = copy.deepcopy(self.net)
        for parameter in net.parameters():
            if parameter.ndim > 1:
                rounded = parameter.data.half().float()
                parameter.data = rounded * (rounded.abs() >= smallest)
        return replace(self, net=net)

    def _factor(self, name: str) -> int:
        return self.scale if name == 'hr_prev' else 1


def graph_of(net: nn.Module, scale: int, multiple: int) -> Graph:
    """The graph of a network, which works on images or is recurrent."""
    if is_recurrent(net):
        return Graph(_Step(net).eval(), ('lr_curr', 'lr_prev', 'hr_prev'), 'hr_curr', scale, multiple)
    return Graph(net.eval(), ('input',), 'output', scale, multiple)


@contextmanager
def recording() -> Iterator[None]:
    """Context in which PyTorch records a graph: without gradients and warnings, and with PyTorch's pixel-unshuffle.

    BasicSR's pixel-unshuffle reshapes by hand: six operations instead of one, with sizes that ncnn does not take.
    """
    before = rrdbnet_arch.pixel_unshuffle
    rrdbnet_arch.pixel_unshuffle = lambda x, scale: functional.pixel_unshuffle(x, scale)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        rrdbnet_arch.pixel_unshuffle = before
