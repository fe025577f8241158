"""The time of a network's units in each combination of their widths: measured once, kept for this machine."""
from __future__ import annotations

import json
from collections.abc import Sequence
from statistics import median

import numpy as np
import torch
from torch import Tensor, nn

from basicsr_kd.errors import PruningError
from basicsr_kd.metrics.timing import Call, time_in_turns
from basicsr_kd.pruning.latency.place import Place
from basicsr_kd.pruning.latency.units import Unit, inputs_of
from basicsr_kd.utils.files import cache_folder, write_whole
from basicsr_kd.utils.progress import progressing

TURNS = 11


class Table:
    """Times of units, each as a share of one unit's time, so that a slow moment of the machine does not count.

    Args:
        net: The network, on the CPU in evaluation mode.
        units: The units to measure.
        example: An input of the network, `(1, c, h, w)`.
        place: Where time is measured.
    """

    def __init__(self, net: nn.Module, units: Sequence[Unit], example: Tensor, place: Place) -> None:
        self.net, self.units, self.place = net, units, place
        inputs = inputs_of(net, units, example)
        scale = place.size / example.shape[-1]
        self.shapes = {path: (given.shape[1], *(round(side * scale) for side in given.shape[2:]))
                       for path, given in inputs.items()}
        self.file = cache_folder() / 'latency.json'

    def measure(self, progress: bool) -> list[np.ndarray]:
        """The times of each unit: `(widths of the group before, options)`; one row if there is no group before."""
        entries = {self._name(*entry): entry for unit in self.units for before in self._before(unit)
                   for entry in ((unit, widths, before) for widths in unit.options)}
        reference = next(iter(entries))
        known = self._read(reference)
        missing = [name for name in entries if name not in known]
        whole = self._ready(*entries[reference]) if missing else lambda: None
        for name in progressing(missing, f'timing blocks, {self.place.program} {self.place.dtype}', len(missing),
                                progress and bool(missing)):
            taken, failures = time_in_turns({'unit': self._ready(*entries[name]), 'reference': whole}, TURNS)
            if failures:
                raise PruningError(f'prune: {self.place.program} cannot run a part of {type(self.net).__name__}: '
                                   f'{next(iter(failures.values()))}. Expected another runtime or a smaller size.')
            known[name] = median(taken['unit']) / median(taken['reference'])
            self._write(reference, known)  # at once: a stopped run goes on from there
        return [np.array([[known[self._name(unit, widths, before)] for widths in unit.options]
                          for before in self._before(unit)]) for unit in self.units]

    def _before(self, unit: Unit) -> Sequence[int | None]:
        """The widths that the group before a unit may have, in the order of that unit's options."""
        if unit.before is None:
            return [None]
        return next([widths[0] for widths in other.options] for other in self.units if other.groups == (unit.before,))

    def _ready(self, unit: Unit, widths: Sequence[int], before: int | None) -> Call:
        channels, height, width = self.shapes[unit.modules[0]]
        image = torch.rand(1, channels if before is None else before, height, width)
        return self.place.ready(unit.built(self.net, tuple(widths), before), image)

    def _name(self, unit: Unit, widths: Sequence[int], before: int | None) -> str:
        return f'{unit.name(self.net, tuple(widths), before)}, input {"x".join(map(str, self.shapes[unit.modules[0]]))}'

    def _title(self, reference: str) -> str:
        """A title for times that can be compared: same machine, same runtime, shares of the same unit's time."""
        return f'{self.place.words()}, parts of: {reference}'

    def _read(self, reference: str) -> dict[str, float]:
        try:
            found = json.loads(self.file.read_text('utf-8'))[self._title(reference)]
            return {key: float(value) for key, value in found.items()}
        except (OSError, ValueError, KeyError, TypeError, AttributeError):
            return {}  # no file, one of another machine, or not ours: measure anew

    def _write(self, reference: str, known: dict[str, float]) -> None:
        try:
            kept = json.loads(self.file.read_text('utf-8'))
            kept[self._title(reference)] = known
        except (OSError, ValueError, TypeError):
            kept = {self._title(reference): known}
        try:
            self.file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(self.file, json.dumps(kept, indent=1))
        except OSError:
            pass  # it is only a cache
