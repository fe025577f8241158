"""Networks of one channel on colour images: as usual, they enlarge the luma, and bicubic enlarges the rest."""
from __future__ import annotations

import cv2
import numpy as np

from basicsr_kd.deploy.runner import Runner

_FROM_RGB = np.array([[65.481, 128.553, 24.966],
                      [-37.797, -74.203, 112.0],
                      [112.0, -93.786, -18.214]], np.float32) / 255
_OFFSET = np.array([16, 128, 128], np.float32) / 255
_TO_RGB = np.linalg.inv(_FROM_RGB)


class OfLuma(Runner):
    """A network of luma, given RGB.

    Luma is that of BasicSR's `color: y`, ITU-R BT.601 with 16 / 255 for black and 235 / 255 for white, which networks
    of one channel are trained on in BasicSR. Grey images stay grey.

    Args:
        luma: Runs the network, (n, 1, h, w) to (n, 1, scale·h, scale·w).
    """

    def __init__(self, luma: Runner) -> None:
        self._luma = luma
        self.name, self.precision, self.told = luma.name, luma.precision, luma.told

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        (images,) = arrays
        planes = _mixed(_FROM_RGB, images) + _OFFSET[:, None, None]
        luma = self._luma(np.ascontiguousarray(planes[:, :1]))
        size = luma.shape[3], luma.shape[2]
        rest = [[cv2.resize(plane, size, interpolation=cv2.INTER_CUBIC) for plane in image[1:]] for image in planes]
        enlarged = np.concatenate([luma, np.array(rest, np.float32)], axis=1)
        return _mixed(_TO_RGB, enlarged - _OFFSET[:, None, None])

    def memory(self, pixels: int) -> int:
        return self._luma.memory(pixels)

    def free_memory(self) -> float:
        return self._luma.free_memory()


def _mixed(matrix: np.ndarray, images: np.ndarray) -> np.ndarray:
    """The channels of images (n, 3, h, w) mixed by a matrix."""
    return np.einsum('dc,nchw->ndhw', matrix, images, optimize=True)
