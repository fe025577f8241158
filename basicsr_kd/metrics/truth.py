"""Which sets have ground truth, and which metrics need it."""
from __future__ import annotations

import inspect

from basicsr.utils.registry import METRIC_REGISTRY

from basicsr_kd.utils.metric_names import METRICS_OF_SETS


def needs_truth(metric: str) -> bool:
    """Whether a registered metric compares a result with something; NIQE does not."""
    return metric in METRICS_OF_SETS or 'img2' in inspect.signature(METRIC_REGISTRY.get(metric)).parameters
