"""Texture: how much fine detail a result has, relative to the ground truth."""
from __future__ import annotations

from typing import Any

import numpy as np
from basicsr.utils import bgr2ycbcr

from basicsr_kd.utils.arrays import as_pair
from basicsr_kd.utils.metric_names import METRICS

FROM = 0.25
"""Cycles a pixel above which detail counts as fine: a quarter of the sampling frequency, half of the highest one."""
_LEAST = 1e-2
"""Least energy a pixel, for Y from 16 to 235: less may come from rounding a flat image to 8 bits (variance 1/12)."""


def calculate_texture(img: np.ndarray, img2: np.ndarray, crop_border: int, input_order: str = 'HWC', **kwargs: Any
                      ) -> float | None:
    """The ratio of two images' energies above a quarter of the sampling frequency.

    1: as much fine detail as the ground truth; below: blurred; above: sharpened or noisy. It does not say whether the
    detail is right, so use it beside a metric that does. The energy is that of Y's Fourier transform in all directions,
    under a Hann window, which keeps out the image's edges.

    Args:
        img: The result, (h, w, 3) BGR or (h, w) grey, uint8; with `input_order` 'CHW' channels come first.
        img2: The ground truth.
        crop_border: Pixels left out on each side.

    Returns:
        The ratio; None where the ground truth has no fine detail.

    Raises:
        MetricError: The images are no pair or are too small.
    """
    pair = as_pair(img, img2, crop_border, METRICS['texture'].smallest, input_order)
    result, truth = (fine_energy(image) for image in pair)
    return result / truth if truth > _LEAST else None


def fine_energy(image: np.ndarray) -> float:
    """Energy a pixel of Y above a quarter of the sampling frequency.

    Args:
        image: (h, w, 3) BGR uint8.
    """
    # Y rounded to whole numbers, as BasicSR makes it from uint8, would add noise
    luma = bgr2ycbcr(image.astype(np.float32) / 255, y_only=True).astype(np.float64) * 255
    height, width = luma.shape
    window = np.outer(np.hanning(height), np.hanning(width))
    spectrum = np.abs(np.fft.fft2((luma - luma.mean()) * window)) ** 2
    frequency = np.hypot(*np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing='ij'))
    return float(spectrum[frequency > FROM].sum() / luma.size / (window ** 2).sum())
