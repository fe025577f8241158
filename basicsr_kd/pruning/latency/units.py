"""The units that time is measured for: a block with all its removable channels, or one layer of a chain.

Times of single layers of a block do not add up: runtimes fuse concatenations and activations, and the last layer of a
dense block depends on all widths before it. So a block is measured whole, in each combination of its widths.
"""
from __future__ import annotations

import copy
import itertools
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import Tensor, nn

from basicsr_kd.archs.probe import is_recurrent
from basicsr_kd.archs.pruned_rrdbnet_arch import PrunedDenseBlock
from basicsr_kd.archs.resize import resize_to
from basicsr_kd.errors import PruningError
from basicsr_kd.pruning.channels.groups import ChannelGroup, channels_cut

MOST = 200
"""Most combinations of widths of one unit: each takes about a second to measure."""

Widths = tuple[int, ...]


@dataclass(frozen=True)
class Unit:
    """A part of a network that is measured as one.

    Args:
        groups: The groups whose widths are chosen here.
        before: The group that this unit reads and whose width is chosen in the unit before; None: there is none.
        modules: Paths of the modules that run, one after the other.
        options: The combinations of widths of `groups` to choose from; the first is the full one.
    """
    groups: tuple[ChannelGroup, ...]
    before: ChannelGroup | None
    modules: tuple[str, ...]
    options: tuple[Widths, ...]

    def name(self, net: nn.Module, widths: Widths, before: int | None) -> str:
        """Everything that the unit's time depends on, except the size of the image. Arguments as for `built`."""
        if dense := self._dense_block(net):
            growths = ' '.join(str(width) for width in widths if width)
            return f'dense block of {dense.conv5.out_channels} and {growths}'
        modules = [net.get_submodule(path) for path in self.modules]
        shapes = ' '.join('x'.join(map(str, tensor.shape)) for module in modules for tensor in module.parameters())
        kinds = '+'.join(type(module).__name__ for module in modules)
        return f'{kinds} {shapes} with {" ".join(map(str, widths))}{"" if before is None else f" behind {before}"}'

    def built(self, net: nn.Module, widths: Widths, before: int | None) -> nn.Module:
        """The unit alone with some widths; its weights do not matter.

        Args:
            net: The network that the unit is part of.
            widths: One of `options`.
            before: The width of the group before.
        """
        if dense := self._dense_block(net):
            growths = widths + (0,) * (4 - len(widths))  # a pruned block may lack some layers already
            return PrunedDenseBlock(dense.conv5.out_channels, growths).eval()
        kept = {group.root: list(range(width)) for group, width in zip(self.groups, widths, strict=True)}
        groups = list(self.groups)
        if self.before is not None and before is not None:
            kept[self.before.root] = list(range(before))
            groups.append(self.before)
        unit = nn.Sequential(*(copy.deepcopy(net.get_submodule(path)) for path in self.modules))
        names = {f'{path}.{name}': f'{index}.{name}' for index, path in enumerate(self.modules)
                 for name in net.get_submodule(path).state_dict()}
        tensors = net.state_dict()
        left = channels_cut(groups, kept).apply({name: tensors[name] for name in names})
        resize_to(unit, {names[name]: tensor for name, tensor in left.items()})
        return unit.eval()

    def _dense_block(self, net: nn.Module) -> Any:
        """The dense block of an RRDBNet, if this unit is one; else None."""
        module = net.get_submodule(self.modules[0])
        return module if isinstance(net, RRDBNet) and hasattr(module, 'conv5') else None

    def priced(self, groups: Mapping[str, ChannelGroup]) -> Unit:
        """The same unit with the groups of these roots, which know the importance of their channels."""
        return replace(self, groups=tuple(groups[group.root] for group in self.groups))

    def losses(self) -> list[float]:
        """The importance that each option loses."""
        lost = [list(itertools.accumulate(sorted(group.importance), initial=0.0)) for group in self.groups]
        return [sum(its[group.size - width] for its, group, width in zip(lost, self.groups, widths, strict=True))
                for widths in self.options]


def find_units(net: nn.Module, groups: Sequence[ChannelGroup], round_to: int, least: int) -> list[Unit]:
    """Sort the groups of a network into units, in the order in which they run.

    Groups that meet in a tensor belong together. If one module that takes and gives one tensor contains all the places
    where they meet, it is the unit: a dense or residual block. Else they are a chain, and each layer with the
    activation behind it is a unit, also the last layer, which only loses inputs.

    Args:
        net: The network.
        groups: The groups that may lose channels.
        round_to: Widths are multiples of this number, or the full ones.
        least: The least width that is allowed.

    Raises:
        PruningError: A unit has too many combinations of widths to measure them all, or the network consists
            neither of blocks nor of a chain.
    """
    if is_recurrent(net):
        raise PruningError(f'prune: of latency measures networks of single images, and {type(net).__name__} takes '
                           'clips. Expected of params or macs.')
    units: list[Unit] = []
    for members in _meeting(groups):
        parent = _parent(part.tensor.rpartition('.')[0] for group in members for part in group.slices)
        count = math.prod(len(_widths(group, round_to, least)) for group in members)
        module = net.get_submodule(parent)
        if not parent or isinstance(module, nn.ModuleList) or (count > MOST and isinstance(module, nn.Sequential)):
            units += _chain(net, members, round_to, max(least, 1))
        elif count <= MOST:
            options = itertools.product(*(_widths(group, round_to, least) for group in members))
            units.append(Unit(tuple(members), None, (parent,), tuple(options)))
        else:
            raise PruningError(f'prune: of latency measures {parent} in every combination of its widths, which are '
                               f'{count} with round_to {round_to}. Expected at most {MOST}: a larger round_to.')
    return units


def _chain(net: nn.Module, members: Sequence[ChannelGroup], round_to: int, least: int) -> list[Unit]:
    order = {name: index for index, (name, _) in enumerate(net.named_modules())}
    most = max(len(_widths(group, round_to, least)) for group in members)
    if most**2 > MOST:
        raise PruningError(f'prune: of latency measures a layer in every combination of the widths before and behind '
                           f'it, which are {most**2} with round_to {round_to}. Expected at most {MOST}: a larger '
                           'round_to.')
    sizes = {name: tensor.dim() for name, tensor in net.state_dict().items()}
    units, before = [], None
    for group in members:
        written = {part.tensor.rpartition('.')[0] for part in group.slices
                   if part.tensor.rpartition('.')[0] in group.producers or sizes[part.tensor] == 1}
        options = tuple((width,) for width in _widths(group, round_to, least))
        units.append(Unit((group,), before, tuple(sorted(written, key=order.__getitem__)), options))
        before = group
    written = {name for unit in units for name in unit.modules}
    for unit in units:
        first = net.get_submodule(unit.modules[0])
        if unit.before is not None and getattr(first, 'in_channels', 0) != unit.before.size:
            raise PruningError(f'prune: of latency knows blocks and chains of layers, and {unit.modules[0]} of '
                               f'{type(net).__name__} does not read {unit.before.root} alone. Expected of params or '
                               'macs.')
    readers = {part.tensor.rpartition('.')[0] for part in members[-1].slices} - written
    return [*units, Unit((), before, tuple(sorted(readers, key=order.__getitem__)), ((),))]


def _widths(group: ChannelGroup, round_to: int, least: int) -> list[int]:
    return [group.size] + [width for width in range(0, group.size, round_to) if width >= least][::-1]


def _meeting(groups: Sequence[ChannelGroup]) -> list[list[ChannelGroup]]:
    """Groups that meet in a tensor, put together."""
    found: list[tuple[set[str], list[ChannelGroup]]] = []
    for group in groups:
        tensors, members = {part.tensor for part in group.slices}, [group]
        for other in [other for other in found if other[0] & tensors]:
            found.remove(other)
            tensors, members = tensors | other[0], [*other[1], *members]
        found.append((tensors, members))
    return [members for _, members in found]


def _parent(paths: Iterable[str]) -> str:
    """The path of the innermost module that contains all given paths."""
    common = [list(set(parts)) for parts in zip(*(path.split('.')[:-1] for path in set(paths)), strict=False)]
    return '.'.join(parts[0] for parts in itertools.takewhile(lambda parts: len(parts) == 1, common))


@torch.no_grad()
def inputs_of(net: nn.Module, units: Iterable[Unit], example: Tensor) -> dict[str, Tensor]:
    """The input of the first module of each unit, by its path, when the network runs on an example."""
    found: dict[str, Tensor] = {}
    hooks = [net.get_submodule(path).register_forward_pre_hook(
        lambda module, args, path=path: found.update({path: args[0]})) for path in {unit.modules[0] for unit in units}]
    try:
        net(example)
    finally:
        for hook in hooks:
            hook.remove()
    return found
