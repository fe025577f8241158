"""The metrics of one validation set, over all ranks: of single images, and of the set as a whole (FID, KID)."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import torch
from basicsr.metrics import calculate_metric

from basicsr_kd.errors import BackboneError
from basicsr_kd.metrics.image_scores import niqe
from basicsr_kd.metrics.image_values import ImageValues
from basicsr_kd.metrics.set_scores import SetScores
from basicsr_kd.runs.distributed import from_all_ranks
from basicsr_kd.utils.arrays import as_pair
from basicsr_kd.utils.measured import Kid
from basicsr_kd.utils.metric_names import SET_TYPES

_ON_A_DEVICE = ('calculate_lpips', 'calculate_jod', 'calculate_jod20')


class Score(NamedTuple):
    """A metric's value for a set, and a note to be logged beside it."""
    value: float
    note: str = ''


class Scores:
    """Takes in images one by one, other ones on each rank, and gives the set's scores.

    Args:
        metrics: `val: metrics:`, a section with `type` for each name, as `basicsr_kd.options.validate` leaves it.
        device: The device that backbones run on.
        left_out: Metrics that were left out before, and why.
    """

    def __init__(self, metrics: Mapping[str, Mapping[str, Any]], device: torch.device,
                 left_out: Mapping[str, str]) -> None:
        self.left_out = dict(left_out)
        self._metrics = metrics
        self._device = device
        self._values = ImageValues({name: _kind(metric) for name, metric in metrics.items()})
        self._sets: dict[str, SetScores] = {}

    def add(self, index: int, images: Mapping[str, np.ndarray]) -> None:
        """Score an image. A metric whose backbone cannot be had is left out from here on.

        Args:
            index: The image's number in the set, the same on every rank.
            images: The result `img` and, if there is one, the ground truth `img2`: (h, w, 3) BGR or (h, w), uint8.

        Raises:
            MetricError: The images differ in size, or a metric cannot take them.
        """
        for name, metric in self._metrics.items():
            if name in self.left_out:
                continue
            try:
                self._add(name, metric, index, images)
            except BackboneError as error:
                self.left_out[name] = str(error)

    def _add(self, name: str, metric: Mapping[str, Any], index: int, images: Mapping[str, np.ndarray]) -> None:
        kind = SET_TYPES.get(metric['type'])
        if kind is None:
            if 'img2' in images:
                as_pair(images['img'], images['img2'])  # BasicSR's metrics only have an assert for sizes
            own = {'device': self._device} if metric['type'] in _ON_A_DEVICE else {}
            value = (niqe(images['img'], metric['crop_border'], metric['convert_to'])
                     if metric['type'] == 'calculate_niqe' else calculate_metric(images, {**metric, **own}))
            self._values.put(name, index, value)
            return
        if name not in self._sets:
            self._sets[name] = set_scores(metric, self._device)
        self._sets[name].add(index, images['img'], images['img2'])

    def gather(self) -> None:
        """Give every rank the scores of all ranks; a metric that one rank left out is left out."""
        shares = from_all_ranks((self._values.by_metric, {name: scores.state() for name, scores in self._sets.items()},
                                 self.left_out))
        self._values.merge(values for values, _, _ in shares)
        for _, _, left_out in shares:
            self.left_out = {**left_out, **self.left_out}
        for name, scores in self._sets.items():
            scores.merge(states[name] for _, states, _ in shares if name in states)

    def results(self) -> dict[str, Score]:
        """The scores by the metrics' names, in their order, without metrics left out or with too few images."""
        found: dict[str, Score] = {}
        for name, metric in self._metrics.items():
            if name in self.left_out:
                continue
            if (mean := self._values.mean(name)) is not None:
                found[name] = Score(mean)
            elif name in self._sets:
                result = self._sets[name].results().get(SET_TYPES[metric['type']])
                if result is not None:
                    found[name] = kid_score(result) if isinstance(result, Kid) else Score(result)
        return found

    def warnings(self) -> list[str]:
        """Warnings that a reader of the scores should see."""
        asked = {SET_TYPES.get(metric['type'], '') for metric in self._metrics.values()}
        return [*(warning for name, scores in self._sets.items() if name not in self.left_out
                  for warning in scores.warnings(asked)), *self._values.warnings()]


def _kind(metric: Mapping[str, Any]) -> str:
    return metric['type'].removeprefix('calculate_')


def set_scores(metric: Mapping[str, Any], device: torch.device) -> SetScores:
    """The object that gathers a metric of a whole set, a section of `val: metrics:` with a type in `SET_TYPES`.

    Raises:
        BackboneError: Inception's weights cannot be had.
    """
    kind = SET_TYPES[metric['type']]
    patch = {'patch': metric['patch']} if kind == 'kid' else {}
    return SetScores([kind], weights=metric['weights'], device=device, **patch)


def kid_score(kid: Kid) -> Score:
    """KID, and its note for the log."""
    return Score(kid.value, f'95 % [{kid.low:.4f}, {kid.high:.4f}] on {kid.patches} patches; floor {kid.floor:.4f} '
                            f'[{kid.floor_low:.4f}, {kid.floor_high:.4f}]')
