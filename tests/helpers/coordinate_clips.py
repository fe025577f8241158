"""Clips in folders, whose pixels tell where they come from."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
from torch import Tensor

TIME, TOP, LEFT = 2, 1, 0
"""Channels of a tensor, RGB, of the clips below: 10 times the frame's number, its row and its column."""


def write_clip(folder: Path, frames: int = 5, height: int = 60, width: int = 72, name: str = '{:08d}.png',
               first: int = 0) -> Path:
    """Write frames whose red is the column, whose green is the row and whose blue is 10 times the number."""
    folder.mkdir(parents=True)
    rows, columns = np.mgrid[:height, :width]
    for number in range(frames):
        image = np.stack([np.full_like(rows, 10 * number), rows, columns], axis=2).astype(np.uint8)
        cv2.imwrite(str(folder / name.format(first + number)), image)
    return folder


def values(images: Tensor) -> np.ndarray:
    """(…, h, w) in [0, 1] to the whole numbers in the file; it fails where there were none."""
    numbers = images.numpy() * 255
    np.testing.assert_allclose(numbers, numbers.round(), atol=1e-3)
    return numbers.round().astype(int)
