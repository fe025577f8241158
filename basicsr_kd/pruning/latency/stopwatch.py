"""The time of a pruned network, measured side by side with the network before pruning."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from basicsr_kd.errors import PruningError
from basicsr_kd.metrics.timing import quartiles, time_in_turns
from basicsr_kd.pruning.latency.place import Place

NOISY = 0.2
"""If the distance between a time's quartiles is more than this part of its median, the machine is called noisy."""
_TURNS, _SECONDS = 5, 10


@dataclass(frozen=True)
class Latency:
    """The time of a network, measured side by side with the network that it was made from.

    Args:
        place: Where it was measured, in words.
        before: Seconds of the original: lower quartile, median, upper quartile.
        after: The same for the pruned network.
    """
    place: str
    before: tuple[float, float, float]
    after: tuple[float, float, float]

    @property
    def share(self) -> float:
        """The pruned network's time as a share of the original's."""
        return self.after[1] / self.before[1]

    @property
    def spread(self) -> float:
        """The distance between the quartiles as a share of the median; the larger of the two networks'."""
        return max((high - low) / middle for low, middle, high in (self.before, self.after))

    def words(self) -> str:
        """The times in words, on one line; on two lines if the machine was noisy."""
        line = (f'time, {self.place}: {_milliseconds(self.before)} -> {_milliseconds(self.after)} '
                f'({100 * self.share:.1f} %)')
        return line + (f'\nThe machine was noisy while it was measured (quartiles {100 * self.spread:.0f} % of the '
                       'median apart): close other programs and repeat.' if self.spread > NOISY else '')


def _milliseconds(times: tuple[float, float, float]) -> str:
    low, middle, high = (1000 * seconds for seconds in times)
    return f'{middle:.0f} ms ({low:.0f} to {high:.0f})'


class Stopwatch:
    """Times networks side by side with one reference network.

    Args:
        net: The reference network.
        channels: Channels of its input.
        place: Where time is measured.
    """

    def __init__(self, net: nn.Module, channels: int, place: Place) -> None:
        self.place = place
        self.image = torch.rand(1, channels, place.size, place.size)
        self.kind = type(net).__name__
        self.original = place.ready(net, self.image)

    def compare(self, network: nn.Module) -> Latency:
        """Run a network and the reference in turns, for about ten seconds at most.

        Raises:
            PruningError: One of the networks cannot run there.
        """
        taken, failures = time_in_turns({'before': self.original, 'after': self.place.ready(network, self.image)},
                                        _TURNS, _SECONDS)
        if failures:
            raise PruningError(f'prune: {self.kind} cannot run in {self.place.program}: '
                               f'{next(iter(failures.values()))}. Expected another runtime.')
        return Latency(self.place.words(), quartiles(taken['before']), quartiles(taken['after']))
