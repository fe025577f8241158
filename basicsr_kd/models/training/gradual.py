"""Pruning in stages while the network trains: when, how far, and how the optimizer follows."""
from __future__ import annotations

import copy
from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import msgspec
import torch
from torch import Tensor, nn

from basicsr_kd.archs.probe import input_channels
from basicsr_kd.options.prune import PruneOptions
from basicsr_kd.pruning import Cut
from basicsr_kd.pruning.blocks import find_blocks
from basicsr_kd.pruning.cost import TensorCost, costs_of, measure, total_cost
from basicsr_kd.pruning.unstructured import nonzero_cost


@dataclass
class Schedule:
    """The stages of one gradual pruning, and how many are done.

    Args:
        step: The `prune:` section, with `steps` above 1.
        original: The network before any pruning; on the meta device if possible.
        share: The share of stages that are done, 0 … 1; it means the same with another number of stages.
        density: For layout `unstructured`: the trained network's cost before any pruning, without weights that were
            already zero, divided by the cost of `original`.
    """
    step: PruneOptions
    original: nn.Module
    share: float = 0.0
    density: float = 1.0

    def due(self, iteration: int) -> int | None:
        """The stage, 1 … steps, to be done before this iteration (counted from 1); None if no stage is due.

        If a resumed run has other `steps` or `every` than before, the stage may be one that is overdue.
        """
        assert self.step.every is not None
        stage = min((iteration - 1) // self.step.every + 1, self.step.steps)
        return stage if stage / self.step.steps > self.share else None

    def done(self, stage: int) -> None:
        self.share = stage / self.step.steps

    def density_of(self, trained: nn.Module) -> float:
        """Compute `density` for a trained network before any pruning."""
        return self._cost(trained) / self._cost(self.original)

    def request(self, net: nn.Module, stage: int) -> PruneOptions:
        """The pruning that takes a network from its present state to the end of a stage.

        After stage k of n, (1 - ratio)^(k/n) of the original's cost is left: each stage removes the same share of the
        cost that it finds. With `keep`, each stage removes the same number of blocks.
        """
        share = stage / self.step.steps
        if self.step.keep is not None:
            blocks = self._blocks(self.original)
            keep = min(blocks - round((blocks - self.step.keep) * share), self._blocks(net))
            return msgspec.structs.replace(self.step, keep=keep, steps=1, every=None)
        assert self.step.ratio is not None
        original = self._cost(self.original) * (self.density if self.step.layout == 'unstructured' else 1)
        budget = (1 - self.step.ratio)**share * original
        ratio = max(0.0, 1 - budget / self._cost(net))  # 0: the stage before has removed enough
        return msgspec.structs.replace(self.step, ratio=ratio, steps=1, every=None)

    def _blocks(self, net: nn.Module) -> int:
        example = torch.zeros(1, input_channels(net), 8, 8, device=next(net.parameters()).device)
        net = copy.deepcopy(net).eval()  # running it must not change running statistics of BatchNorm
        return len(find_blocks(net, self._counted(net), self.step.of, self.step.target, example))

    def _cost(self, net: nn.Module) -> int:
        if self.step.layout == 'unstructured':
            return nonzero_cost(net, self._counted(net), self.step.of)
        return total_cost(self._counted(net), self.step.of)

    def _counted(self, net: nn.Module) -> dict[str, TensorCost]:
        return costs_of(measure(net, input_channels(net)), self.step.target)


class Zeros:
    """The weights of a network that are exactly 0, as layout `unstructured` leaves them, and must stay 0.

    Biases are not included, since they start from 0.
    """

    def __init__(self, net: nn.Module) -> None:
        self._masks = [(parameter, parameter.detach() == 0) for parameter in net.parameters() if parameter.dim() > 1]

    @torch.no_grad()
    def restore(self) -> None:
        for parameter, mask in self._masks:
            parameter.masked_fill_(mask, 0)


@torch.no_grad()
def swap_parameters(optimizer: torch.optim.Optimizer, old: nn.Module, new: nn.Module, cut: Cut) -> None:
    """Replace a network's parameters in an optimizer by those of the pruned network, and cut the optimizer's state.

    The optimizer stays the same object, since schedulers refer to it, and its groups keep their settings.

    Args:
        optimizer: An optimizer with parameters of `old` only.
        old: The original network.
        new: The pruned network, on the device where it will train.
        cut: What pruning did to the original's tensors.
    """
    after = dict(new.named_parameters())
    names = {parameter: name for name, parameter in old.named_parameters()}
    known: defaultdict[str, dict[str, Any]] = defaultdict(dict)
    moments: defaultdict[str, dict[str, Tensor]] = defaultdict(dict)
    for parameter, name in names.items():
        for key, value in optimizer.state.get(parameter, {}).items():
            if isinstance(value, Tensor) and value.shape == parameter.shape:
                moments[key][name] = value
            elif (new_name := cut.new_name(name)) in after:
                known[str(new_name)][key] = value  # the number of steps taken
    for key, values in moments.items():
        for name, value in cut.apply(values).items():
            known[name][key] = torch.empty_like(after[name], dtype=value.dtype).copy_(value)  # in its memory order
    for group in optimizer.param_groups:
        stay = {cut.new_name(names[parameter]) for parameter in group['params']}
        group['params'] = [parameter for name, parameter in after.items() if name in stay]
    optimizer.state.clear()  # it would keep the old parameters alive
    optimizer.state.update({after[name]: state for name, state in known.items()})
