"""What a clip's frames make of one row of pixels over time, where flicker shows that no single frame does."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from basicsr_kd.evaluation.errors import EvaluationError
from basicsr_kd.evaluation.images import image_files, read_image
from basicsr_kd.report.figure import Comparison, TimeSlice
from basicsr_kd.report.schema import ImageSet


def middle_frames(images: ImageSet) -> list[str]:
    """The middle one of the frames that are scored of each clip."""
    clips: dict[str, list[str]] = {}
    for name in images.images:
        clips.setdefault(name.rpartition('/')[0], []).append(name)
    return [names[len(names) // 2] for names in clips.values()]


def files_of_clip(root: Path, clip: str) -> dict[str, Path]:
    """The frames in a clip's folder by their names in a set, `calendar/0003`.

    Raises:
        EvaluationError: no such folder, or no image in it.
    """
    return {f'{clip}/{path.stem}': path for path in image_files(root / clip)}


def time_slice(crop: Comparison, files: Mapping[str, Sequence[Path]], notes: Mapping[str, str], name: str,
               bar: tqdm) -> TimeSlice:
    """The row through the middle of a crop, in as many frames around the clip's middle as the crop has pixels.

    Args:
        crop: of the clip's middle frame.
        files: by label as in the crop, the frames in their order.
        notes: a line of text below some of the labels.
        name: of the clip.
        bar: goes on by one for each frame.

    Raises:
        EvaluationError: a frame cannot be read, or is smaller than the crop's.
    """
    left, top, side = crop.box
    rows = {}
    for label in crop.images:
        first = max(0, (len(files[label]) - side) // 2)
        rows[label] = np.stack([_row(path, top + side // 2, left, side, bar)
                                for path in files[label][first:first + side]])
    return TimeSlice(crop.images, crop.box, notes, f'{name}, one row over time', rows=rows)


def _row(path: Path, top: int, left: int, side: int, bar: tqdm) -> np.ndarray:
    """A part of a row of a frame, (side, 3) RGB uint8."""
    frame = read_image(path)
    bar.update()
    row = frame[top:top + 1, left:left + side, ::-1]
    if row.shape[:2] != (1, side):
        raise EvaluationError(f'{path} is {frame.shape[1]}x{frame.shape[0]}, too small for row {top} and column '
                              f'{left + side - 1} of the clip. Expected frames of one size.')
    return row[0]
