"""Which part of a clip is scored, and how scores are averaged; in this, published figures differ more than methods."""
from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from typing import Literal

import numpy as np

from basicsr_kd.errors import MetricError
from basicsr_kd.utils.arrays import as_bgr, as_pair
from basicsr_kd.utils.images import MOST_EXCESS
from basicsr_kd.utils.metric_names import CLIP_METRICS, METRICS

Window = tuple[slice, slice]
"""Rows and columns."""


@dataclass(frozen=True)
class VideoProtocol:
    """Which frames are scored, and which part of them."""

    title: str
    """What the protocol is called in a sentence."""
    dropped: int
    """Frames left out at each end of a clip."""
    multiple: int
    """The scored height and width are multiples of this."""
    margin: int
    """Least number of rows and of columns that are left out, both sides together."""
    rounded_y: bool
    """Whether PSNR rounds Y to whole numbers."""
    average: Literal['frames', 'clips']
    """What its published figures are averaged over: the frames of all clips, or the means of clips."""

    @property
    def least_frames(self) -> int:
        """Number of frames that a clip needs at least, so that two are left."""
        return 2 * self.dropped + 2

    def window(self, height: int, width: int) -> Window:
        """The part of a frame that is scored, in its centre.

        Raises:
            MetricError: The frame is too small.
        """
        sides = [(side - self.margin) // self.multiple * self.multiple for side in (height, width)]
        if min(sides) < 1:
            least = self.margin + self.multiple
            raise MetricError(f'the frames are {width}x{height} pixels. Expected at least {least}x{least} under '
                              f'{self.title}, which scores multiples of {self.multiple} and leaves out {self.margin}.')
        rows, columns = (slice((side - inner) // 2, (side - inner) // 2 + inner)
                         for side, inner in zip((height, width), sides, strict=True))
        return rows, columns

    def describe(self, metrics: Collection[str], frame_rate: float | None = None) -> str:
        """The protocol in words, to stand beside the figures.

        Args:
            metrics: The metrics from `CLIP_METRICS` that were measured.
            frame_rate: Frames a second, as JOD was given.
        """
        left_out = f'first and last {self.dropped} frames of a clip left out' if self.dropped else 'all frames'
        part = (f'centre crop to multiples of {self.multiple}, at least {self.margin} pixels left out'
                if self.margin else 'whole frames')
        rounded = 'rounded to 8 bit' if self.rounded_y else 'not rounded'
        words = {'psnr': f'PSNR (dB) on Y of BT.601, {rounded}: higher is better', 'lpips': 'LPIPS (alex) on RGB',
                 'tof': 'tOF (pixels) by Farneback flow of the whole frames',
                 'tlp': 'tLP times 100 (LPIPS alex)',
                 **{name: f'{METRICS[name].title} at {frame_rate:g} frames a second: higher is better'
                    for name in ('jod', 'jod20') if frame_rate}}
        named = [words.get(name, METRICS[name].title) for name in CLIP_METRICS if name in metrics]
        return '; '.join([self.title, left_out, part, *named,
                          f'published figures under it are means over {self.average}']) + '.'


PROTOCOLS = {
    'official': VideoProtocol("TecoGAN's official protocol", dropped=2, multiple=32, margin=16, rounded_y=False,
                              average='frames'),
    'training': VideoProtocol("TecoGAN-PyTorch's protocol in training", dropped=0, multiple=1, margin=0,
                              rounded_y=True, average='clips'),
}
"""Protocols by their names in options. 'official' is that of TecoGAN's metrics.py (Chu et al.), also used for
TecoGAN-PyTorch's published figures; 'training' is that of TecoGAN-PyTorch's validation in training."""


def cut_to_one_size(result: np.ndarray, truth: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Cut rows at the bottom and columns at the right of the larger image.

    Sizes can differ, since LR has a pixel for each square of the ground truth, even for an incomplete one.

    Args:
        result: uint8, (h, w, 3) BGR or (h, w) grey.
        truth: Likewise, at most `MOST_EXCESS` rows and columns smaller or larger.

    Returns:
        Both (h, w, 3) BGR.

    Raises:
        MetricError: They are no images, or their sizes differ by more than that.
    """
    result, truth = as_bgr(result), as_bgr(truth)
    sizes = list(zip(result.shape[:2], truth.shape[:2], strict=True))
    if all(abs(one - other) <= MOST_EXCESS for one, other in sizes):
        height, width = (min(size) for size in sizes)
        result, truth = (image[:height, :width] for image in (result, truth))
    return as_pair(result, truth)
