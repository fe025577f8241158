"""The budget search: how wide every channel group is to be, so that the whole costs what was asked for."""
from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

from basicsr_kd.pruning.cost import ConvCost
from basicsr_kd.pruning.groups import ChannelGroup

# A last step may miss the target by this share of it: then the least important unit goes, not the best fitting one.
_CLOSE_ENOUGH = 0.001


class _Unit(NamedTuple):
    """The next step of a group: so many channels fewer, saving so much, at this price."""
    price: float
    saving: int
    channels: int


class _Account:
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


def choose_widths(groups: list[ChannelGroup], convs: dict[str, ConvCost], *, target: float, of: str, allocation: str,
                  round_to: int) -> list[int]:
    """Choose the width of every group.

    ``uniform``: the same width for all (a group that is narrower already stays as it is), a multiple of ``round_to``
    or the full width, whichever costs nearest to the target.

    ``global``: step by step, a group drops to the next multiple of ``round_to`` (0 included), losing its least
    important channels. The step is the one that loses the least importance per parameter (or MAC) saved, as a
    knapsack is emptied. Importance has mean 1 in every group, so that what counts is how unequal the channels of a
    layer are, not how large its weights happen to be; and the saving is what the step saves *now*: where a dense
    block has lost channels already, the next ones read and feed fewer and save less, so cuts spread over the blocks
    and none is emptied early. When the cheapest step would overshoot, the one that lands nearest to the target (or
    none) ends the search; those that land within 0.1 % count as equally near.

    Args:
        groups: the channel groups that may shrink.
        convs: every convolution of the network, by module path.
        target: the cost to reach; at least what is left with all groups at 0.
        of: 'params' or 'macs'.
        allocation: 'uniform' or 'global'.
        round_to: widths are multiples of it (or what they were).

    Returns:
        One width a group.
    """
    choose = _choose_uniform if allocation == 'uniform' else _choose_global
    return choose(groups, _Account(convs, of), target, round_to)


def _choose_uniform(groups: list[ChannelGroup], account: _Account, target: float, round_to: int) -> list[int]:
    widths = [group.size for group in groups]
    largest = max(widths, default=0)
    best, best_miss = widths, abs(account.cost() - target)
    for width in sorted(range(0, largest, round_to), reverse=True):
        narrower = [min(group.size, width) for group in groups]
        for group, old, new in zip(groups, widths, narrower, strict=True):
            account.drop(group, old - new)
        widths = narrower
        if (miss := abs(account.cost() - target)) < best_miss:
            best, best_miss = widths, miss
    return best


def _choose_global(groups: list[ChannelGroup], account: _Account, target: float, round_to: int) -> list[int]:
    widths = [group.size for group in groups]
    # lost[i][n]: the importance of the n least important channels of group i.
    lost = [list(accumulate(sorted(group.importance), initial=0.0)) for group in groups]
    convs = [{member.conv for member in group.members} for group in groups]
    neighbours = [[other for other in range(len(groups)) if convs[index] & convs[other]]
                  for index in range(len(groups))]

    def next_unit(index: int) -> _Unit | None:
        group, width = groups[index], widths[index]
        if width == 0:
            return None
        channels = width - (width - 1) // round_to * round_to
        saving = account.drop(group, channels)
        account.drop(group, -channels)
        gone = group.size - width
        return _Unit((lost[index][gone + channels] - lost[index][gone]) / saving, saving, channels)

    units = {index: unit for index in range(len(groups)) if (unit := next_unit(index))}
    excess = account.cost() - target
    while excess > 0 and units:
        chosen = min(units, key=units.__getitem__)
        if units[chosen].saving > excess:
            last = _last_unit(units, excess, _CLOSE_ENOUGH * target)
            if last is not None:
                widths[last] -= units[last].channels
            break
        excess -= account.drop(groups[chosen], units[chosen].channels)
        widths[chosen] -= units[chosen].channels
        for index in neighbours[chosen]:
            units.pop(index, None)
            if unit := next_unit(index):
                units[index] = unit
    return widths


def _last_unit(units: dict[int, _Unit], excess: float, tolerance: float) -> int | None:
    """The unit that lands nearest to the target, the cheapest among equals; None where leaving off is nearer."""
    nearest = min(units, key=lambda index: (max(abs(excess - units[index].saving), tolerance), units[index].price))
    return nearest if max(abs(excess - units[nearest].saving), tolerance) < max(excess, tolerance) else None
