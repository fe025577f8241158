"""The search for steps that lead to the budget when every layer may have its own width."""
from __future__ import annotations

from itertools import accumulate
from typing import NamedTuple

from basicsr_kd.pruning.channels.groups import ChannelGroup
from basicsr_kd.pruning.cost import Account

# Steps that land within this share of the target are equally good: the one that loses the least importance is taken.
_EQUALLY_NEAR = 0.001
# A search that misses the target by more than this share exchanges steps until no exchange comes nearer.
PROMISED = 0.005


class _Unit(NamedTuple):
    """The next step of a group: how many channels it removes, what it saves, the importance it loses, and its price."""
    price: float
    saving: int
    channels: int
    importance: float


class GlobalSearch:
    """`allocation: global`; see `basicsr_kd.pruning.channels.budget.choose_widths`.
"""

    def __init__(self, groups: list[ChannelGroup], account: Account, target: float, round_to: int,
                 least: int) -> None:
        self.groups = groups
        self.account = account
        self.round_to = round_to
        self.least = least
        self.widths = [group.size for group in groups]
        self.excess = account.cost() - target
        self.equally_near = _EQUALLY_NEAR * target
        self.promised = PROMISED * target
        # lost[i][n]: the importance of the n least important channels of group i.
        self.lost = [list(accumulate(sorted(group.importance), initial=0.0)) for group in groups]
        tensors = [{part.tensor for part in group.slices} for group in groups]
        self.neighbours = [[other for other in range(len(groups)) if tensors[index] & tensors[other]]
                           for index in range(len(groups))]

    def run(self) -> None:
        """Set `widths`: step by step from the full ones to those that cost the target."""
        units = {index: unit for index in range(len(self.groups)) if (unit := self.unit(index))}
        while self.excess > 0 and units:
            chosen = min(units, key=units.__getitem__)
            if units[chosen].saving > self.excess:
                self.finish(units)
                break
            self.drop(chosen, units[chosen].channels)
            for index in self.neighbours[chosen]:
                units.pop(index, None)
                if unit := self.unit(index):
                    units[index] = unit
        while abs(self.excess) > self.promised and self.exchange():
            pass

    def finish(self, units: dict[int, _Unit]) -> None:
        """Take the unit that lands nearest to the target, if any lands nearer than no further step."""
        nearest, unit = min(units.items(), key=lambda step: (self.miss(step[1].saving), step[1].price))
        if self.miss(unit.saving) < self.miss(0):
            self.drop(nearest, unit.channels)

    def exchange(self) -> bool:
        """Take back one step of a group for one of another, if a pair lands nearer; the nearest pair is chosen."""
        best: tuple[float, float, int, int] | None = None
        for back in range(len(self.groups)):
            channels, value = self.step_back(back)
            for forth in range(len(self.groups)):
                if channels and forth != back and (unit := self.unit(forth)):
                    pair = (self.miss(unit.saving), unit.importance - value, back, forth)
                    best = min(best or pair, pair)
            self.drop(back, channels)
        if best is None or best[0] >= self.miss(0):
            return False
        _, _, back, forth = best
        self.step_back(back)
        if unit := self.unit(forth):
            self.drop(forth, unit.channels)
        return True

    def step_back(self, index: int) -> tuple[int, float]:
        """Undo a group's last step; returns how many channels come back (0: it has them all), and their importance."""
        width, group = self.widths[index], self.groups[index]
        channels = min(group.size, (width // self.round_to + 1) * self.round_to) - width
        self.drop(index, -channels)
        return channels, self.lost[index][group.size - width] - self.lost[index][group.size - width - channels]

    def unit(self, index: int) -> _Unit | None:
        """The next step of a group; None if it has the least width already."""
        width, size = self.widths[index], self.groups[index].size
        below = (width - 1) // self.round_to * self.round_to
        if below < self.least:
            return None
        channels = width - below
        saving = self.account.drop(self.groups[index], channels)
        self.account.drop(self.groups[index], -channels)
        importance = self.lost[index][size - width + channels] - self.lost[index][size - width]
        return _Unit(importance / saving, saving, channels, importance)

    def drop(self, index: int, channels: int) -> None:
        """Remove channels from a group (put them back if negative)."""
        self.excess -= self.account.drop(self.groups[index], channels)
        self.widths[index] -= channels

    def miss(self, saving: int) -> float:
        """How far from the target a saving lands; all distances within `equally_near` count the same."""
        return max(abs(self.excess - saving), self.equally_near)
