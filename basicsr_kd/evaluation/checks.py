"""Reads every file of the sets once, before any long work, and checks that the sizes fit each other."""
from __future__ import annotations

import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tqdm import tqdm

from basicsr_kd.errors import BadImageError, EvaluationError, MetricError
from basicsr_kd.evaluation.clip_sets import ClipSet
from basicsr_kd.evaluation.sets import ImagePair, ImageSet
from basicsr_kd.metrics.clip_protocol import VideoProtocol
from basicsr_kd.metrics.set_scores import FEWEST_IMAGES, PATCH
from basicsr_kd.utils.images import read_image
from basicsr_kd.utils.metric_names import CLIP_METRICS, IMAGE_METRICS, METRICS, SET_METRICS

_Sizes = dict[Path, tuple[int, int]]


@dataclass(frozen=True)
class CheckedSets:
    """Sets whose images can all be measured on."""

    sets: Sequence[ImageSet]
    scale: int | None
    """How many times larger than LR the ground truth is, or (for photos) the results are; None without LR."""
    skipped: Mapping[str, str]
    """File to the reason why its image is left out."""
    cropped: Sequence[str]
    """Images whose ground truth is cut at the right and at the bottom to `scale` times the size of LR."""
    sizes: Mapping[Path, tuple[int, int]]
    """(height, width) of the image that results are compared with, by `ImagePair.file`; without ground truth, of the
    results themselves."""


def check_sets(sets: Sequence[ImageSet], skip_bad: bool = False, progress: bool = False,
               scale: int | None = None) -> CheckedSets:
    """Read all files of the sets.

    Args:
        sets: From `pair_folders`; all of them with LR, or none; all of them with ground truth, or none.
        skip_bad: Whether an image with a file that cannot be read is left out, for all methods.
        progress: Whether to show a bar.
        scale: How many times larger than LR the results are; None: found from the files' sizes.

    Raises:
        BadImageError: A file cannot be read, and `skip_bad` is not given.
        EvaluationError: Sizes do not fit each other, or no image of a set is left.
    """
    sizes: _Sizes = {}
    skipped: dict[str, str] = {}
    kept = []
    with tqdm(total=sum(len(one.pairs) for one in sets), desc='reading', unit=' images', disable=not progress) as bar:
        for one in sets:
            pairs = []
            for pair in one.pairs:
                try:
                    for path in filter(None, [pair.hr, pair.lr, *pair.results.values()]):
                        height, width, _ = read_image(path).shape
                        sizes[path] = (height, width)
                    pairs.append(pair)
                except BadImageError as error:
                    if not skip_bad:
                        raise
                    skipped[error.path] = error.reason
                bar.update()
            if not pairs:
                raise EvaluationError(f'No image of {one.hr or one.lr} is left. The first file that cannot be used: '
                                      f'{next(iter(skipped))} {next(iter(skipped.values()))}')
            kept.append(replace(one, pairs=pairs))
    every = [pair for one in kept for pair in one.pairs]
    scales = [min(high // low for high, low in zip(sizes[large], sizes[pair.lr], strict=True))
              for pair in every if pair.lr and (large := _large(pair))]
    if scale is None and scales:
        scale = statistics.mode(scales)  # the scale of most images, so that the odd one is reported
    measured = {pair.file: _measured_size(pair, scale, sizes) for pair in every}
    cropped = [pair.name for pair in every if pair.hr and measured[pair.hr] != sizes[pair.hr]]
    return CheckedSets(kept, scale, skipped, cropped, measured)


def check_measurable(checked: CheckedSets, metrics: Collection[str], border: int) -> None:
    """Check that the metrics can be measured on the sets.

    Args:
        checked: The sets.
        metrics: Names from `IMAGE_METRICS` and `SET_METRICS`.
        border: Pixels left out on each side.

    Raises:
        EvaluationError: An image is too small for a metric, or all sets have too few images for any metric.
    """
    of_images = [name for name in IMAGE_METRICS if name in metrics]
    strictest = max(of_images, key=lambda name: METRICS[name].smallest, default=None)
    for file, (height, width) in checked.sizes.items():
        if strictest and min(height, width) - 2 * border < METRICS[strictest].smallest:
            least = f'{METRICS[strictest].smallest}x{METRICS[strictest].smallest}'
            raise EvaluationError(f'{file} is {width}x{height} pixels, of which {border} on each side are left out. '
                                  f'Expected at least {least} to be left for {METRICS[strictest].title}.')
    found = {name: max(sum(_counts(name, checked.sizes[pair.file]) for pair in one.pairs) for one in checked.sets)
             for name in SET_METRICS if name in metrics}
    if not of_images and all(images < FEWEST_IMAGES[name] for name, images in found.items()):
        needed = {'fid': 'images', 'kid': f'images of two patches of {PATCH}x{PATCH} pixels'}
        raise EvaluationError('There is nothing to measure: ' + '; '.join(
            f'{METRICS[name].title} needs at least {FEWEST_IMAGES[name]} {needed[name]}, found {images}'
            for name, images in found.items()) + '.')


def _counts(metric: str, size: tuple[int, int]) -> bool:
    """Whether FID or KID can use an image."""
    return metric != 'kid' or (size[0] // PATCH) * (size[1] // PATCH) >= 2


def _large(pair: ImagePair) -> Path | None:
    """A file of the enlarged size: the ground truth, else a finished result."""
    return pair.hr or next(iter(pair.results.values()), None)


def _measured_size(pair: ImagePair, scale: int | None, sizes: _Sizes) -> tuple[int, int]:
    """(height, width) of the image that a result is compared with."""
    height, width = sizes[_large(pair) or pair.file]
    if pair.lr and scale is not None:
        low_height, low_width = sizes[pair.lr]
        sizes_found = f'{_large(pair)} is {width}x{height} and {pair.lr} {low_width}x{low_height}'
        if scale == 0:
            raise EvaluationError(f'{sizes_found}. Expected the first, the '
                                  f'{"ground truth" if pair.hr else "result"}, to be the larger one.')
        if pair.hr and (height // scale, width // scale) != (low_height, low_width):
            raise EvaluationError(f'{sizes_found}. Expected the first to be {scale} times as large as the second, '
                                  'as in most of the pairs.')
        height, width = scale * low_height, scale * low_width
    for path in pair.results.values():
        if sizes[path] != (height, width):
            raise EvaluationError(f'{path} is {sizes[path][1]}x{sizes[path][0]}. Expected {width}x{height}, ' + (
                f'{scale} times the size of {pair.lr}.' if pair.lr else
                f'the size of {pair.hr}; with --lr the ground truth is cut to a multiple of its size.'))
    return height, width


def check_clips(sets: Sequence[ClipSet], metrics: Collection[str], protocol: VideoProtocol,
                progress: bool = False) -> None:
    """Check that the metrics can be measured on the sets of clips, and that every file can be read.

    Args:
        sets: From `find_clip_set`.
        metrics: Names from `CLIP_METRICS` and `SET_METRICS`.
        protocol: Which frames of a clip are scored, and which part of them.
        progress: Whether to show a bar.

    Raises:
        BadImageError: A file cannot be read.
        EvaluationError: Frames are too small, or all clips of a set are too short.
    """
    of_frames = [name for name in CLIP_METRICS if name in metrics]
    if of_frames:
        for one in sets:
            _check_clips_measurable(one, of_frames, protocol)
    pairs = [pair for one in sets for pairs in one.clips.values() for pair in pairs]
    for pair in tqdm(pairs, 'reading', unit=' frames', disable=not progress):
        for path in filter(None, [pair.hr, pair.lr, *pair.results.values()]):
            read_image(path)


def _check_clips_measurable(one: ClipSet, metrics: Sequence[str], protocol: VideoProtocol) -> None:
    longest = max(one.clips, key=lambda clip: len(one.clips[clip]))
    if len(one.clips[longest]) < protocol.least_frames:
        raise EvaluationError(f'There is nothing to measure in {one.hr}: its longest clip, {longest}, has '
                              f'{len(one.clips[longest])} frames, and {protocol.title} needs {protocol.least_frames}.')
    for clip, pairs in one.clips.items():
        try:
            window = protocol.window(*one.size(clip))
        except MetricError as error:
            raise EvaluationError(f'{pairs[0].hr}: {error}') from None
        least = min(part.stop - part.start for part in window)
        strict = [METRICS[name] for name in metrics if METRICS[name].smallest > least]
        if strict:
            raise EvaluationError(f'{pairs[0].hr}: {least} pixels are scored on its shorter side. Expected at least '
                                  f'{max(metric.smallest for metric in strict)} for '
                                  f'{" and ".join(metric.title for metric in strict)}.')
