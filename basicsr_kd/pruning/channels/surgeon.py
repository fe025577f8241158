"""Importance `obs`: the worth of a channel when the layers that read it may be refitted without it.

Optimal brain surgeon (Hassibi and Stork 1993) for groups of weights, as in Optimal Brain Compression (Frantar and
Alistarh, NeurIPS 2022) and ZipLM (Kurtic et al., NeurIPS 2023), here for whole channels of a super-resolution network.
"""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from typing import Any

import torch
from torch import Tensor, nn

from basicsr_kd.errors import PruningError
from basicsr_kd.pruning.channels.groups import ChannelGroup
from basicsr_kd.pruning.channels.random_signs import output_sensitivities
from basicsr_kd.pruning.reconstruction.least_squares import POSITIONS_A_WEIGHT, RIDGE, can_refit
from basicsr_kd.pruning.reconstruction.moments import moments, reading
from basicsr_kd.pruning.reconstruction.reconstruct import as_read
from basicsr_kd.pruning.reconstruction.shared_inputs import watch_inputs
from basicsr_kd.utils.modes import evaluating
from basicsr_kd.utils.progress import Progress

AT_ONCE = 4
"""Channels removed between two pricings. One at a time gave the same channels on blocks of RealESRGAN_x4plus."""


def surgeon_prices(net: nn.Module, groups: Sequence[ChannelGroup], images: Tensor,
                   progress: bool) -> list[ChannelGroup]:
    """Give the channels of some groups their importance `obs`.

    The price of a channel is what its removal adds to the squared error of the output when every layer that reads it is
    refitted on its own: the sum over readers r and their outputs o of s(r, o) w' [(H^-1)_cc]^-1 w. Here w are the
    weights of o on the channel, H the centred second moments of the inputs of r, and s(r, o) the mean squared gradient
    of the output, under random signs, at o. After each removal the channel is eliminated from weights and H^-1, so
    later prices no longer count on it; outputs that are removed cost nothing.

    Args:
        net: A network in evaluation mode, on the CPU, its parameters requiring gradients.
        groups: The groups that may lose channels.
        images: Inputs of `net`, `(n, c, h, w)` or clips `(n, t, c, h, w)`.
        progress: Whether to show progress bars.

    Returns:
        The groups in their order. Importance grows in the order in which a group's channels would be removed.

    Raises:
        PruningError: Channels are read by something else than plain convolutions with enough inputs.
    """
    readers = {group.root: _readers(net, group) for group in groups}
    units = _units(groups, readers)
    read = sorted({name for group in groups for name in readers[group.root]})
    sensitivities = output_sensitivities(net, read, images, progress)
    found: dict[str, list[float]] = {}
    with Progress('importance obs', len(units), progress) as bar:
        known: dict[str, _Reader] = {}
        waiting = [(unit, {name for group in unit for name in readers[group.root]}) for unit in units]

        def use(convs: dict[str, nn.Conv2d], inputs: Tensor) -> None:
            *_, last = convs.values()
            seen = moments(last, reading(last, inputs).padded)
            if not can_refit(last.weight, seen.count):
                return
            _, factor = seen.by_channel(last.in_channels, RIDGE)
            for name, conv in convs.items():
                columns = {group.root: readers[group.root][name] for group in groups if name in readers[group.root]}
                count = conv.weight[0].numel()
                known[name] = _Reader(conv, factor[:count, :count], columns, sensitivities[name])
            for entry in [entry for entry in waiting if entry[1] <= known.keys()]:
                found.update(_prices(net, entry[0], {name: known.pop(name) for name in entry[1]}))
                waiting.remove(entry)
                bar.update()

        with evaluating(net):
            inputs, run = as_read(net, images)
            watch_inputs(net, read, lambda: run(net, inputs.contiguous(memory_format=torch.channels_last)), use)
    if waiting:
        name: str = max(set().union(*(names for _, names in waiting)), key=lambda name: _values(net, name))
        values, width, height = _values(net, name), images.shape[-1], images.shape[-2]
        raise PruningError(f'prune: importance obs found too few positions of feature maps on {len(images)} images of '
                           f'{width}x{height} for {name}, whose kernel reads {values:,} values. Expected '
                           f'{math.ceil(POSITIONS_A_WEIGHT * values / (width * height))} images of this size to look '
                           'at, fewer larger ones, or importance taylor.')
    return [replace(group, importance=found[group.root]) for group in groups]


def _readers(net: nn.Module, group: ChannelGroup) -> dict[str, list[list[int]]]:
    """The convolutions that read a group, each with the input channels that it has for each of the group's channels.

    Raises:
        PruningError: Something else reads the group.
    """
    found: dict[str, list[list[int]]] = {}
    for part in group.slices:
        name, _, tensor = part.tensor.rpartition('.')
        module: Any = net.get_submodule(name)
        if tensor != 'weight' or module.weight.dim() == 1 or name in group.producers:
            continue
        if not isinstance(module, nn.Conv2d) or module.groups != 1:
            raise PruningError(f'prune: importance obs prices channels that convolutions read, and {name}, which reads '
                               f'{group.root}, is a {type(module).__name__}. Expected importance taylor.')
        columns = found.setdefault(name, [[] for _ in range(group.size)])
        for channel, column in enumerate(part.index):
            columns[channel].append(column)
    return found


def _values(net: nn.Module, name: str) -> int:
    """How many values the kernel of a convolution reads."""
    return net.get_parameter(f'{name}.weight')[0].numel()


def _units(groups: Sequence[ChannelGroup], readers: Mapping[str, Iterable[str]]) -> list[list[ChannelGroup]]:
    """Groups that share readers, put together: in an RRDBNet the groups of a dense block."""
    units: list[tuple[set[str], list[ChannelGroup]]] = []
    for group in groups:
        names, members = set(readers[group.root]), [group]
        for unit in [unit for unit in units if unit[0] & names]:
            units.remove(unit)
            names, members = names | unit[0], [*unit[1], *members]
        units.append((names, members))
    return [members for _, members in units]


class _Reader:
    """A convolution that reads removable channels: its weights on them, and H^-1, both without removed channels."""

    def __init__(self, conv: nn.Conv2d, factor: Tensor, columns: Mapping[str, list[list[int]]],
                 sensitivity: Tensor) -> None:
        taps = conv.weight[0, 0].numel()
        flat = torch.tensor([column for places in columns.values() for place in places for column in place])
        values = (flat[:, None] * taps + torch.arange(taps)).flatten()
        self.inverse = torch.cholesky_inverse(factor)[values][:, values].float()
        self.weights = conv.weight.detach().flatten(2)[:, flat].flatten(1)
        self.sensitivity = sensitivity.clone()
        self.places: dict[str, Tensor] = {}
        start = 0
        for root, places in columns.items():
            count = len(places) * len(places[0]) * taps
            self.places[root] = torch.arange(start, start + count).reshape(len(places), -1)
            start += count

    def prices(self, root: str, channels: Sequence[int]) -> Tensor:
        """The price of each of some channels of a group in this reader: `(number of channels)`."""
        index = self.places[root][channels]
        weights = (self.weights[:, index] * self.sensitivity.sqrt()[:, None, None]).permute(1, 2, 0)
        blocks = self.inverse[index[:, :, None], index[:, None, :]]
        return (torch.linalg.solve(blocks, weights) * weights).sum((1, 2))

    def remove(self, root: str, channel: int) -> None:
        """Remove a channel; the remaining weights make up for it as well as they can."""
        index = self.places[root][channel]
        columns = self.inverse[:, index]
        change = columns @ torch.linalg.inv(columns[index])
        self.weights -= self.weights[:, index] @ change.T
        self.inverse -= change @ columns.T
        self.inverse[index] = self.inverse[:, index] = self.weights[:, index] = 0


def _prices(net: nn.Module, unit: Sequence[ChannelGroup], readers: Mapping[str, _Reader]) -> dict[str, list[float]]:
    """Remove all channels of some groups, always the cheapest for what it saves: the price of each channel by root."""
    shapes = {name: tensor.shape for name, tensor in net.named_parameters()}
    saving = {group.root: sum(shapes[part.tensor].numel() // shapes[part.tensor][part.dim] for part in group.slices
                              if part.tensor in shapes) for group in unit}
    left = {group.root: list(range(group.size)) for group in unit}
    prices = {group.root: [0.0] * group.size for group in unit}
    dearest = dict.fromkeys(left, 0.0)
    by_root = {group.root: group for group in unit}

    def price(root: str, channels: Sequence[int]) -> Tensor:
        values = [reader.prices(root, channels) for reader in readers.values() if root in reader.places]
        return torch.stack(values).sum(0)

    while any(left.values()):
        offers = [(value / saving[root], root, channel) for root, channels in left.items() if channels
                  for value, channel in zip(price(root, channels).tolist(), channels, strict=True)]
        for _, root, channel in sorted(offers)[:AT_ONCE]:
            # Prices grow within a group, so that their order is that of the channels' removal.
            dearest[root] = math.nextafter(max(dearest[root], price(root, [channel]).item()), math.inf)
            prices[root][channel] = dearest[root]
            left[root].remove(channel)
            for reader in readers.values():
                if root in reader.places:
                    reader.remove(root, channel)
            for writer, index in by_root[root].producers.items():
                if writer in readers:
                    readers[writer].sensitivity[index[channel]] = 0
    return prices
