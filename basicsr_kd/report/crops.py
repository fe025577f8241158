"""Which parts of which photos a report shows, and what each method made of them."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from tqdm import tqdm

from basicsr_kd.errors import EvaluationError
from basicsr_kd.evaluation.schema import MeasuredSet, Score
from basicsr_kd.evaluation.sets import ImagePair, read_pair
from basicsr_kd.report.evaluations import Runs
from basicsr_kd.report.figure import Comparison, TimeSlice, busiest_box
from basicsr_kd.report.methods import MethodGroup
from basicsr_kd.report.pictures import LR, TRUTH, Pictures, files_of_clip, truth_of_clips
from basicsr_kd.utils.images import MOST_EXCESS, read_image
from basicsr_kd.utils.metric_names import METRICS, WITHOUT_TRUTH

_PHOTOS = 4  # in total, equally many from each set; one from each set where there are more sets
_SIDE = 64  # the part's side in pixels of the ground truth
_SIDE_OF_PHOTOS = 128  # without ground truth: larger parts are needed to tell faults from details
_BLUR = 4  # how far the ground truth is scaled down to find where detail is
_UNNAMED = ('psnr', 'ssim')  # metrics whose figures need no name beside them


def caption(runs: Runs) -> str:
    """What `find_comparisons` shows, without a full stop."""
    if runs.photos:
        shown = 'PSNR and SSIM are likeness of the whole photo' if runs.protocol.teacher else (
            'NIQE is that of the whole photo, lower is better')
        return f'Crops where low resolution has most detail; {shown}'
    if not runs.clips:
        return 'Crops where scaling down loses most; PSNR and SSIM are those of the whole photo'
    return ('Crops where scaling down loses most, of the middle frame of a clip; PSNR and LPIPS are those of the whole '
            'frame. Below them the row of pixels through the middle of the crop over time, downwards, with tOF of the '
            'clip: what flickers is ragged there')


def find_comparisons(pictures: Pictures, progress: bool = False) -> list[Comparison]:
    """Find the photos and parts that lose most detail when scaled down, so that no one picks what flatters a method.

    Figures below a part are those of the whole photo. A clip is shown by its middle frame, followed by a time slice.

    Args:
        progress: Whether to show a bar.

    Returns:
        One comparison for each photo, all with the same labels: LR (not for clips), the methods in their order, and
        ground truth if there is any.

    Raises:
        EvaluationError: Pictures, ground truth or LR are missing or do not fit each other.
    """
    runs = pictures.runs
    total = None if runs.clips else sum(len(images.images) for images in runs.sets)
    found = []
    with tqdm(total=total, desc='pictures', unit='image', disable=not progress) as bar:
        for images in runs.sets:
            for pair in _photos(pictures, images, max(1, _PHOTOS // len(runs.sets)), bar):
                found.append(_compare(pictures, images, pair))
                if images.clips:
                    found.append(_over_time(pictures, images, pair, found[-1], bar))
    return found


def _photos(pictures: Pictures, images: MeasuredSet, number: int, bar: tqdm) -> list[ImagePair]:
    """The photos of a set whose busiest part has the most detail."""
    protocol, pairs = pictures.runs.protocol, pictures.pairs(images)
    detail = {}
    for name, pair in pairs.items():
        *_, whole = _given(pair, protocol.scale).values()
        left, top, side = _box(images, whole, protocol.border)
        loss = cv2.absdiff(whole, _blurred(whole))[top:top + side, left:left + side]
        detail[name] = float(loss.mean()) if side == _side(images) else 0.0  # photos too small for the part come last
        bar.update()
    return [pairs[name] for name in sorted(pairs, key=lambda name: -detail[name])[:number]]


def _compare(pictures: Pictures, images: MeasuredSet, pair: ImagePair) -> Comparison:
    protocol = pictures.runs.protocol
    views = _given(pair, protocol.scale)
    *_, whole = views
    views |= {method.label: read_image(pictures.file(method, images, pair.name)) for method in pictures.methods}
    if whole == TRUTH:
        views[TRUTH] = views.pop(TRUTH)  # the ground truth comes last
    if images.clips:
        views = _cut(views)
    height, width, _ = views[whole].shape
    for label, picture in views.items():
        if picture.shape != views[whole].shape:
            raise EvaluationError(f'{pair.name} is {picture.shape[1]}x{picture.shape[0]} in {label}, and its {whole} '
                                  f'{width}x{height}. Expected the same size.')
    notes = {method.label: _note(method, images, pair.name) for method in pictures.methods}
    return Comparison({name: np.ascontiguousarray(picture[:, :, ::-1]) for name, picture in views.items()},
                      _box(images, views[whole], protocol.border), notes, f'{images.name}: {pair.name}',
                      whole)


def _given(pair: ImagePair, scale: int | None) -> dict[str, np.ndarray]:
    """LR with a square for each pixel, and ground truth, cut as for the figures; those that exist."""
    lr, truth = read_pair(pair, scale)
    found = {} if lr is None or scale is None else {LR: lr.repeat(scale, axis=0).repeat(scale, axis=1)}
    return found if truth is None else {**found, TRUTH: truth}


def _cut(pictures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """Cut pictures to one size, where they differ by no more than frames of a clip may."""
    height, width = (min(sides) for sides in zip(*(image.shape[:2] for image in pictures.values()), strict=True))
    return {label: image[:height, :width] if image.shape[0] - height <= MOST_EXCESS >= image.shape[1] - width else image
            for label, image in pictures.items()}


def _over_time(pictures: Pictures, images: MeasuredSet, pair: ImagePair, crop: Comparison, bar: tqdm) -> Comparison:
    clip = pair.name.rpartition('/')[0]
    truth = files_of_clip(truth_of_clips(images), clip)
    names = [name for name in images.images if name in truth]
    files = {method.label: [pictures.file(method, images, name) for name in names] for method in pictures.methods}
    notes = {method.label: _text(method, images, 'clips', ['tof'], clip) for method in pictures.methods}
    return time_slice(crop, {**files, TRUTH: [truth[name] for name in names]}, notes, f'{images.name}: {clip}',
                      bar)


def _note(method: MethodGroup, images: MeasuredSet, name: str) -> str:
    """Figures of the whole photo or frame, as far as they were measured."""
    of_photos = ['psnr', 'lpips' if images.clips else 'ssim', *([] if images.hr else WITHOUT_TRUTH)]
    return _text(method, images, 'images', of_photos, name)


def _text(method: MethodGroup, images: MeasuredSet, of: Literal['images', 'clips'], metrics: Sequence[str],
          name: str) -> str:
    scores = method.runs[0].scores.get(images.name)
    figures: Mapping[str, Mapping[str, Score]] = getattr(scores, of, {})  # no figures of a set that the method lacks
    values = {metric: figures.get(metric, {}).get(name) for metric in metrics}
    return ' / '.join(_figure(metric, float(value)) for metric, value in values.items() if value is not None)


def _figure(metric: str, value: float) -> str:
    about = METRICS[metric]
    figure = f'{about.shown(value):.{about.decimals}f}'
    return f'{figure} {about.unit}'.rstrip() if metric in _UNNAMED else f'{about.column} {figure}'


def _side(images: MeasuredSet) -> int:
    return _SIDE if images.hr else _SIDE_OF_PHOTOS


def _box(images: MeasuredSet, whole: np.ndarray, border: int) -> tuple[int, int, int]:
    return busiest_box(whole, _blurred(whole), min(_side(images), *whole.shape[:2]), border)


def _blurred(whole: np.ndarray) -> np.ndarray:
    height, width = whole.shape[:2]
    small = cv2.resize(whole, (max(1, width // _BLUR), max(1, height // _BLUR)), interpolation=cv2.INTER_AREA)
    return cv2.resize(small, (width, height), interpolation=cv2.INTER_CUBIC)


def time_slice(crop: Comparison, files: Mapping[str, Sequence[Path]], notes: Mapping[str, str], name: str,
               bar: tqdm) -> TimeSlice:
    """The row of pixels through a crop's middle, over as many frames around the clip's middle as the crop has rows.

    Args:
        crop: The crop of the clip's middle frame.
        files: The frames in their order, by label as in the crop.
        notes: A line of text below some of the labels.
        name: The clip's name.
        bar: Advances by one for each frame.

    Raises:
        EvaluationError: A frame cannot be read, or is smaller than the crop's.
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
