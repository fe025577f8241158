"""Small pictures of validation images, side by side, of the same part at every validation."""
from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from typing import NamedTuple

import cv2
import numpy as np
from basicsr.utils import tensor2img
from basicsr.utils.matlab_functions import imresize
from torch import Tensor

from basicsr_kd.utils.arrays import as_bgr

Enlarge = Callable[[Tensor], Tensor]
"""A function from images (1, c, h, w) to (1, c, scale·h, scale·w), in [0, 1]."""
_SIDE = 192  # largest side of a panel: four panels are 0.3 MB in TensorBoard's files
_GRID = 4  # networks that shrink their input first (x2plus) take sides that are multiples of 2 or 4
_CAPTION = 20  # pixels
_GAP = 4


class _Span(NamedTuple):
    """A range along one axis, in pixels of low resolution: start … stop is enlarged, first … last is shown."""
    start: int
    stop: int
    first: int
    last: int


class Pictures:
    """Makes a picture `bicubic | teacher | student | ground truth` of an image, with captions, without missing parts.

    It shows the middle of the results, at most 192x192 pixels. Bicubic and teacher are made once for each image.

    Args:
        scale: How many times larger results are.
        overlap: The border that the teacher sees around the shown part, in pixels of low resolution.
        teacher: The teacher, or None.
    """

    def __init__(self, scale: int, overlap: int, teacher: Enlarge | None) -> None:
        self._scale = scale
        self._overlap = -(-overlap // _GRID) * _GRID
        self._once: dict[str, Enlarge] = {'bicubic': lambda image: imresize(image[0], scale)[None]}  # like MATLAB's
        if teacher:
            self._once['teacher'] = teacher
        self._kept: dict[Hashable, dict[str, np.ndarray]] = {}

    def picture(self, key: Hashable, lq: Tensor, images: Mapping[str, np.ndarray]) -> np.ndarray:
        """Make one picture.

        Args:
            key: A key of the image, different from those of all others.
            lq: (1, c, h, w) RGB in [0, 1], on the CPU.
            images: The student's result `img` and, if there is one, the ground truth `img2`: BGR, uint8.

        Returns:
            (h', w', 3) RGB uint8.
        """
        y, x = (_span(length, _SIDE // self._scale, self._overlap) for length in lq.shape[2:])
        if key not in self._kept:
            seen = lq[:, :, y.start:y.stop, x.start:x.stop]
            self._kept[key] = {name: self._cut(tensor2img([enlarge(seen)]), y, x, y.start, x.start)
                               for name, enlarge in self._once.items()}
        panels = {**self._kept[key], 'student': self._cut(images['img'], y, x)}
        if 'img2' in images:
            panels['ground truth'] = self._cut(images['img2'], y, x)
        return side_by_side(panels)[:, :, ::-1]

    def _cut(self, image: np.ndarray, y: _Span, x: _Span, top: int = 0, left: int = 0) -> np.ndarray:
        """The shown part (h, w, 3) of an image that begins at `top`, `left` in pixels of low resolution."""
        rows, columns = (slice(self._scale * (span.first - start), self._scale * (span.last - start))
                         for span, start in ((y, top), (x, left)))
        return as_bgr(image)[rows, columns]


def side_by_side(panels: Mapping[str, np.ndarray]) -> np.ndarray:
    """Images (h, w, 3) of one height in a row, uint8, each with its name above it."""
    captioned = []
    for name, panel in panels.items():
        image = cv2.copyMakeBorder(panel, _CAPTION, 0, _GAP, 0, cv2.BORDER_CONSTANT, value=(255, 255, 255))
        captioned.append(cv2.putText(image, name, (_GAP, _CAPTION - 6), cv2.FONT_HERSHEY_SIMPLEX, 0.45, (0, 0, 0), 1,
                                     cv2.LINE_AA))
    return np.hstack(captioned)


def _span(length: int, most: int, overlap: int) -> _Span:
    whole = length - length % _GRID or length
    size = min(most - most % _GRID, whole)
    first = (length - size) // 2
    first -= first % _GRID
    return _Span(max(0, first - overlap), min(whole, first + size + overlap), first, first + size)
