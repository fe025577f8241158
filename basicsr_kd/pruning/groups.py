"""Which channels must go together, and how much each is worth: torch-pruning's dependency graph and importance."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.dependency import shape_infer

IMPORTANCES = {
    'l1': lambda: torch_pruning.importance.MagnitudeImportance(p=1),
    'l2': lambda: torch_pruning.importance.MagnitudeImportance(p=2),
    'random': torch_pruning.importance.RandomImportance,
}
"""Names as in the options, to torch-pruning's criteria. Each gives one value a channel, with mean 1 over the group
('random' apart): two layers' magnitudes do not compare, since (leaky) ReLU lets a factor move from one to the next."""


@dataclass(frozen=True)
class Member:
    """One side of one convolution in a group: ``index[i]`` is its channel that goes with the group's channel ``i``.

    ``dim`` is 0 for its outputs (rows of the weight, and the bias), 1 for its inputs.
    """
    conv: str
    dim: int
    index: list[int]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels of the convolution ``root`` with everything that reads or writes them.

    ``importance`` holds one value for each of its channels, at least 0; the smaller, the sooner it may go.
    """
    root: str
    members: list[Member]
    importance: list[float]

    @property
    def size(self) -> int:
        """How many channels the group has."""
        return len(self.importance)

    def kept(self, width: int) -> list[int]:
        """The ``width`` most important channels, in their old order."""
        least_first = sorted(range(self.size), key=self.importance.__getitem__)
        return sorted(least_first[self.size - width:])


def find_groups(net: nn.Module, example: Tensor, roots: Sequence[str], importance: str) -> list[ChannelGroup]:
    """Trace a network and give the channel group of each of some convolutions.

    Args:
        net: a network on the CPU, its parameters requiring gradients (the trace follows autograd's graph).
        example: an input for it, ``(1, c, h, w)``.
        roots: module paths of the convolutions whose outputs may be pruned.
        importance: a key of :data:`IMPORTANCES`. 'random' draws from torch's generator, and puts it back.

    Returns:
        One group a root, in their order.
    """
    convs = {name: module for name, module in net.named_modules() if isinstance(module, nn.Conv2d)}
    names: dict[nn.Module, str] = {conv: name for name, conv in convs.items()}
    criterion = IMPORTANCES[importance]()
    groups = []
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]), _memoised_shapes():
        graph = torch_pruning.DependencyGraph().build_dependency(net, (example,))
        for root in roots:
            channels = list(range(convs[root].out_channels))
            group = graph.get_pruning_group(convs[root], torch_pruning.prune_conv_out_channels, channels)
            # A layer of nothing but zeros has mean 0, hence 0 / 0: it is worth nothing.
            values = torch.nan_to_num(criterion(group), nan=0.0).tolist()
            groups.append(ChannelGroup(root, _members(graph, group, names), values))
    return groups


def _members(graph: Any, group: Any, names: dict[nn.Module, str]) -> list[Member]:
    members = []
    for item in group:
        if conv := names.get(item.dep.target.module):
            index = [channel for _, channel in sorted(zip(item.root_idxs, item.idxs, strict=True))]
            members.append(Member(conv, 0 if graph.is_out_channel_pruning_fn(item.dep.handler) else 1, index))
    return members


@contextmanager
def _memoised_shapes() -> Iterator[None]:
    """Make torch-pruning's search for the width of a tensor linear in the size of the network.

    Before each concatenation it walks back through both inputs of every addition, so the walk doubles with each
    residual; at 500 steps it gives up, without a width (from 8 RRDBs on: ``TypeError``, 'int' and 'NoneType'). Here
    each node of the graph is asked once, and counts its own steps only. Widths must not change within the context.
    """
    search = shape_infer.infer_out_channels_recursively
    known: dict[Any, int | None] = {}

    def search_once(graph: Any, node: Any, recursive_depth: list[int]) -> int | None:
        if node not in known:
            known[node] = search(graph, node, [0])
        return known[node]

    shape_infer.infer_out_channels_recursively = search_once
    try:
        yield
    finally:
        shape_infer.infer_out_channels_recursively = search
