"""The checks of `basicsr_kd.preflight` on pairs of images: they exist, belong together and have the right sizes."""
from __future__ import annotations

import os
import re
from typing import Any

from basicsr.data.paired_image_dataset import PairedImageDataset

from basicsr_kd.data import CachedPairedImageDataset, TaughtPairedImageDataset
from basicsr_kd.data.header_sizes import Size, header_sizes
from basicsr_kd.data.pairs import Pair, find_pairs
from basicsr_kd.errors import OptionsError, PairError

_PAIRS = tuple(kind.__name__ for kind in (PairedImageDataset, CachedPairedImageDataset, TaughtPairedImageDataset))
_SHAPE = re.compile(r'\((\d+), *(\d+)')  # a line of an LMDB's list is: image.png (height,width,channels) 1


def count_pairs(dataset: dict[str, Any], key: str) -> int:
    """Count the pairs of a set of type PairedImageDataset.

    Raises:
        OptionsError: There are no pairs, or an image has no partner; the text names it, and what would fit.
    """
    try:
        return len(find_pairs(dataset))
    except PairError as error:
        raise OptionsError(f'{key}{error}') from None


def check_channels(opt: dict[str, Any]) -> None:
    """Check that pairs have as many channels as `network_g` takes: one (luma) with `color: y`, else three.

    Raises:
        OptionsError: The numbers differ, and the first iteration or validation would fail.
    """
    network = opt['network_g']
    takes = network.get('base', network).get('num_in_ch', 3)  # base: of PrunedNet; a first layer may be unshuffled
    for phase, dataset in opt['datasets'].items():
        has = 1 if dataset.get('color') == 'y' else 3
        if dataset['type'] in _PAIRS and has != takes:
            better = {1: '. Expected color: y there', 3: '. Leave color: y out there'}.get(takes, '')
            raise OptionsError(f'datasets.{phase}: its images have {has} channels, and network_g takes {takes}{better}')


def check_pair_sizes(opt: dict[str, Any]) -> None:
    """Check that GT is LQ times the scale in size, and that no image of a training set is smaller than its crops.

    Rank 0 alone reads the headers of files; the list of an LMDB has the sizes. A file that cannot be read is left to
    the run, which names it: in validation, and in training as far as `max_bad_images` allows.

    Raises:
        OptionsError: A size is wrong; the text names the first such image, and what would be right.
    """
    for phase, dataset in opt['datasets'].items():
        backend = dataset['io_backend'].get('type')
        if opt['rank'] == 0 and dataset['type'] in _PAIRS and backend in ('disk', 'lmdb'):
            _check_set(dataset, f'datasets.{phase}', backend, opt['scale'], phase == 'train')


def _check_set(dataset: dict[str, Any], key: str, backend: str, scale: int, training: bool) -> None:
    pairs = find_pairs(dataset)
    sizes = _sizes(dataset, pairs)
    broken = sorted({path for pair, two in zip(pairs, sizes, strict=True)
                     for path, size in zip((pair['lq_path'], pair['gt_path']), two, strict=True) if size is None})
    if training and backend == 'disk':
        must_pass_over(broken, dataset, key)
    for pair, (low, high) in zip(pairs, sizes, strict=True):
        if low is not None and high is not None:
            _check_sizes(pair, low, high, scale, dataset['gt_size'] if training else None, key)


def must_pass_over(broken: list[str], dataset: dict[str, Any], key: str) -> None:
    """Raise an OptionsError if more files of a training set cannot be read than `max_bad_images` allows."""
    if len(broken) > dataset.get('max_bad_images', 0):
        raise OptionsError(f'{key}: {broken[0]} cannot be read as an image' +
                           (f', and {len(broken) - 1} more' if len(broken) > 1 else '') +
                           '. Replace it or move it away (of a pair, its other half, too), or let the run pass over '
                           f'it ({key}.max_bad_images: {len(broken)})')


def _sizes(dataset: dict[str, Any], pairs: list[Pair]) -> list[tuple[Size | None, Size | None]]:
    """Width and height of low resolution and ground truth of each pair."""
    if dataset['io_backend']['type'] == 'lmdb':
        low, high = (_lmdb_sizes(dataset[root]) for root in ('dataroot_lq', 'dataroot_gt'))
        return [(low.get(pair['lq_path']), high.get(pair['gt_path'])) for pair in pairs]
    found = header_sizes([path for pair in pairs for path in (pair['lq_path'], pair['gt_path'])])
    return [(found[pair['lq_path']], found[pair['gt_path']]) for pair in pairs]


def _lmdb_sizes(folder: str) -> dict[str, Size]:
    with open(os.path.join(folder, 'meta_info.txt'), encoding='utf-8') as file:
        lines = [(line, _SHAPE.search(line)) for line in file]
    return {line.strip().split('.')[0]: (int(shape[2]), int(shape[1])) for line, shape in lines if shape}


def _check_sizes(pair: Pair, low: Size, high: Size, scale: int, gt_size: int | None, key: str) -> None:
    """Check one pair: with wrong sizes BasicSR fails in training after the start, and in validation it crops GT."""
    expected = tuple(scale * side for side in low)
    over = [have - want for have, want in zip(high, expected, strict=True)]
    if any(over) if gt_size else any(not 0 <= one < scale for one in over):
        own = next((other for other in range(1, 17) if other != scale and high == tuple(other * side for side in low)),
                   None)
        raise OptionsError(f'{key}: {pair["lq_path"]} has {_words(low)} pixels and its ground truth {pair["gt_path"]} '
                           f'{_words(high)}. Expected {_words(expected)} at scale: {scale}' +
                           (f'; these are {own} times as many on each side' if own else ''))
    if gt_size and min(high) < gt_size:
        raise OptionsError(f'{key}: {pair["gt_path"]} has {_words(high)} pixels, expected at least {gt_size}x{gt_size} '
                           f'(gt_size). Move it away with its low resolution {pair["lq_path"]}, or make gt_size '
                           'smaller')


def _words(size: tuple[int, ...]) -> str:
    return f'{size[0]}x{size[1]}'
