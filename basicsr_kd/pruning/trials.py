"""Trials for the stages of a network: what each stage would lose if it alone were pruned."""
from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from basicsr_kd.pruning.channels.budget import choose_widths, least_cost
from basicsr_kd.pruning.channels.groups import ChannelGroup
from basicsr_kd.pruning.channels.layouts import Removable
from basicsr_kd.pruning.cost import Account, TensorCost, within
from basicsr_kd.pruning.job import Job, required
from basicsr_kd.pruning.report import stage_names
from basicsr_kd.pruning.unstructured import nonzero_cost, weights_cost, zero_weights

Masks = dict[str, Tensor]
"""Masks by tensor name, True where values become zero."""


@dataclass(frozen=True)
class Trial:
    """A stage to be pruned alone: masks of what becomes zero, or None to leave it out; or why it stays."""
    stage: str
    before: int
    after: int
    masks: Masks | None = None
    reason: str = ''


def block_trials(job: Job) -> list[Trial]:
    """A trial for every block: leave it out."""
    return [Trial(block.path, block.cost, 0) for block in job.blocks]


def channel_trials(job: Job) -> list[Trial]:
    """A trial for every stage, with the channels that it loses."""
    trials = []
    for stage, costs in _stage_costs(job).items():
        groups = [group for group in job.removable.free if all(within(path, stage) for path in group.producers)]
        removable, account = Removable([], groups, job.removable.least, {}), Account(costs, job.request.of)
        before, least = account.cost(), least_cost(removable, account, job.request.round_to)
        budget = (1 - required(job.request.ratio)) * before
        if not groups:
            found = (why for path, why in job.removable.skipped.items() if within(path, stage))
            reason = next(found, f'layout {job.request.layout} leaves it whole')
            trials.append(Trial(stage, before, before, reason=reason))
        elif least > budget:
            trials.append(Trial(stage, before, before, reason=_too_much(least, before)))
        else:
            widths = choose_widths(removable, account, budget=budget, allocation=job.request.allocation,
                                   round_to=job.request.round_to)
            trials.append(Trial(stage, before, account.cost(), _channel_masks(job.net, groups, widths)))
    return trials


def _channel_masks(net: nn.Module, groups: Sequence[ChannelGroup], widths: Mapping[str, int]) -> Masks:
    """Masks of everything that belongs to the channels that groups lose; zeros there have the effect of removal."""
    tensors = net.state_dict()
    masks: Masks = {}
    for group in groups:
        kept = set(group.kept(widths[group.root]))
        gone = [channel for channel in range(group.size) if channel not in kept]
        for part in group.slices if gone else ():
            mask = masks.setdefault(part.tensor, torch.zeros_like(tensors[part.tensor], dtype=torch.bool))
            mask.index_fill_(part.dim, torch.tensor([part.index[channel] for channel in gone]), True)
    return masks


def weight_trials(job: Job, effects: Mapping[str, Tensor]) -> list[Trial]:
    """A trial for every stage, with the weights that become zero."""
    request = job.request
    trials = []
    for stage, costs in _stage_costs(job).items():
        before = nonzero_cost(job.net, costs, request.of)
        least = max(before - weights_cost(costs, request.of), 0)
        budget = (1 - required(job.request.ratio)) * before
        if least > budget:
            trials.append(Trial(stage, before, before, reason=_too_much(least, before)))
            continue
        masks = zero_weights(job.net, costs, of=request.of, budget=budget, allocation=request.allocation,
                             importance=request.importance, effects=effects).zeroed
        with zeroed(job.net, masks):
            after = nonzero_cost(job.net, costs, request.of)
        trials.append(Trial(stage, before, after, masks))
    return trials


@contextmanager
def zeroed(net: nn.Module, masks: Masks) -> Iterator[None]:
    """A context in which a network runs with zeros where the masks are True."""
    tensors = net.state_dict()  # not copies
    whole = {name: tensors[name].clone() for name in masks}
    try:
        for name, mask in masks.items():
            tensors[name].masked_fill_(mask, 0)
        yield
    finally:
        for name, tensor in whole.items():
            tensors[name].copy_(tensor)


def _stage_costs(job: Job) -> dict[str, dict[str, TensorCost]]:
    """The stages with a convolution or linear layer, and the costs of their parameters."""
    stages: dict[str, dict[str, TensorCost]] = {}
    names = stage_names(job.net)
    for name, cost in job.costs.items():
        if stage := names.get(name.rpartition('.')[0]):
            stages.setdefault(stage, {})[name] = cost
    return {stage: costs for stage, costs in stages.items() if any(len(cost.shape) > 1 for cost in costs.values())}


def _too_much(least: int, before: int) -> str:
    return f'at most {math.floor(1000 * (1 - least / max(before, 1))) / 1000} of it can go'
