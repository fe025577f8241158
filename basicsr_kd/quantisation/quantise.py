"""Turns a trained network into one that computes its convolutions in 8 bits, without training."""
from __future__ import annotations

import copy
import math
from collections.abc import Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, fx, nn

from basicsr_kd.pruning.reconstruction.residuals import trace_convs
from basicsr_kd.quantisation.placing import Placed, place
from basicsr_kd.quantisation.quantiser import Quantiser
from basicsr_kd.quantisation.ranges import even_out
from basicsr_kd.quantisation.rounding import round_to_nearest, round_weights

ROUNDED_ON = 12
"""Largest number of images that weights are rounded on; ranges are measured on all images."""


@dataclass(frozen=True)
class Quantised:
    """A network in 8 bits.

    Args:
        net: A network that computes in PyTorch, in float32, what runtimes compute in 8 bits; in ONNX it has
            QuantizeLinear and DequantizeLinear.
        layers: How many convolutions are in 8 bits.
        left: Paths of the convolutions that are not, with the reason.
        silent: Number of channels that are 0 on all images; they got the range of their group.
    """
    net: fx.GraphModule
    layers: int
    left: dict[str, str]
    silent: int


@torch.no_grad()
def quantise(net: nn.Module, images: Tensor, keep: Iterable[str] = (), nearest: bool = False,
             progress: bool = False) -> Quantised:
    """Even out ranges, then round: first the inputs of convolutions, then their weights.

    Args:
        net: A network of images, float32 on the CPU, which torch.fx can record; it is not changed.
        images: Images `(n, c, h, w)` like those that the network will get, RGB in [0, 1].
        keep: Paths of convolutions that stay in floating point.
        nearest: Whether to round each weight by itself, which takes no time.
        progress: Whether to show a bar.

    Raises:
        RecordingError: `torch.fx` cannot record the network.
    """
    placed = prepared(net, images, dict.fromkeys(keep, 'wished'))
    silent = even_out(placed.net, placed.groups)
    for module in placed.net.modules():
        if isinstance(module, Quantiser):
            module.rounds = True
    if nearest:
        round_to_nearest(placed.net, placed.readers)
    else:
        chosen = images[::-(-len(images) // ROUNDED_ON)].contiguous(memory_format=torch.channels_last)
        round_weights(placed.net.to(memory_format=torch.channels_last), placed.readers, chosen, progress)
    placed.net.to(memory_format=torch.contiguous_format)
    return Quantised(placed.net, len(placed.readers), placed.left, silent)


def prepared(net: nn.Module, images: Tensor, keep: dict[str, str]) -> Placed:
    """A copy of the network with quantisers that have seen the images, but round nothing yet."""
    names = [name for name, module in net.named_modules() if isinstance(module, nn.Conv2d)]
    small = {conv.name: 'reads pooled features' for conv in trace_convs(net, names, images[:1])
             if math.prod(conv.size) == 1}
    placed = place(copy.deepcopy(net).eval(), small | keep)
    for image in images.split(1):
        placed.net(image)
    return placed
