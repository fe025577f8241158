"""The cost of a network's tensors, in parameters or in multiply-accumulate operations (MACs)."""
from __future__ import annotations

import copy
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from basicsr_kd.pruning.channels.groups import ChannelGroup

LR_SIZE = (64, 64)
"""Height and width of the input that MACs are counted for. The share of MACs that is left does not depend on it."""


@dataclass(frozen=True)
class TensorCost:
    """A parameter: its shape, and how many multiply-accumulates each of its values makes for one input."""
    shape: tuple[int, ...]
    uses: int

    def cost(self, of: str, shape: Iterable[int] | None = None) -> int:
        """The number of parameters (`of='params'`) or MACs (`'macs'`), with the present or another shape."""
        return math.prod(self.shape if shape is None else shape) * (self.uses if of == 'macs' else 1)


def within(path: str, part: str) -> bool:
    """Whether a module path is that of a part, or lies in the part."""
    return f'{path}.'.startswith(f'{part}.')


def costs_of(costs: Mapping[str, TensorCost], part: str | None) -> dict[str, TensorCost]:
    """The costs of a part's parameters; None: of the whole network."""
    return {name: cost for name, cost in costs.items() if part is None or within(name, part)}


def measure(net: nn.Module, in_ch: int) -> dict[str, TensorCost]:
    """Find the cost of every parameter by running the network once on one input of `LR_SIZE`.

    Weights of convolutions and linear layers do MACs; biases, activations and normalisations count as free.

    Args:
        net: Any network; a copy of it runs on the meta device (shapes only, no arithmetic) or, if it cannot, on the
            network's own device.
        in_ch: Channels of the network's input.

    Returns:
        Parameter name to cost.
    """
    uses: dict[str, int] = {}
    try:
        _run(copy.deepcopy(net).to('meta'), in_ch, uses)
    except Exception:  # a network that looks at values while it runs
        uses.clear()
        _run(copy.deepcopy(net), in_ch, uses)
    return {name: TensorCost(tuple(parameter.shape), uses.get(name, 0)) for name, parameter in net.named_parameters()}


def _run(net: nn.Module, in_ch: int, uses: dict[str, int]) -> None:
    """Run a network and add up how often each weight is used."""
    for name, module in net.named_modules():
        if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)):
            def record(module: nn.Module, args: tuple[Tensor, ...], output: Tensor,
                       name: str = f'{name}.weight') -> None:
                if isinstance(module, nn.Linear):
                    positions = math.prod(output.shape[:-1])
                else:
                    positions = math.prod((args[0] if isinstance(module, nn.ConvTranspose2d) else output).shape[2:])
                uses[name] = uses.get(name, 0) + positions
            module.register_forward_hook(record)
    device = next((parameter.device for parameter in net.parameters()), torch.device('cpu'))
    with torch.no_grad():
        net(torch.zeros(1, in_ch, *LR_SIZE, device=device))


def total_cost(costs: dict[str, TensorCost], of: str) -> int:
    """Parameters or MACs of all tensors together."""
    return sum(cost.cost(of) for cost in costs.values())


class Account:
    """Costs while widths change: the shape of every parameter. Slices of other parameters are free."""

    def __init__(self, costs: dict[str, TensorCost], of: str) -> None:
        self.costs = costs
        self.of = of
        self.shapes = {name: list(cost.shape) for name, cost in costs.items()}

    def cost(self, names: Iterable[str] | None = None) -> int:
        """The cost of some parameters, or of all."""
        return sum(self.costs[name].cost(self.of, self.shapes[name])
                   for name in (self.costs if names is None else names))

    def drop(self, group: ChannelGroup, channels: int) -> int:
        """Remove channels from a group (put them back if negative); returns what that saves."""
        parts = [part for part in group.slices if part.tensor in self.costs]
        names = {part.tensor for part in parts}
        before = self.cost(names)
        for part in parts:
            self.shapes[part.tensor][part.dim] -= channels
        return before - self.cost(names)
