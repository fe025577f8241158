"""The whole photos that a reader compares on the page: their files, and the figures that stand beside them."""
from __future__ import annotations

import shutil
import statistics
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
from PIL import Image

from basicsr_kd.errors import EvaluationError
from basicsr_kd.evaluation.schema import MeasuredSet
from basicsr_kd.evaluation.sets import ImagePair, read_pair
from basicsr_kd.report.benches import Timed
from basicsr_kd.report.cells import number
from basicsr_kd.report.methods import MethodGroup, number_formats
from basicsr_kd.report.pictures import LR, TRUTH, Pictures
from basicsr_kd.utils.images import MOST_EXCESS, write_image
from basicsr_kd.utils.metric_names import IMAGE_METRICS, METRICS

FOLDER = 'index_files'
"""The folder beside index.html, named as browsers name the folder of a page that they save."""
_SMALL = 96  # pixels: the height of a small picture


@dataclass(frozen=True)
class Photo:
    """A photo, or the middle frame of a clip, with all its results."""

    name: str
    pair: ImagePair
    scale: int | None
    size: tuple[int, int]
    """Width and height of the results."""
    results: Mapping[str, Path]
    """Files by the label of the method."""
    figures: Mapping[str, Mapping[str, str]]
    """Figures by the label of the method and the metric, as people read them."""


def find_photos(pictures: Pictures) -> list[Photo]:
    """Find every photo of every set, or the middle frames of clips.

    Raises:
        EvaluationError: Pictures are missing, or have different sizes.
    """
    return [_photo(pictures, images, pair) for images in pictures.runs.sets for pair in pictures.pairs(images).values()]


def _photo(pictures: Pictures, images: MeasuredSet, pair: ImagePair) -> Photo:
    files = {method.label: pictures.file(method, images, pair.name) for method in pictures.methods}
    sizes = {label: _size(path) for label, path in files.items()}
    width, height = (min(sides) for sides in zip(*sizes.values(), strict=True))
    excess = MOST_EXCESS if images.clips else 0
    for label, (its_width, its_height) in sizes.items():
        if max(its_width - width, its_height - height) > excess:
            other = next(name for name, size in sizes.items() if size != sizes[label])
            raise EvaluationError(f'{files[label]} is {its_width}x{its_height}, and {files[other]} '
                                  f'{sizes[other][0]}x{sizes[other][1]}. Expected the same size.')
    figures = {method.label: _figures(method, images, pair.name) for method in pictures.methods}
    return Photo(f'{images.name}: {pair.name}', pair, pictures.runs.protocol.scale, (width, height), files, figures)


def _size(path: Path) -> tuple[int, int]:
    try:
        with Image.open(path) as picture:
            return picture.size
    except OSError:
        raise EvaluationError(f'{path} cannot be read as an image. Expected a PNG file.') from None


def _figures(method: MethodGroup, images: MeasuredSet, name: str) -> dict[str, str]:
    scores = method.runs[0].scores.get(images.name)
    found = {metric: scores.images.get(metric, {}).get(name) for metric in IMAGE_METRICS} if scores else {}
    return {metric: number(METRICS[metric].shown(float(value)), METRICS[metric].decimals)
            for metric, value in found.items() if value is not None}


def write_gallery(folder: Path, photos: Sequence[Photo], methods: Sequence[MethodGroup],
                  timed: Sequence[Timed]) -> dict[str, Any]:
    """Copy the pictures into the page's folder, and make small ones to choose from.

    Args:
        folder: The page's folder; the pictures go into its folder `index_files`.
        methods: The methods of the report, for their costs.
        timed: The methods in runtimes, for their times.

    Returns:
        What the page's script reads.

    Raises:
        BadImageError: A picture cannot be read.
        OSError: A file cannot be written.
    """
    shown = [metric for metric in IMAGE_METRICS
             if any(metric in figures for photo in photos for figures in photo.figures.values())]
    return {'metrics': [{'title': METRICS[metric].column, 'arrow': METRICS[metric].arrow,
                         'best': 'high' if METRICS[metric].higher_is_better else 'low'}
                        | ({} if METRICS[metric].best is None else {'best': METRICS[metric].best}) for metric in shown],
            'costs': {method.label: _costs(method, methods, timed) for method in methods},
            'photos': [_written(folder, f'{FOLDER}/{index:03d}', photo, shown) for index, photo in enumerate(photos)]}


def _written(root: Path, place: str, photo: Photo, metrics: Sequence[str]) -> dict[str, Any]:
    width, height = photo.size
    folder = root / place
    lr, truth = read_pair(photo.pair, photo.scale)
    pictures: dict[str, str] = {}
    if lr is not None:
        pictures[LR] = f'{place}/lr.png'
        write_image(root / pictures[LR], lr)
    folder.mkdir(parents=True, exist_ok=True)
    for index, (label, path) in enumerate(photo.results.items(), start=1):
        pictures[label] = f'{place}/{index}.png'
        shutil.copyfile(path, root / pictures[label])
    if truth is not None:
        pictures[TRUTH] = f'{place}/truth.png'
        write_image(root / pictures[TRUTH], truth[:height, :width])
    last = truth if truth is not None else np.asarray(Image.open(path).convert('RGB'))[:, :, ::-1]
    small = cv2.resize(last, (max(1, round(_SMALL * width / height)), _SMALL), interpolation=cv2.INTER_AREA)
    write_image(folder / 'small.jpg', small)
    return {'name': photo.name, 'width': width, 'height': height, 'small': f'{place}/small.jpg', 'pictures': pictures,
            'figures': {label: [figures.get(metric, '') for metric in metrics]
                        for label, figures in photo.figures.items()}}


def _costs(method: MethodGroup, methods: Sequence[MethodGroup], timed: Sequence[Timed]) -> dict[str, str]:
    """Size and time of a method: its fastest time in a runtime if that was measured, else its seconds in PyTorch."""
    found = {}
    if counts := method.counts('params'):
        found['parameters'] = f'{statistics.fmean(counts):,.0f}'
    rows = [one.row for one in timed if one.method.label == method.label and one.has_quality]
    if rows:
        row = min(rows, key=lambda its: its.speed.seconds[1])
        found['time'] = f'{1000 * row.speed.seconds[1]:,.1f} ms ({row.way})'
    else:
        for name in number_formats(methods)[:1]:
            if speed := method.speed(name):
                found['time'] = f'{1000 * speed.seconds[1]:,.1f} ms ({name})'
    return found
