"""How long a pruned network takes beside the one that it was made of."""
from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import nn

from basicsr_kd.errors import PruningError
from basicsr_kd.metrics.timing import quartiles, time_in_turns
from basicsr_kd.pruning.latency.place import Place

NOISY = 0.2
"""Between the quartiles of a time, in parts of its median, from which on a machine is called noisy."""
_TURNS, _SECONDS = 5, 10


@dataclass(frozen=True)
class Latency:
    """What a network takes, measured beside the one that it was made of.

    Args:
        place: Where, in words.
        before: Seconds of the original: lower quartile, median, upper quartile.
        after: The same of the pruned network.
    """
    place: str
    before: tuple[float, float, float]
    after: tuple[float, float, float]

    @property
    def share(self) -> float:
        """The pruned network's time in parts of the original's."""
        return self.after[1] / self.before[1]

    @property
    def spread(self) -> float:
        """Between the quartiles, in parts of the median: the larger one of the two."""
        return max((high - low) / middle for low, middle, high in (self.before, self.after))

    def words(self) -> str:
        """For people, a line; two where the machine was noisy."""
        line = (f'time, {self.place}: {_milliseconds(self.before)} -> {_milliseconds(self.after)} '
                f'({100 * self.share:.1f} %)')
        return line + (f'\nThe machine was noisy while it was measured (quartiles {100 * self.spread:.0f} % of the '
                       'median apart): close other programs and repeat.' if self.spread > NOISY else '')


def _milliseconds(times: tuple[float, float, float]) -> str:
    low, middle, high = (1000 * seconds for seconds in times)
    return f'{middle:.0f} ms ({low:.0f} to {high:.0f})'


class Stopwatch:
    """Times networks in turns with one.

    Args:
        net: The network that others are compared with.
        channels: Of its input.
        place: Where.
    """

    def __init__(self, net: nn.Module, channels: int, place: Place) -> None:
        self.place = place
        self.image = torch.rand(1, channels, place.size, place.size)
        self.kind = type(net).__name__
        self.original = place.ready(net, self.image)

    def compare(self, network: nn.Module) -> Latency:
        """Run it and the one that it is compared with in turns, for about ten seconds at most.

        Raises:
            PruningError: One cannot run there.
        """
        taken, failures = time_in_turns({'before': self.original, 'after': self.place.ready(network, self.image)},
                                        _TURNS, _SECONDS)
        if failures:
            raise PruningError(f'prune: {self.kind} cannot run in {self.place.program}: '
                               f'{next(iter(failures.values()))}. Expected another runtime.')
        return Latency(self.place.words(), quartiles(taken['before']), quartiles(taken['after']))
