"""The scores of a set's images as they come, on one rank or many: in validation and in `basicsr-kd evaluate`."""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from statistics import fmean

from basicsr_kd.metrics.image_scores import undefined_warning
from basicsr_kd.utils.metric_names import METRICS
from basicsr_kd.utils.text import some

State = Mapping[str, Mapping[str | int, float | None]]
"""By metric and image."""


class ImageValues:
    """Scores by metric and image, None where a metric says nothing of an image.

    Args:
        kinds: How each metric is called here, and which it is: one of `METRICS`, or another one's own name, whose
            scores are averaged.
    """

    def __init__(self, kinds: Mapping[str, str]) -> None:
        self._kinds = dict(kinds)
        self.by_metric: dict[str, dict[str | int, float | None]] = {name: {} for name in kinds}

    def put(self, metric: str, image: str | int, value: float | None) -> None:
        """Keep a score; of an image smaller than a metric's window BasicSR gives NaN, which is none."""
        self.by_metric[metric][image] = None if value is None or math.isnan(value) else value

    def merge(self, states: Iterable[State]) -> None:
        """Take in what other ranks have (their `by_metric`)."""
        for state in states:
            for metric, values in state.items():
                self.by_metric[metric].update(values)

    def mean(self, metric: str) -> float | None:
        """The mean, or what else the metric says of a set, over images where it is defined; None where it is of none.

        It is the same whatever the order in which the images came.
        """
        values = [value for _, value in sorted(self.by_metric[metric].items()) if value is not None]
        if not values:
            return None
        ours = METRICS.get(self._kinds[metric])
        return ours.of_set(values) if ours else fmean(values)

    def warnings(self) -> list[str]:
        """A sentence for each metric that is not defined for some images, which it names where they have names."""
        found = []
        for metric, values in self.by_metric.items():
            undefined = [image for image, value in values.items() if value is None]
            if undefined:
                names = [image for image in undefined if isinstance(image, str)]
                text = undefined_warning(self._kinds[metric], len(undefined), len(values))
                found.append(f'{text}: {some(names)}.' if names else f'{metric}: {text}.')
        return found
