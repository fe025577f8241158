"""Bicubic enlargement: what every network is compared with."""
import numpy as np
from basicsr.utils.matlab_functions import imresize


def bicubic(lr: np.ndarray, scale: int) -> np.ndarray:
    """Enlarge an image, (h, w, 3) or (h, w) uint8, by the MATLAB-like bicubic of published figures."""
    return (imresize(lr.astype(np.float32) / 255, scale).clip(0, 1) * 255).round().astype(np.uint8)
