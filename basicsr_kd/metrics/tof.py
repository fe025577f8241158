"""tOF: how far the motion in a result is from that in the ground truth (Chu et al., TecoGAN, ACM TOG 2020)."""
from __future__ import annotations

from typing import Any, NoReturn

import cv2
import numpy as np

from basicsr_kd.errors import MetricError
from basicsr_kd.metrics.clip_protocol import Window


def flow_distance(prev_gt: np.ndarray, cur_gt: np.ndarray, prev: np.ndarray, cur: np.ndarray, crop: Window) -> float:
    """tOF of two frames that follow one another; 0 for equal motion, lower is better.

    It is the mean over pixels of |flow of the ground truth - flow of the result|, in pixels. The flow is Farneback's on
    grey images, which needs no network. A blurred result has a smooth flow, so read tOF beside a metric of single
    frames.

    Args:
        prev_gt: The previous ground truth, (h, w, 3) BGR uint8 like all four frames.
        cur_gt: The ground truth.
        prev: The previous result.
        cur: The result.
        crop: The part that the mean is over; the flow is that of the whole frames.
    """
    difference = (_flow(prev_gt, cur_gt) - _flow(prev, cur))[crop]
    return float(np.linalg.norm(difference, axis=2).mean(dtype=np.float64))


def _flow(before: np.ndarray, after: np.ndarray) -> np.ndarray:
    """Optical flow (h, w, 2) float32, with the parameters of TecoGAN's metrics.py."""
    before, after = (cv2.cvtColor(image, cv2.COLOR_BGR2GRAY) for image in (before, after))
    no_guess: Any = None  # OpenCV accepts None, but its type stubs do not
    return cv2.calcOpticalFlowFarneback(before, after, no_guess, pyr_scale=0.5, levels=3, winsize=15, iterations=3,
                                        poly_n=5, poly_sigma=1.2, flags=0)


def calculate_tof(*args: Any, **kwargs: Any) -> NoReturn:
    """tOF under a name of BasicSR's kind, for models that gather it; BasicSR itself would call it for a single image.

    Raises:
        MetricError: Always.
    """
    raise MetricError('calculate_tof: tOF is a property of a sequence of frames, not of an image, and this model calls '
                      'its metrics image by image. TecoGANModel gathers it clip by clip; for finished clips or another '
                      'model: `basicsr-kd evaluate --metrics tof`.')
