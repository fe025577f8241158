"""JOD by ColorVideoVDP: how near to the ground truth a person would judge a picture or a clip."""
from __future__ import annotations

import functools
import tempfile
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from basicsr_kd.utils.arrays import as_pair
from basicsr_kd.utils.extras import load, no_warnings
from basicsr_kd.utils.metric_names import METRICS

DISPLAY = 'standard_fhd'
"""A display of cvvdp: 24 inches, 1920x1080, 200 cd/m² in an office, seen from 60 cm, that is 38 pixels a degree."""
ZOOMED = 20
"""Pixels a degree for `jod20`: about as if that screen showed the picture at twice the size."""


@functools.cache
def _metric(name: str, device: str) -> Any:
    """ColorVideoVDP's base metric; the package's other metrics would download weights."""
    package = load('pycvvdp', METRICS[name].title)
    nearer = {'display_geometry': package.vvdp_display_geometry([1920, 1080], ppd=ZOOMED)} if name == 'jod20' else {}
    return package.cvvdp(DISPLAY, device=torch.device(device), quiet=True, **nearer)


def calculate_jod(img: np.ndarray, img2: np.ndarray, crop_border: int, input_order: str = 'HWC',
                  device: str | torch.device | None = None, **kwargs: Any) -> float:
    """JOD of ColorVideoVDP (Mantiuk et al., SIGGRAPH 2024) on RGB: 10 for equal images.

    On the screen `DISPLAY`, three of four people see a difference of 1 JOD.

    Args:
        img: The result, (h, w, 3) BGR or (h, w) grey, uint8; with `input_order` 'CHW' channels come first.
        img2: The ground truth.
        crop_border: Pixels left out on each side.
        device: Where it is computed; default: the GPU, if there is one.

    Raises:
        MetricError: The images are no pair or are too small.
        MissingExtraError: `cvvdp` is not installed.
    """
    return _of_image('jod', img, img2, crop_border, input_order, device)


def calculate_jod20(img: np.ndarray, img2: np.ndarray, crop_border: int, input_order: str = 'HWC',
                    device: str | torch.device | None = None, **kwargs: Any) -> float:
    """JOD at 20 pixels a degree, for pictures that are looked at enlarged; see `calculate_jod`."""
    return _of_image('jod20', img, img2, crop_border, input_order, device)


class Film:
    """Gathers a clip's results and ground truths in unnamed files, so that memory does not grow with the clip."""

    def __init__(self) -> None:
        self._files = tempfile.TemporaryFile(), tempfile.TemporaryFile()
        self._sizes: list[tuple[int, ...]] = []

    def add(self, result: np.ndarray, truth: np.ndarray) -> None:
        """Take in the next frame, (h, w, 3) BGR uint8, as large as the one before.

        Raises:
            OSError: There is no room for it in the folder of temporary files.
        """
        for file, image in zip(self._files, (result, truth), strict=True):
            file.write(image[..., ::-1].tobytes())
        self._sizes.append(truth.shape)

    def jod(self, name: str, frames: range, frame_rate: float, device: str | torch.device = 'cpu') -> float:
        """The JOD of some of the frames by `jod_of_clip`."""
        result, truth = (np.memmap(file, np.uint8, 'r+', shape=(len(self._sizes), *self._sizes[0]))
                         for file in self._files)
        part = slice(frames.start, frames.stop)
        return jod_of_clip(name, result[part], truth[part], frame_rate, device)


def jod_of_clip(name: str, result: np.ndarray, truth: np.ndarray, frame_rate: float,
                device: str | torch.device = 'cpu') -> float:
    """JOD of a clip, which also counts motion and flicker.

    Args:
        name: 'jod' or 'jod20'.
        result: (frames, h, w, 3) **RGB** uint8; may be a file that NumPy maps, which is read frame by frame.
        truth: The ground truth, like `result`.
        frame_rate: Frames a second.
        device: Where it is computed.

    Raises:
        MissingExtraError: `cvvdp` is not installed.
    """
    return _predict(_metric(name, str(device)), (result, truth), 'FHWC', frame_rate)


def _of_image(name: str, img: np.ndarray, img2: np.ndarray, crop_border: int, input_order: str,
              device: str | torch.device | None) -> float:
    pair = as_pair(img, img2, crop_border, METRICS[name].smallest, input_order)
    metric = _metric(name, str(device or ('cuda' if torch.cuda.is_available() else 'cpu')))
    return _predict(metric, [np.ascontiguousarray(image[..., ::-1]) for image in pair], 'HWC', 0)


@torch.inference_mode()
def _predict(metric: Any, pair: Sequence[np.ndarray], order: str, frame_rate: float) -> float:
    with no_warnings():  # it warns that a dark picture may be a mistake
        # as tensors, since the package copies arrays
        return float(metric.predict(*map(torch.from_numpy, pair), dim_order=order, frames_per_second=frame_rate)[0])
