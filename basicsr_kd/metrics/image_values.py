"""Gathers the scores of a set's images, on one rank or many, in validation and in `basicsr-kd evaluate`."""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean

from basicsr_kd.metrics.image_scores import undefined_warning
from basicsr_kd.utils.metric_names import METRICS
from basicsr_kd.utils.text import some

State = Mapping[str, Mapping[str | int, float | None]]
"""Scores by metric and image."""


class ImageValues:
    """Scores by metric and image, None where a metric is not defined for an image.

    Args:
        metric_of: The metric behind each name: one of `METRICS`, or any other one, whose scores are averaged.
    """

    def __init__(self, metric_of: Mapping[str, str]) -> None:
        self._metric_of = dict(metric_of)
        self.by_metric: dict[str, dict[str | int, float | None]] = {name: {} for name in metric_of}

    def put(self, metric: str, image: str | int, value: float | None) -> None:
        """Keep a score; NaN, which BasicSR gives for an image smaller than a metric's window, becomes None."""
        self.by_metric[metric][image] = None if value is None or math.isnan(value) else value

    def merge(self, states: Iterable[State]) -> None:
        """Take in the scores of other ranks (their `by_metric`)."""
        for state in states:
            for metric, values in state.items():
                self.by_metric[metric].update(values)

    def mean(self, metric: str) -> float | None:
        """The metric's figure for the set, as a rule the mean over images where it is defined; None if there are none.

        It does not depend on the order in which the images came.
        """
        values = [value for _, value in sorted(self.by_metric[metric].items()) if value is not None]
        if not values:
            return None
        ours = METRICS.get(self._metric_of[metric])
        return ours.of_set(values) if ours else fmean(values)

    def warnings(self) -> list[str]:
        """A sentence for each metric that is not defined for some images; it names the images if they have names."""
        found = []
        for metric, values in self.by_metric.items():
            undefined = [image for image, value in values.items() if value is None]
            if undefined:
                names = [image for image in undefined if isinstance(image, str)]
                text = undefined_warning(self._metric_of[metric], len(undefined), len(values))
                found.append(f'{text}: {some(names)}.' if names else f'{metric}: {text}.')
        return found
