"""Scores of one image: PSNR, SSIM and NIQE as BasicSR computes them, and LPIPS."""
from __future__ import annotations

from typing import Literal

import numpy as np
from basicsr.metrics import calculate_niqe, calculate_psnr, calculate_ssim
from torch import nn

from basicsr_kd.metrics.arrays import as_pair
from basicsr_kd.metrics.errors import MetricError
from basicsr_kd.metrics.lpips_metric import lpips_distance

METRICS = ('psnr', 'ssim', 'lpips', 'niqe')
SSIM_WINDOW = 11
NIQE_BLOCK = 96


def image_score(name: str, result: np.ndarray, truth: np.ndarray, *, border: int, channel: Literal['y', 'rgb'],
                lpips: nn.Module | None = None) -> float | None:
    """Score an image against its ground truth.

    Args:
        name: one of `METRICS`.
        result: uint8, (h, w, 3) BGR or (h, w) grey; grey is scored as three equal channels.
        truth: of the same size.
        border: pixels left out on each side.
        channel: what PSNR and SSIM are on: Y of YCbCr, or RGB (SSIM: mean over channels). LPIPS is on RGB, NIQE on Y.
        lpips: the network of `lpips_network`, for 'lpips'.

    Returns:
        PSNR in dB, infinite for equal images; None for NIQE where it is not defined: a flat image, or one of less than
        two blocks of 96x96 pixels.

    Raises:
        MetricError: the images are no pair or too small, or there is no such metric.
    """
    if name == 'lpips' and lpips:
        return lpips_distance(lpips, result, truth, border)
    if name not in METRICS or name == 'lpips':
        raise MetricError(f'found {name!r} as a metric{", without its network" if name == "lpips" else ""}. '
                          f'Expected one of {", ".join(METRICS)}.')
    result, truth = as_pair(result, truth, border, SSIM_WINDOW if name == 'ssim' else 1)
    if name == 'niqe':
        return _niqe(result)
    metric = calculate_psnr if name == 'psnr' else calculate_ssim
    return float(metric(result, truth, crop_border=0, test_y_channel=channel == 'y'))


def _niqe(image: np.ndarray) -> float | None:
    """NIQE on Y (Mittal et al., IEEE SPL 2013)."""
    height, width = image.shape[:2]
    if (height // NIQE_BLOCK) * (width // NIQE_BLOCK) < 2:
        return None
    try:
        with np.errstate(all='ignore'):  # a flat block divides by zero and is then left out
            return float(calculate_niqe(image, crop_border=0))
    except np.linalg.LinAlgError:  # what comes of statistics of less than two blocks
        return None
