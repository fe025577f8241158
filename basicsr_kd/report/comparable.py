"""Checks whether the figures of several evaluations may stand side by side."""
from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec

from basicsr_kd.errors import ReportError
from basicsr_kd.evaluation.schema import (
    Evaluation,
    MeasuredMethod,
    MeasuredProtocol,
    MeasuredSet,
    Score,
    SetFigures,
)
from basicsr_kd.utils.measured import Part
from basicsr_kd.utils.text import some

_SAME_IMAGES = 'Make a report of each, or evaluate all methods on the same images.'
# Figures of one network from two machines differ by less than this: rounding changes some pixels by one level.
_RELATIVE = 1e-4
_ABSOLUTE = 1e-5  # for KID, which is close to 0


def common_protocol(evaluations: Mapping[Path, Evaluation]) -> MeasuredProtocol:
    """The common protocol of all files: the one way in which quality was measured.

    Raises:
        ReportError: Files differ in scale, border, channel, the teacher in place of ground truth, the network of
            LPIPS, the frame rate or the scored part of clips; a file without LPIPS fits any network of LPIPS.
    """
    common: dict[str, Any] = {}
    for name in ('scale', 'border', 'channel', 'lpips_net', 'clips', 'frame_rate', 'teacher'):
        found = {path: getattr(evaluation.protocol, name) for path, evaluation in evaluations.items()}
        if name != 'teacher':  # None means ground truth, which is not the same as any teacher
            found = {path: value for path, value in found.items() if value is not None}
        for path, value in found.items():
            first = next(iter(found))
            if value != found[first]:
                raise ReportError(f'these evaluations do not compare: {name} is {found[first]} in {first} and {value} '
                                  f'in {path}. Make a report of each, or evaluate again with the same protocol.')
        common[name] = next(iter(found.values()), None)
    # each file describes the metrics that it has
    parts = dict.fromkeys(part for evaluation in evaluations.values()
                          for part in evaluation.protocol.text.removesuffix('.').split('; '))
    return MeasuredProtocol(**common, text='; '.join(parts) + '.')


def check_sets(evaluations: Mapping[Path, Evaluation]) -> None:
    """Check that all files have the same sets with the same images.

    Raises:
        ReportError: Sets or images differ.
    """
    files = {path: {images.name: sorted(images.images) for images in evaluation.sets}
             for path, evaluation in evaluations.items()}
    (first, one), *others = files.items()
    for path, other in others:
        if set(one) != set(other):
            raise ReportError(f'these evaluations do not compare: {first} has the sets {", ".join(one)}, and {path} '
                              f'{", ".join(other)}. {_SAME_IMAGES}')
        for name in one:
            if one[name] != other[name]:
                raise ReportError(f'these evaluations do not compare: {name} has {len(one[name])} images in {first} '
                                  f'and {len(other[name])} in {path}; only in one of them: '
                                  f'{some(sorted(set(one[name]) ^ set(other[name])))}. {_SAME_IMAGES}')


def check_images(path: Path, method: MeasuredMethod, sets: Iterable[MeasuredSet]) -> None:
    """Check that every mean is over all images of its set, since means over fewer images do not compare.

    Raises:
        ReportError: A metric has other images than its set, or the set is not there.
    """
    images = {found.name: set(found.images) for found in sets}
    for name, scores in method.scores.items():
        if name not in images:
            raise ReportError(f'{path}: {method.name} has figures of the set {name}, which is not among its sets '
                              f'({", ".join(images)}). Evaluate again.')
        for metric, values in scores.images.items():
            if images[name] != set(values):
                raise ReportError(f'{path}: {metric} of {method.name} is not over the images of {name}; it differs in '
                                  f'{some(sorted(images[name] ^ set(values)))}. Evaluate again.')


def merge(one_path: Path, one: MeasuredMethod, path: Path, other: MeasuredMethod) -> MeasuredMethod:
    """Merge what two files say of one method; where both have a figure, the first file's stays.

    Raises:
        ReportError: Tags or figures differ by more than other processors and libraries can explain.
    """
    scores = dict(one.scores)
    difference = '' if one.about == other.about else 'the tags'
    for name, found in other.scores.items():
        first = scores.get(name, SetFigures({}, {}))
        left, right = _figures(first), _figures(found)
        for metric in left:
            if metric in right and _differs(left[metric], right[metric]):
                difference = difference or f'{metric} on {name}'
        scores[name] = SetFigures({**found.images, **first.images}, {**found.mean, **first.mean},
                                 first.fid or found.fid, first.kid or found.kid, {**found.clips, **first.clips})
    if difference:
        raise ReportError(f'{other.name} has other figures or tags in {path} than in {one_path} ({difference}). If '
                          'they are two methods, evaluate them under different names; if they are seeds of one, tag '
                          'them with group and seed (--about).')
    return msgspec.structs.replace(one, scores=scores, complexity=one.complexity or other.complexity,
                                   speed={**other.speed, **one.speed})


def drop_other_sizes(
        methods: Sequence[tuple[Path, MeasuredMethod]]) -> tuple[list[tuple[Path, MeasuredMethod]], list[str]]:
    """Drop MACs and activations that were counted at another LR size than the first method's.

    Returns:
        The methods, and a note for each that lost something.
    """
    sizes = [method.complexity.lr_size for _, method in methods if method.complexity]
    kept, notes = [], []
    for path, method in methods:
        if method.complexity and method.complexity.lr_size != sizes[0]:
            (height, width), (first_height, first_width) = method.complexity.lr_size, sizes[0]
            notes.append(f'MACs and activations of {method.name} ({path}) are left out: they are of an LR image of '
                         f'{width}x{height}, the others of {first_width}x{first_height}.')
            method = msgspec.structs.replace(method, complexity=msgspec.structs.replace(
                method.complexity, macs=None, activations=None,
                parts={name: Part(part.params) for name, part in method.complexity.parts.items()}))
        kept.append((path, method))
    return kept, notes


def _figures(scores: SetFigures) -> dict[str, dict[str, Score]]:
    """All figures of one set by metric, and then by image or by what else a figure is of ('the mean')."""
    found = {metric: dict(values) for metric, values in scores.images.items()}
    for metric, mean in scores.mean.items():
        found.setdefault(metric, {})['the mean'] = mean
    of_sets = {'fid': scores.fid, 'kid': scores.kid}
    return found | {name: msgspec.structs.asdict(its) for name, its in of_sets.items() if its}


def _differs(one: Mapping[str, Score], other: Mapping[str, Score]) -> bool:
    pairs = [(one[name], other[name]) for name in one.keys() & other.keys()]
    return any((left is None) != (right is None) or not math.isclose(
        float(left or 0), float(right or 0), rel_tol=_RELATIVE, abs_tol=_ABSOLUTE) for left, right in pairs)
