"""tLP: whether a result changes over time as much as the ground truth (Chu et al., TecoGAN, ACM TOG 2020)."""
from __future__ import annotations

from typing import Any, NoReturn

import numpy as np
from torch import nn

from basicsr_kd.errors import MetricError
from basicsr_kd.metrics.lpips import lpips_distance


def perceptual_change_distance(network: nn.Module, prev_gt: np.ndarray, cur_gt: np.ndarray, prev: np.ndarray,
                               cur: np.ndarray) -> float:
    """tLP of two frames that follow one another, times 100 as papers print it (tLP100); lower is better.

    100 · |LPIPS(previous ground truth, ground truth) - LPIPS(previous result, result)|: 0 where the result changes as
    much as the ground truth, even if in another way.

    Args:
        network: From `basicsr_kd.metrics.lpips.lpips_network`.
        prev_gt: The previous ground truth, (h, w, 3) BGR uint8 like all four frames.
        cur_gt: The ground truth.
        prev: The previous result.
        cur: The result.

    Raises:
        MetricError: Frames that follow one another differ in size or are too small for LPIPS.
    """
    return 100 * abs(lpips_distance(network, prev_gt, cur_gt) - lpips_distance(network, prev, cur))


def calculate_tlp(*args: Any, **kwargs: Any) -> NoReturn:
    """tLP under a name of BasicSR's kind, for models that gather it; see `calculate_tof`.

    Raises:
        MetricError: Always.
    """
    raise MetricError('calculate_tlp: tLP is a property of a sequence of frames, not of an image, and this model calls '
                      'its metrics image by image. TecoGANModel gathers it clip by clip; for finished clips or another '
                      'model: `basicsr-kd evaluate --metrics tlp`.')
