"""Channels in front of a pixel shuffle: r² of them make one channel behind it, so they can only be removed together."""
from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

from torch import Tensor, nn

from basicsr_kd.pruning.channels.groups import ChannelGroup, Slice, find_groups


def find_shuffled_groups(net: nn.Module, example: Tensor,
                         importance: Callable[[Any], Tensor | None]) -> list[ChannelGroup]:
    """`basicsr_kd.pruning.channels.groups.find_groups`, also through pixel shuffles, where torch-pruning stops.

    In a group with a pixel shuffle of factor r, a channel is one *behind* it: r² outputs of the convolution in front,
    which the group has as r² slices of its tensors; their importances add up.
    """
    return [_bundled(group) for group in find_groups(net, example, importance, _map_shuffles)]


def _map_shuffles(graph: Any) -> None:
    """Tell torch-pruning's graph which channels a pixel shuffle joins; it treats one as an elementwise operation."""
    for node in graph.module2node.values():
        if type(node.grad_fn).__name__.startswith('PixelShuffle'):
            times = node.grad_fn._saved_upscale_factor**2
            for behind in node.outputs:
                _map(node, behind, partial(_join, times=times))
                _map(behind, node, partial(_split, times=times))


def _map(source: Any, target: Any, mapping: Callable[[list[Any]], list[Any]]) -> None:
    for dependency in source.dependencies:
        if dependency.target is target:
            dependency.index_mapping[0] = mapping


def _join(indices: list[Any], times: int) -> list[Any]:
    """Map indices from in front of a shuffle to behind it."""
    return [type(index)(idx=index.idx // times, root_idx=index.root_idx) for index in indices]


def _split(indices: list[Any], times: int) -> list[Any]:
    """Map indices from behind a shuffle to in front of it; the output of `_join` gives its input again.

    Else torch-pruning would treat it as something new, come through the shuffle again and merge the two, and the roots
    of all but one of the joined channels would be lost.
    """
    joined = len(indices) == times * len({index.idx for index in indices})
    seen: Counter[int] = Counter()
    result = []
    for index in indices:
        first = index.idx * times
        parts = [first + seen[index.idx]] if joined else range(first, first + times)
        seen[index.idx] += 1
        result += [type(index)(idx=part, root_idx=index.root_idx) for part in parts]
    return result


def _bundled(group: ChannelGroup) -> ChannelGroup:
    """The group with the channels that become one behind a pixel shuffle as one; a blocked group is unchanged."""
    if group.blocked:
        return group
    members: dict[int, list[int]] = {}
    for channel, index in enumerate(min((part.index for part in group.slices), key=lambda index: len(set(index)))):
        members.setdefault(index, []).append(channel)
    bundles = list(members.values())
    if len(bundles) == group.size:
        return group
    columns = [(part.tensor, part.dim, tuple(part.index[channel] for channel in channels))
               for part in group.slices for channels in zip(*bundles, strict=True)]
    return replace(
        group,
        producers={path: [index[channels[0]] for channels in bundles] for path, index in group.producers.items()},
        slices=[Slice(tensor, dim, list(index)) for tensor, dim, index in dict.fromkeys(columns)],
        importance=[sum(group.importance[channel] for channel in channels) for channels in bundles])
