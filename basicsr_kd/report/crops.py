"""Which parts of which photos a report shows, and what each method made of them."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import cv2
import numpy as np
from tqdm import tqdm

from basicsr_kd.errors import EvaluationError, ReportError
from basicsr_kd.evaluation.schema import MeasuredProtocol, MeasuredSet, Score
from basicsr_kd.evaluation.sets import ImagePair, pair_folders, read_pair
from basicsr_kd.report.evaluations import Runs
from basicsr_kd.report.figure import Comparison, TimeSlice, busiest_box
from basicsr_kd.report.methods import MethodGroup
from basicsr_kd.utils.images import MOST_EXCESS, image_files, read_image
from basicsr_kd.utils.metric_names import METRICS, WITHOUT_TRUTH

_PHOTOS = 4  # in all, as many of each set; one of each where there are more sets
_LR, _TRUTH = 'LR', 'ground truth'  # labels
_SIDE = 64  # of the part, in pixels of the ground truth
_SIDE_OF_PHOTOS = 128  # where there is none: what is a fault and what is not is seen in larger parts
_BLUR = 4  # how far the ground truth is scaled down to find where detail is
_UNNAMED = ('psnr', 'ssim')  # whose figures tell which they are


def caption(runs: Runs) -> str:
    """What :func:`find_comparisons` shows, without a full stop."""
    if runs.photos:
        shown = 'PSNR and SSIM are likeness of the whole photo' if runs.protocol.teacher else (
            'NIQE is that of the whole photo, lower is better')
        return f'Crops where low resolution has most detail; {shown}'
    if not runs.clips:
        return 'Crops where scaling down loses most; PSNR and SSIM are those of the whole photo'
    return ('Crops where scaling down loses most, of the middle frame of a clip; PSNR and LPIPS are those of the whole '
            'frame. Below them the row of pixels through the middle of the crop over time, downwards, with tOF of the '
            'clip: what flickers is ragged there')


def find_comparisons(folder: Path, runs: Runs, methods: Sequence[MethodGroup],
                     progress: bool = False) -> tuple[list[Comparison], list[str]]:
    """Photos and parts with the most detail that scaling down loses, so that no one chooses what flatters a method.

    Of several seeds the first is shown. Figures below a part are those of the whole photo. Of a clip it is the middle
    frame, followed by a time slice.

    Args:
        folder: what `basicsr-kd evaluate --save-images` wrote. Ground truth and LR are read from where the evaluations
            had them.
        progress: whether to show a bar.

    Returns:
        One for each photo, with the same labels: LR (not of clips), the methods in their order, ground truth where
        there is one; and what is not shown.

    Raises:
        ReportError: pictures, ground truth or LR that are not there or do not fit each other.
    """
    if not folder.is_dir():
        raise ReportError(f'--images: {folder} is no folder. Expected the one that `basicsr-kd evaluate --save-images` '
                          'wrote.')
    shown = [method for method in methods
             if all(_file(folder, method, images, name).is_file() for images in runs.sets for name in images.images)]
    if not shown:
        raise ReportError(f'--images: {folder} does not have all images of any method, such as '
                          f'{_file(folder, methods[0], runs.sets[0], runs.sets[0].images[0])}. Expected the folder '
                          'that `basicsr-kd evaluate --save-images` wrote for these sets.')
    missing = [method.label for method in methods if method not in shown]
    notes = [f'Not in the comparison, for want of pictures in {folder}: {", ".join(missing)}.'] if missing else []
    found = []
    total = None if runs.clips else sum(len(images.images) for images in runs.sets)
    with tqdm(total=total, desc='pictures', unit='image', disable=not progress) as bar:
        try:
            for images in runs.sets:
                for pair in _photos(images, max(1, _PHOTOS // len(runs.sets)), runs.protocol, bar):
                    found.append(_compare(folder, runs, shown, images, pair))
                    if images.clips:
                        found.append(_over_time(folder, shown, images, pair, found[-1], bar))
        except EvaluationError as error:
            raise ReportError(f'--images: {error} Paths of ground truth and LR are those in the evaluations: run this '
                              'where they were made, or leave out --images.') from None
    return found, notes


def _file(folder: Path, method: MethodGroup, images: MeasuredSet, name: str) -> Path:
    return folder / method.runs[0].name.replace('/', '_') / images.name / f'{name}.png'


def _photos(images: MeasuredSet, number: int, protocol: MeasuredProtocol, bar: tqdm) -> list[ImagePair]:
    """The photos of a set whose busiest part has the most detail."""
    hr, lr = (Path(folder) if folder else None for folder in (images.hr, images.lr))
    if images.clips:
        names = middle_frames(images)
        pairs = {name: ImagePair(name, path, None) for clip in images.clips
                 for name, path in files_of_clip(_truth_of_clips(images), clip).items()}
    else:
        names = images.images
        pairs = {pair.name: pair for pair in pair_folders(hr, lr)}
    missing = sorted(set(images.images) - set(pairs))
    if missing:
        raise EvaluationError(f'{hr or lr} has no image {missing[0]}, which is in the set {images.name}.')
    detail = {}
    for name in names:
        *_, whole = _given(pairs[name], protocol.scale).values()
        left, top, side = _box(images, whole, protocol.border)
        loss = cv2.absdiff(whole, _blurred(whole))[top:top + side, left:left + side]
        detail[name] = float(loss.mean()) if side == _side(images) else 0.0  # photos too small for the part come last
        bar.update()
    best = sorted(names, key=lambda name: -detail[name])[:number]
    return [pairs[name] for name in best]


def _compare(folder: Path, runs: Runs, methods: Sequence[MethodGroup], images: MeasuredSet,
             pair: ImagePair) -> Comparison:
    pictures = _given(pair, runs.protocol.scale)
    *_, whole = pictures
    pictures |= {method.label: read_image(_file(folder, method, images, pair.name)) for method in methods}
    if whole == _TRUTH:
        pictures[_TRUTH] = pictures.pop(_TRUTH)  # it comes last
    if images.clips:
        pictures = _cut(pictures)
    height, width, _ = pictures[whole].shape
    for label, picture in pictures.items():
        if picture.shape != pictures[whole].shape:
            raise EvaluationError(f'{pair.name} is {picture.shape[1]}x{picture.shape[0]} in {label}, and its {whole} '
                                  f'{width}x{height}. Expected the same size.')
    notes = {method.label: _note(method, images, pair.name) for method in methods}
    return Comparison({name: np.ascontiguousarray(picture[:, :, ::-1]) for name, picture in pictures.items()},
                      _box(images, pictures[whole], runs.protocol.border), notes, f'{images.name}: {pair.name}',
                      whole)


def _given(pair: ImagePair, scale: int | None) -> dict[str, np.ndarray]:
    """LR with a square for each pixel, and ground truth, cut as for the figures; as far as there are."""
    lr, truth = read_pair(pair, scale)
    found = {} if lr is None or scale is None else {_LR: lr.repeat(scale, axis=0).repeat(scale, axis=1)}
    return found if truth is None else {**found, _TRUTH: truth}


def _cut(pictures: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """To one size, where they differ by no more than frames of a clip may."""
    height, width = (min(sides) for sides in zip(*(image.shape[:2] for image in pictures.values()), strict=True))
    return {label: image[:height, :width] if image.shape[0] - height <= MOST_EXCESS >= image.shape[1] - width else image
            for label, image in pictures.items()}


def _truth_of_clips(images: MeasuredSet) -> Path:
    assert images.hr  # only photos are without
    return Path(images.hr)


def _over_time(folder: Path, methods: Sequence[MethodGroup], images: MeasuredSet, pair: ImagePair, crop: Comparison,
               bar: tqdm) -> Comparison:
    clip = pair.name.rpartition('/')[0]
    truth = files_of_clip(_truth_of_clips(images), clip)
    names = [name for name in images.images if name in truth]
    files = {method.label: [_file(folder, method, images, name) for name in names] for method in methods}
    notes = {method.label: _text(method, images, 'clips', ['tof'], clip) for method in methods}
    return time_slice(crop, {**files, _TRUTH: [truth[name] for name in names]}, notes, f'{images.name}: {clip}',
                      bar)


def _note(method: MethodGroup, images: MeasuredSet, name: str) -> str:
    """Figures of the whole photo or frame, as far as they were measured."""
    of_photos = ['psnr', 'lpips' if images.clips else 'ssim', *([] if images.hr else WITHOUT_TRUTH)]
    return _text(method, images, 'images', of_photos, name)


def _text(method: MethodGroup, images: MeasuredSet, of: Literal['images', 'clips'], metrics: Sequence[str],
          name: str) -> str:
    scores = method.runs[0].scores.get(images.name)
    figures: Mapping[str, Mapping[str, Score]] = getattr(scores, of, {})  # none of a set that it lacks
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


def middle_frames(images: MeasuredSet) -> list[str]:
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
