"""Which sets have ground truth, and which metrics need it."""
from __future__ import annotations

import inspect
from collections.abc import Mapping
from typing import Any

from basicsr.utils.registry import METRIC_REGISTRY

from basicsr_kd.val_options import METRICS_OF_SETS


def has_truth(dataset: Mapping[str, Any]) -> bool:
    """Whether results on a set of images or clips, a section of `datasets:`, can be compared with something."""
    if dataset['type'] == 'TecoGANTestDataset':
        return bool(dataset.get('dataroot_gt'))
    return dataset['type'] != 'SingleImageDataset'


def needs_truth(metric: str) -> bool:
    """Whether a registered metric compares a result with something; NIQE does not."""
    return metric in METRICS_OF_SETS or 'img2' in inspect.signature(METRIC_REGISTRY.get(metric)).parameters
