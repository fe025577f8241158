"""HaarPSI, MDSI and GMSD, which compare edges and use no trained network; computed by the package piq."""
from __future__ import annotations

from typing import Any

import numpy as np
import torch

from basicsr_kd.utils.arrays import as_pair, as_tensor
from basicsr_kd.utils.extras import load
from basicsr_kd.utils.metric_names import METRICS


def calculate_haarpsi(img: np.ndarray, img2: np.ndarray, crop_border: int, input_order: str = 'HWC', **kwargs: Any
                      ) -> float:
    """HaarPSI (Reisenhofer et al., Signal Processing: Image Communication 2018) on RGB; 1 for equal images, else less.

    Args:
        img: The result, (h, w, 3) BGR or (h, w) grey, uint8; with `input_order` 'CHW' channels come first.
        img2: The ground truth.
        crop_border: Pixels left out on each side.

    Raises:
        MetricError: The images are no pair or are too small.
        MissingExtraError: `piq` is not installed.
    """
    return _score('haarpsi', img, img2, crop_border, input_order)


def calculate_mdsi(img: np.ndarray, img2: np.ndarray, crop_border: int, input_order: str = 'HWC', **kwargs: Any
                   ) -> float:
    """MDSI (Nafchi et al., IEEE Access 2016) on RGB; 0 for equal images, else more. See `calculate_haarpsi`."""
    return _score('mdsi', img, img2, crop_border, input_order)


def calculate_gmsd(img: np.ndarray, img2: np.ndarray, crop_border: int, input_order: str = 'HWC', **kwargs: Any
                   ) -> float:
    """GMSD (Xue et al., IEEE TIP 2014) on the Y of YIQ; 0 for equal images, else more. See `calculate_haarpsi`."""
    return _score('gmsd', img, img2, crop_border, input_order)


@torch.inference_mode()
def _score(name: str, img: np.ndarray, img2: np.ndarray, crop_border: int, input_order: str) -> float:
    piq = load('piq', METRICS[name].title)
    pair = as_pair(img, img2, crop_border, METRICS[name].smallest, input_order)
    return float(getattr(piq, name)(*map(as_tensor, pair)))
