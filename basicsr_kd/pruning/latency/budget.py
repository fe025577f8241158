"""The widths with which a network takes a given share of its measured time: `of: latency`."""
from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

from torch import Tensor, nn

from basicsr_kd.errors import PruningError
from basicsr_kd.pruning.channels.groups import ChannelGroup
from basicsr_kd.pruning.channels.layouts import Removable
from basicsr_kd.pruning.latency.knapsack import choose
from basicsr_kd.pruning.latency.place import find_place
from basicsr_kd.pruning.latency.stopwatch import Latency, Stopwatch
from basicsr_kd.pruning.latency.table import Table
from basicsr_kd.pruning.latency.units import find_units
from basicsr_kd.utils.prune_request import Request

NEAR = 0.05
"""How far a network's time may be from the share that was asked for, as a part of that share."""
_TRIALS = 4

Build = Callable[[Mapping[str, int]], nn.Module]
"""A function from the width of each group, by its root, to the network that is left."""


class TimeBudget:
    """The search for the widths.

    Args:
        net: The network, on the CPU in evaluation mode.
        removable: The groups that may lose channels; only their sizes matter here.
        request: The request with its budget.
        example: An input of the network, `(1, c, h, w)`.
        build: Makes a network with given widths.

    Raises:
        PruningError: The device, runtime or type is missing on this machine, or the share is out of reach.
        MissingExtraError: The runtime is not installed.
    """

    def __init__(self, net: nn.Module, removable: Removable, request: Request, example: Tensor, build: Build) -> None:
        assert request.ratio is not None
        self.build, self.share = build, 1 - request.ratio
        place = find_place(request)
        self.units = find_units(net, removable.free, request.round_to, removable.least)
        self.table = Table(net, self.units, example, place)
        self.stopwatch = Stopwatch(net, example.shape[1], place)
        self.widths_of_least = {group.root: widths[-1] for unit in self.units for group, widths in
                                zip(unit.groups, zip(*unit.options, strict=True), strict=True)}
        self.least = self.stopwatch.compare(build(self.widths_of_least))
        if self.least.share > self.share:
            most = math.floor(100 * (1 - self.least.share)) / 100
            raise PruningError(f'prune: ratio {request.ratio} would leave {100 * self.share:.0f} % of the time, but '
                               f'layout {request.layout} with round_to {request.round_to} reaches down to '
                               f'{100 * self.least.share:.0f} % in {place.words()}. Expected a ratio from 0 to '
                               f'{most}.')

    def choose(self, groups: Sequence[ChannelGroup], progress: bool) -> tuple[dict[str, int], Latency]:
        """The width of each group by its root, and the time of the network with these widths.

        Times of units tell which combination loses least for its time. Then the time of the whole network is measured,
        and the choice is repeated with another limit until it is within 5 %, at most four times; the nearest counts.

        Args:
            groups: The groups of the removable, with the importance of their channels.
            progress: Whether to show progress bars.
        """
        times = self.table.measure(progress)
        by_root = {group.root: group for group in groups}
        units = [unit.priced(by_root) for unit in self.units]
        losses = [unit.losses() for unit in units]

        def total(options: Sequence[int]) -> float:
            rows = [0, *options[:-1]]
            return sum(float(its[row if len(its) > 1 else 0, option])
                       for its, row, option in zip(times, rows, options, strict=True))

        slowest, fastest = total([0] * len(units)), total([len(unit.options) - 1 for unit in units])
        # Time of all units, by the time of the whole network: known at both ends, and from there on at every trial.
        known = {self.least.share: fastest, 1.0: slowest}
        found = [(abs(self.least.share - self.share), self.widths_of_least, self.least)]
        for _ in range(_TRIALS):
            options = choose(times, losses, between(known, self.share))
            if options is None:
                break
            widths = {group.root: width for unit, option in zip(units, options, strict=True)
                      for group, width in zip(unit.groups, unit.options[option], strict=True)}
            measured = self.stopwatch.compare(self.build(widths))
            found.append((abs(measured.share - self.share), widths, measured))
            if found[-1][0] <= NEAR * self.share:
                break
            known[measured.share] = total(options)
        _, widths, measured = min(found, key=lambda trial: trial[0])
        return widths, measured


def between(known: Mapping[float, float], share: float) -> float:
    """The value that belongs to a share of the time: on the line between the two nearest measured shares.

    Args:
        known: Measured shares of the time, each with its value.
        share: The share whose value is wanted.
    """
    below = max((one for one in known if one <= share), default=min(known))
    above = min((one for one in known if one > share), default=max(known))
    if above == below:
        return known[above]
    return known[below] + (known[above] - known[below]) * (share - below) / (above - below)
