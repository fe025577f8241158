"""What a network's convolutions cost, in parameters or in multiply-accumulate operations (MACs)."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor, nn

from basicsr_kd.pruning.groups import ChannelGroup

LR_SIZE = (64, 64)
"""Height and width of the input that MACs are counted for. Their share that is left does not depend on it."""


@dataclass(frozen=True)
class ConvCost:
    """One convolution: its widths and what its weights are used for.

    Args:
        outputs: output channels.
        inputs: input channels.
        area: taps of the kernel (9 for 3 x 3).
        bias: whether it has one.
        positions: pixels of its output for an input of :data:`LR_SIZE`.
    """
    outputs: int
    inputs: int
    area: int
    bias: bool
    positions: int

    def cost(self, of: str, outputs: int, inputs: int) -> int:
        """Its parameters (``of='params'``) or MACs (``of='macs'``, biases not counted) with these widths."""
        weights = outputs * inputs * self.area
        return weights * self.positions if of == 'macs' else weights + outputs * self.bias

    def full_cost(self, of: str) -> int:
        """Its parameters or MACs as it is."""
        return self.cost(of, self.outputs, self.inputs)


def measure_convs(net: nn.Module, in_ch: int) -> dict[str, ConvCost]:
    """Find every convolution of a network by running it on the meta device (shapes only, no arithmetic).

    Args:
        net: a network of plain convolutions on the meta device.
        in_ch: channels of its input.

    Returns:
        Module path to cost, in the order of the run.
    """
    costs: dict[str, ConvCost] = {}
    hooks = []
    for name, conv in net.named_modules():
        if isinstance(conv, nn.Conv2d):
            def record(module: nn.Conv2d, _: tuple[Tensor, ...], output: Tensor, name: str = name) -> None:
                costs[name] = ConvCost(module.out_channels, module.in_channels,
                                       module.kernel_size[0] * module.kernel_size[1], module.bias is not None,
                                       output.shape[2] * output.shape[3])
            hooks.append(conv.register_forward_hook(record))
    with torch.no_grad():
        net(torch.empty(1, in_ch, *LR_SIZE, device='meta'))
    for hook in hooks:
        hook.remove()
    return costs


def total_cost(convs: dict[str, ConvCost], of: str) -> int:
    """Parameters or MACs of all convolutions together."""
    return sum(conv.full_cost(of) for conv in convs.values())


class Account:
    """Costs while widths change: outputs and inputs of every convolution."""

    def __init__(self, convs: dict[str, ConvCost], of: str) -> None:
        self.convs = convs
        self.of = of
        self.widths = {name: [conv.outputs, conv.inputs] for name, conv in convs.items()}

    def cost(self, names: set[str] | None = None) -> int:
        """Of some convolutions, or of all."""
        return sum(self.convs[name].cost(self.of, *self.widths[name])
                   for name in (self.convs if names is None else names))

    def drop(self, group: ChannelGroup, channels: int) -> int:
        """Take channels out of a group (put them back if negative); returns what that saves."""
        names = {member.conv for member in group.members}
        before = self.cost(names)
        for member in group.members:
            self.widths[member.conv][member.dim] -= channels
        return before - self.cost(names)
