"""Reading every file of some sets once, before anything takes long: contents, and sizes that fit each other."""
from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from tqdm import tqdm

from basicsr_kd.evaluation.errors import BadImageError, EvaluationError
from basicsr_kd.evaluation.images import read_image
from basicsr_kd.evaluation.sets import ImagePair, ImageSet

_Sizes = dict[Path, tuple[int, int]]


@dataclass(frozen=True)
class CheckedSets:
    """Sets whose images can all be measured on."""

    sets: Sequence[ImageSet]
    scale: int | None
    """How many times larger than LR the ground truth is; None without LR."""
    skipped: Mapping[str, str]
    """File to the reason why its image is left out."""
    cropped: Sequence[str]
    """Images whose ground truth is cut at the right and at the bottom to `scale` times the size of LR."""


def check_sets(sets: Sequence[ImageSet], skip_bad: bool = False, progress: bool = False) -> CheckedSets:
    """Read all files.

    Args:
        sets: From `pair_folders`; all of them with LR, or none.
        skip_bad: Whether an image with a file that cannot be read is left out, for all methods.
        progress: Whether to show a bar.

    Raises:
        BadImageError: A file cannot be read, and `skip_bad` is not given.
        EvaluationError: Sizes that do not fit each other, or nothing is left of a set.
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
                raise EvaluationError(f'No image of {one.hr} is left. The first file that cannot be used: '
                                      f'{next(iter(skipped))} {next(iter(skipped.values()))}')
            kept.append(replace(one, pairs=pairs))
    every = [pair for one in kept for pair in one.pairs]
    scales = [round(sizes[pair.hr][0] / sizes[pair.lr][0]) for pair in every if pair.lr]
    scale = statistics.mode(scales) if scales else None  # of most images, so that the odd one is told
    cropped = [pair.name for pair in every if _measured_size(pair, scale, sizes) != sizes[pair.hr]]
    return CheckedSets(kept, scale, skipped, cropped)


def read_pair(pair: ImagePair) -> tuple[np.ndarray | None, np.ndarray]:
    """Low resolution (None where there is no file), and the ground truth, cut to a multiple of its size.

    Returns:
        (h, w, 3) and (scale·h, scale·w, 3), BGR uint8.

    Raises:
        BadImageError: A file cannot be read.
    """
    hr = read_image(pair.hr)
    if pair.lr is None:
        return None, hr
    lr = read_image(pair.lr)
    scale = round(hr.shape[0] / lr.shape[0])
    return lr, hr[:scale * lr.shape[0], :scale * lr.shape[1]]


def _measured_size(pair: ImagePair, scale: int | None, sizes: _Sizes) -> tuple[int, int]:
    """(height, width) of what a result is compared with."""
    height, width = sizes[pair.hr]
    if pair.lr and scale is not None:
        low_height, low_width = sizes[pair.lr]
        sizes_found = f'{pair.hr} is {width}x{height} and {pair.lr} {low_width}x{low_height}'
        if scale == 0:
            raise EvaluationError(f'{sizes_found}. Expected the first, the ground truth, to be the larger one.')
        if (height // scale, width // scale) != (low_height, low_width):
            raise EvaluationError(f'{sizes_found}. Expected the first {scale} times as large as the second, as most '
                                  'of the images have it.')
        height, width = scale * low_height, scale * low_width
    for path in pair.results.values():
        if sizes[path] != (height, width):
            raise EvaluationError(f'{path} is {sizes[path][1]}x{sizes[path][0]}. Expected {width}x{height}, ' + (
                f'{scale} times the size of {pair.lr}.' if pair.lr else
                f'the size of {pair.hr}; with --lr the ground truth is cut to a multiple of its size.'))
    return height, width
