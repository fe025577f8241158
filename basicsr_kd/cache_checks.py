"""The checks of `basicsr_kd.preflight` on `datasets.train.cache`."""
from __future__ import annotations

import copy
from typing import Any

from basicsr.data.paired_image_dataset import PairedImageDataset

from basicsr_kd.data import CachedPairedImageDataset, TecoGANTrainDataset
from basicsr_kd.data.cached_paired_image_dataset import files_of
from basicsr_kd.data.ram import lack_of_memory
from basicsr_kd.evaluation.errors import BadImageError
from basicsr_kd.option_errors import OptionsError

_TYPES = (PairedImageDataset.__name__, TecoGANTrainDataset.__name__)


def check_cache_key(dataset: dict[str, Any], phase: str) -> None:
    """`cache` says `ram`, if anything, and stands where it can be had.

    Raises:
        OptionsError: It does not.
    """
    cache, key = dataset.get('cache'), f'datasets.{phase}.cache'
    if cache is None:
        return
    if cache != 'ram':
        raise OptionsError(f'{key}: found {cache!r}. Possible: ram')
    if phase != 'train' or dataset['type'] not in _TYPES:
        raise OptionsError(f'{key}: only datasets.train of type {" or ".join(_TYPES)} can be kept in memory; leave it '
                           'out')


def put_into_cache(dataset: dict[str, Any]) -> None:
    """Make `datasets.train`, in place, one that decodes all its images when it is built; here nothing is decoded.

    Raises:
        OptionsError: An image cannot be read, GT and LQ do not belong together, or memory does not suffice.
    """
    plain = copy.deepcopy({key: value for key, value in dataset.items() if key != 'cache'})
    try:
        if dataset['type'] == TecoGANTrainDataset.__name__:
            lack = lack_of_memory(*TecoGANTrainDataset(plain).files())
        else:
            lack = lack_of_memory(*files_of(PairedImageDataset(plain)))
            dataset['type'] = CachedPairedImageDataset.__name__
    except (BadImageError, AssertionError) as error:  # BasicSR asserts that images come in pairs
        raise OptionsError(f'datasets.train: {error}') from None
    if lack:
        raise OptionsError(f'datasets.train.cache: ram: {lack}')
