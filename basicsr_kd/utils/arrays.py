"""Images as metrics take them: (h, w, 3) BGR uint8, and pairs of such images with their borders cut off."""
from __future__ import annotations

import numpy as np
from basicsr.metrics.metric_util import reorder_image
from basicsr.utils import img2tensor
from torch import Tensor

from basicsr_kd.errors import MetricError


def as_bgr(image: np.ndarray, input_order: str = 'HWC') -> np.ndarray:
    """Bring an image of one or three channels into the shape (h, w, 3), BGR.

    A grey image gets three equal channels, so that its score does not depend on how its file stores it. (BasicSR's
    `to_y_channel` keeps one channel as it is, 0 to 255, but maps three to 16 to 235, which is 1.3 dB of PSNR.)

    Args:
        image: (h, w), (h, w, 1) or (h, w, 3) BGR, uint8; (1, h, w) or (3, h, w) if `input_order` is 'CHW'.

    Raises:
        MetricError: The image has another shape or type.
    """
    if image.dtype != np.uint8 or image.ndim not in (2, 3):
        raise MetricError(f'an image is an array of {image.dtype} of shape {image.shape}. Expected uint8 (0 to 255) of '
                          'shape (h, w), (h, w, 1) or (h, w, 3).')
    image = reorder_image(image, input_order=input_order)
    if image.shape[2] not in (1, 3):
        raise MetricError(f'an image has {image.shape[2]} channels. Expected 1 (grey) or 3 (BGR).')
    return np.repeat(image, 3, axis=2) if image.shape[2] == 1 else image


def as_pair(result: np.ndarray, truth: np.ndarray, border: int = 0, smallest: int = 1,
            input_order: str = 'HWC') -> tuple[np.ndarray, np.ndarray]:
    """Bring two images of one size into the shape (h, w, 3), BGR uint8, without `border` pixels on each side.

    Args:
        smallest: Least height and width that must be left.

    Raises:
        MetricError: The arguments are no images, differ in size, or are too small.
    """
    pair = [as_bgr(image, input_order) for image in (result, truth)]
    (height, width), (true_height, true_width) = (image.shape[:2] for image in pair)
    if (height, width) != (true_height, true_width):
        raise MetricError(f'the result is {width}x{height} pixels and the ground truth {true_width}x{true_height}. '
                          'Expected images of one size.')
    if min(height, width) - 2 * border < smallest:
        raise MetricError(f'the images are {width}x{height} pixels, of which {border} on each side are left out. '
                          f'Expected at least {smallest}x{smallest} to be left.')
    result, truth = (image[border:height - border, border:width - border] for image in pair)
    return result, truth


def as_tensor(image: np.ndarray) -> Tensor:
    """Turn (h, w, 3) BGR uint8 into (1, 3, h, w) RGB in [0, 1]."""
    return img2tensor(image.astype(np.float32) / 255, bgr2rgb=True, float32=True)[None]
