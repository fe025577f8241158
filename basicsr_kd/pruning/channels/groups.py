"""Groups of channels that must be removed together: torch-pruning's dependency graph, read as slices of tensors."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn
from torch_pruning.dependency import shape_infer
from torch_pruning.ops import OPTYPE

from basicsr_kd.pruning.cut import Cut

_Conv = (nn.Conv1d, nn.Conv2d, nn.Conv3d)
_Transposed = (nn.ConvTranspose1d, nn.ConvTranspose2d, nn.ConvTranspose3d)
_PER_CHANNEL = (OPTYPE.BN, OPTYPE.PRELU, OPTYPE.DEPTHWISE_CONV)
_ROOTS = (*_Conv, *_Transposed, nn.Linear)


@dataclass(frozen=True)
class Slice:
    """One side of one tensor in a group: `index[i]` along `dim` belongs to the group's channel `i`."""
    tensor: str
    dim: int
    index: list[int]


@dataclass(frozen=True)
class ChannelGroup:
    """Channels that can only be removed together: everything that writes, scales or reads them.

    Args:
        root: Module path of the first module that writes them.
        producers: All modules that write them, each with the index of its output channel for each of the group's
            channels. There are several where outputs are added: a residual stream.
        slices: The tensors that hold a part of them.
        importance: One value for each channel, at least 0; the smaller, the sooner it may be removed.
        blocked: Why these channels must all stay; empty if they need not.
    """
    root: str
    producers: dict[str, list[int]]
    slices: list[Slice]
    importance: list[float]
    blocked: str = ''

    @property
    def size(self) -> int:
        """The number of channels in the group."""
        return len(self.importance)

    def kept(self, width: int) -> list[int]:
        """The `width` most important channels, in their old order."""
        least_first = sorted(range(self.size), key=self.importance.__getitem__)
        return sorted(least_first[self.size - width:])


def no_values(group: Any) -> None:
    """The importance of channels if only their number matters."""


def find_groups(net: nn.Module, example: Tensor, importance: Callable[[Any], Tensor | None],
                adapt: Callable[[Any], None] | None = None) -> list[ChannelGroup]:
    """Trace a network and return every group of channels of its convolutions and linear layers.

    Args:
        net: A network whose parameters require gradients (the trace follows autograd's graph); it may be on the meta
            device if `importance` needs no values.
        example: An input for the network on its device, `(1, c, h, w)`.
        importance: torch-pruning's criterion: from a group to one value for each channel.
        adapt: A change of torch-pruning's graph before groups are read from it.

    Returns:
        The groups in the order of the network's modules. Groups that cannot be cut say why in `blocked`.
    """
    modules = {name: module for name, module in net.named_modules() if isinstance(module, _ROOTS) and
               not (getattr(module, 'groups', 1) == getattr(module, 'out_channels', 1) > 1)}  # depthwise: scales only
    groups: list[ChannelGroup] = []
    seen: set[str] = set()
    with torch.inference_mode(False), torch.enable_grad(), torch.random.fork_rng(devices=[]), _memoised_shapes():
        graph = torch_pruning.DependencyGraph().build_dependency(net, (example,), verbose=False)
        if adapt is not None:
            adapt(graph)
        reader = _Reader(net, graph)
        for name, module in modules.items():
            if name not in seen and module in graph.module2node:
                groups.append(reader.read(name, module, importance))
                seen.update(groups[-1].producers)
    return groups


class _Reader:
    """Turns torch-pruning's groups, which consist of modules and pruning functions, into slices of tensors."""

    def __init__(self, net: nn.Module, graph: Any) -> None:
        self.graph = graph
        self.names = {module: name for name, module in net.named_modules()}
        self.shapes = {name: tuple(tensor.shape) for name, tensor in net.state_dict().items()}

    def read(self, root: str, module: Any, importance: Callable[[Any], Tensor | None]) -> ChannelGroup:
        pruning_fn = self.graph.get_pruner_of_module(module).prune_out_channels
        size = self.graph.get_out_channels(module)
        group = self.graph.get_pruning_group(module, pruning_fn, list(range(size)))
        slices: list[Slice] = []
        producers: dict[str, list[int]] = {}
        read_by = 0
        warps = any(type(item.dep.target.grad_fn).__name__.startswith('GridSampler') for item in group)
        blocked = 'a warp reads them' if warps else ''
        for item in group:
            target, outputs = item.dep.target, self.graph.is_out_channel_pruning_fn(item.dep.handler)
            if target.type == OPTYPE.OUTPUT:
                blocked = blocked or "the network's own output"
            if (name := self.names.get(target.module)) is None and target.type != OPTYPE.PARAMETER:
                continue  # an operation without tensors
            columns = _columns(item, size)
            sides = self.sides(target, outputs)
            if columns is None or sides is None:
                kind = type(target.module).__name__
                blocked = blocked or f'it takes part in {name or "a parameter"} ({kind}), which is not cut'
                continue
            if isinstance(target.module, _ROOTS) and target.type != OPTYPE.DEPTHWISE_CONV:
                if outputs:
                    producers[str(name)] = columns[0]
                else:
                    read_by += 1
            slices += [Slice(f'{name}.{tensor}', dim, column) for tensor, dim in sides for column in columns
                       if f'{name}.{tensor}' in self.shapes]
        wrong = next((part for part in slices if max(part.index) >= self.shapes[part.tensor][part.dim]), None)
        if wrong is not None:
            blocked = blocked or f'a pixel shuffle or reshape lies before {wrong.tensor.rpartition(".")[0]}'
        if not read_by:
            blocked = blocked or "the network's own output"
        values = [0.0] * size
        if not blocked:
            found = importance(group)
            # A layer of zeros only has mean 0, hence 0 / 0: its importance is 0.
            values = values if found is None else torch.nan_to_num(found, nan=0.0).tolist()
        return ChannelGroup(root, producers or {root: list(range(size))}, slices, values, blocked)

    @staticmethod
    def sides(target: Any, outputs: bool) -> list[tuple[str, int]] | None:
        """The tensors of a module, each with the dimension of its channels; None: the module cannot be cut."""
        module = target.module
        if target.type in _PER_CHANNEL:
            return [(tensor, 0) for tensor in ('weight', 'bias', 'running_mean', 'running_var')]
        if not isinstance(module, _ROOTS) or getattr(module, 'groups', 1) != 1:
            return None
        transposed = isinstance(module, _Transposed)
        if outputs:
            return [('weight', int(transposed)), ('bias', 0)]
        return [('weight', int(not transposed))]


def _columns(item: Any, size: int) -> list[list[int]] | None:
    """A module's channels for the group's channels; several lists if it has them several times (x joined with x)."""
    found: list[list[int]] = [[] for _ in range(size)]
    for channel, index in sorted(zip(item.root_idxs, item.idxs, strict=True)):
        found[channel].append(index)
    times = len(found[0])
    if not times or any(len(indices) != times for indices in found):
        return None
    return [[indices[time] for indices in found] for time in range(times)]


def channels_cut(groups: Iterable[ChannelGroup], kept: Mapping[str, list[int]]) -> Cut:
    """The cut that leaves each group the channels that `kept` lists under its root."""
    dropped: dict[str, dict[int, set[int]]] = {}
    for group in groups:
        gone = sorted(set(range(group.size)) - set(kept[group.root]))
        for part in group.slices if gone else ():
            dropped.setdefault(part.tensor, {}).setdefault(part.dim, set()).update(part.index[i] for i in gone)
    return Cut(dropped={name: {dim: sorted(gone) for dim, gone in dims.items()} for name, dims in dropped.items()})


@contextmanager
def _memoised_shapes() -> Iterator[None]:
    """Make torch-pruning's search for the width of a tensor linear in the size of the network.

    Before each concatenation it walks back through both inputs of every addition, so the walk doubles with each
    residual; at 500 steps it gives up without a width (from 8 RRDBs on: `TypeError`, 'int' and 'NoneType'). Here
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
