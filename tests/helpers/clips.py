"""A clip of moving colours and what a poor network might make of it."""
from __future__ import annotations

import cv2
import numpy as np

Clip = list[tuple[np.ndarray, np.ndarray]]


def moving_clip(frames: int, height: int = 80, width: int = 96, seed: int = 0) -> Clip:
    """Pairs of result and ground truth, (h, w, 3) BGR uint8: a texture that pans; the result is blurred and jitters."""
    rng = np.random.default_rng(seed)
    coarse = rng.integers(0, 256, (height // 4 + frames, width // 4 + frames, 3), dtype=np.uint8)
    texture = cv2.resize(coarse, None, fx=4, fy=4, interpolation=cv2.INTER_CUBIC)

    def view(image: np.ndarray, top: int, left: int) -> np.ndarray:
        return image[top:top + height, left:left + width].copy()

    blurred = cv2.GaussianBlur(texture, (7, 7), 1.5)
    return [(view(blurred, index + rng.integers(2), 2 * index + rng.integers(2)), view(texture, index, 2 * index))
            for index in range(frames)]
