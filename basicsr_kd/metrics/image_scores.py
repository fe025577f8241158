"""Scores of one image by the names of metrics."""
from __future__ import annotations

import inspect
import warnings
from typing import Literal

import numpy as np
import torch
from basicsr.metrics import calculate_niqe
from basicsr.utils.registry import METRIC_REGISTRY
from torch import nn

from basicsr_kd.errors import MetricError
from basicsr_kd.metrics.lpips import lpips_distance
from basicsr_kd.utils.arrays import as_bgr, as_pair
from basicsr_kd.utils.metric_names import IMAGE_METRICS, METRICS, of_type

NIQE_BLOCK = 96


def image_score(name: str, result: np.ndarray, truth: np.ndarray | None, *, border: int, channel: Literal['y', 'rgb'],
                lpips: nn.Module | None = None, device: str | torch.device | None = None) -> float | None:
    """Score an image against its ground truth.

    Args:
        name: One of `IMAGE_METRICS`.
        result: uint8, (h, w, 3) BGR or (h, w) grey; grey is scored as three equal channels.
        truth: The ground truth, of the same size; None for a metric that needs none.
        border: Pixels left out on each side.
        channel: What PSNR and SSIM are measured on: Y of YCbCr, or RGB (SSIM: mean over channels). Other metrics have
            channels of their own.
        lpips: The network of `lpips_network`, for 'lpips'.
        device: Where JOD is computed; default: the GPU, if there is one.

    Returns:
        PSNR in dB, infinite for equal images; None where the metric is not defined, see `Metric.undefined`.

    Raises:
        MetricError: The images are no pair or are too small, or there is no such metric.
        MissingExtraError: The metric's package is not installed.
    """
    if truth is None:
        if name in IMAGE_METRICS and not METRICS[name].needs_truth:
            return niqe(result, border)
        raise MetricError(f'{name} compares with ground truth, and there is none.')
    if name == 'lpips' and lpips:
        return lpips_distance(lpips, result, truth, border)
    if name not in IMAGE_METRICS or name == 'lpips':
        raise MetricError(f'found {name!r} as a metric{", without its network" if name == "lpips" else ""}. '
                          f'Expected one of {", ".join(IMAGE_METRICS)}.')
    result, truth = as_pair(result, truth, border, METRICS[name].smallest)
    if name == 'niqe':
        return niqe(result, 0)
    metric = METRIC_REGISTRY.get(f'calculate_{name}')
    options = {} if METRICS[name].on else {'test_y_channel': channel == 'y'}
    score = metric(result, truth, crop_border=0, device=device, **options)
    return None if score is None else float(score)


def niqe(image: np.ndarray, border: int, convert_to: Literal['y', 'gray'] = 'y') -> float | None:
    """NIQE of an image (Mittal et al., IEEE SPL 2013).

    Args:
        image: uint8, (h, w, 3) BGR or (h, w) grey, which is scored as three equal channels.
        border: Pixels left out on each side.
        convert_to: What it is measured on: Y of YCbCr, or grey as OpenCV makes it.

    Returns:
        NIQE; None where it is not defined: for a flat image, or if fewer than two blocks of 96x96 pixels are left.

    Raises:
        MetricError: It is no image.
    """
    image = as_bgr(image)
    height, width = (length - 2 * border for length in image.shape[:2])
    if min(height, width) < 1 or (height // NIQE_BLOCK) * (width // NIQE_BLOCK) < 2:
        return None
    try:
        with warnings.catch_warnings():  # a flat block divides by zero and is then left out
            warnings.simplefilter('ignore', RuntimeWarning)
            score = float(calculate_niqe(image, crop_border=border, convert_to=convert_to))
    except np.linalg.LinAlgError:  # the statistics of fewer than two blocks lead to this
        return None
    return score if np.isfinite(score) else None


def undefined_warning(name: str, undefined: int, images: int) -> str:
    """What a reader of a set's figure has to know about images without a score, without a full stop.

    Args:
        name: The metric's name.
        undefined: Number of images on which it is None.
        images: Number of all images.
    """
    metric = METRICS.get(name)
    if metric is None:
        return f'{name} is no number on {undefined} of {images} images, which its mean leaves out'
    return (f'{metric.title} is not defined on {undefined} of {images} images '
            f'({metric.undefined or "too small for it"}), which its {metric.over_images} leaves out')


def needs_truth(kind: str) -> bool:
    """Whether a registered metric needs a ground truth; for a metric that is not ours its signature tells."""
    metric = of_type(kind)
    return metric.needs_truth if metric else 'img2' in inspect.signature(METRIC_REGISTRY.get(kind)).parameters
