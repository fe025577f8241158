"""Whether figures of several evaluations may stand side by side."""
from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from basicsr_kd.report.errors import ReportError
from basicsr_kd.report.schema import Evaluation, ImageSet, Method

_SAME_IMAGES = 'Make a report of each, or evaluate all methods on the same images.'


def check_protocols(evaluations: Mapping[Path, Evaluation]) -> None:
    """That quality was measured in one way.

    Raises:
        ReportError: scale, border, channel or the network of LPIPS differ; those without LPIPS go with any.
    """
    for name in ('scale', 'border', 'channel', 'lpips_net'):
        found = {path: getattr(evaluation.protocol, name) for path, evaluation in evaluations.items()}
        found = {path: value for path, value in found.items() if value is not None}
        for path, value in found.items():
            first = next(iter(found))
            if value != found[first]:
                raise ReportError(f'these evaluations do not compare: {name} is {found[first]} in {first} and {value} '
                                  f'in {path}. Make a report of each, or evaluate again with the same protocol.')


def check_sets(evaluations: Mapping[Path, Evaluation]) -> None:
    """That all have the same sets, of the same images.

    Raises:
        ReportError: they have not.
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
                                  f'{_some(set(one[name]) ^ set(other[name]))}. {_SAME_IMAGES}')


def check_images(path: Path, method: Method, sets: Iterable[ImageSet]) -> None:
    """That every mean is over all images of its set: means over fewer do not compare.

    Raises:
        ReportError: a metric has other images than its set, or the set is not there.
    """
    images = {found.name: set(found.images) for found in sets}
    for name, scores in method.scores.items():
        if name not in images:
            raise ReportError(f'{path}: {method.name} has figures of the set {name}, which is not among its sets '
                              f'({", ".join(images)}). Evaluate again.')
        for metric, values in scores.images.items():
            if images[name] != set(values):
                raise ReportError(f'{path}: {metric} of {method.name} is not over the images of {name}; it differs in '
                                  f'{_some(images[name] ^ set(values))}. Evaluate again.')


def check_same(path: Path, method: Method, other_path: Path, other: Method) -> None:
    """That what two files say of one method is the same.

    Raises:
        ReportError: it is not.
    """
    if method.scores != other.scores or method.about != other.about:
        raise ReportError(f'{method.name} has other figures or tags in {path} than in {other_path}. If they are two '
                          'methods, evaluate them under different names; if they are seeds of one, tag them with '
                          'group and seed (--about).')


def drop_other_sizes(methods: Sequence[tuple[Path, Method]]) -> tuple[list[tuple[Path, Method]], list[str]]:
    """Without MACs and activations of another LR size than the first method's.

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
                method.complexity, macs=None, activations=None))
        kept.append((path, method))
    return kept, notes


def _some(names: Iterable[str]) -> str:
    ordered = sorted(names)
    return ', '.join(ordered[:3]) + (f' and {len(ordered) - 3} more' if len(ordered) > 3 else '')
