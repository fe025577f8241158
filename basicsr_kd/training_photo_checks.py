"""The checks of `basicsr_kd.preflight` on the photos that low resolution is made of, of BasicSR's RealESRGANDataset."""
from __future__ import annotations

import copy
import os
from typing import Any

from PIL import Image

from basicsr_kd.data import RealESRGANPhotoDataset
from basicsr_kd.evaluation.errors import EvaluationError
from basicsr_kd.option_errors import OptionsError


def use_photos(dataset: dict[str, Any], gt_size: int) -> int:
    """Make `datasets.train`, in place, one that does without a list of files, and look at what it has.

    Files are opened no further than their headers, and not at all in an LMDB. Grey photos and such with transparency or
    16 bits are none of its business: BasicSR has OpenCV turn all into 8-bit colour.

    Returns:
        How many photos there are.

    Raises:
        OptionsError: A photo that is missing or smaller than `gt_size`, or none at all.
    """
    dataset['type'] = RealESRGANPhotoDataset.__name__
    disk = dataset['io_backend'].get('type') == 'disk'
    try:
        paths = RealESRGANPhotoDataset(copy.deepcopy(dataset)).paths
    except (EvaluationError, OSError, ValueError) as error:
        raise OptionsError(f'datasets.train: {error}') from None
    for path in paths if disk else ():
        _check_photo(path, gt_size, dataset)
    return len(paths)


def _check_photo(path: str, gt_size: int, dataset: dict[str, Any]) -> None:
    if not os.path.isfile(path):
        raise OptionsError(f'datasets.train.meta_info: {dataset["meta_info"]} lists {path}, which is not there. '
                           'Expected paths below dataroot_gt, one a line; leave meta_info out to take all its images')
    try:
        with Image.open(path) as photo:
            width, height = photo.size
    except OSError:
        raise OptionsError(f'datasets.train.dataroot_gt: {path} cannot be read as an image; replace it or move it '
                           'away') from None
    if min(width, height) < gt_size:
        raise OptionsError(f'datasets.train.dataroot_gt: {path} has {width}x{height} pixels, expected at least '
                           f'{gt_size}x{gt_size} (gt_size); BasicSR would fill it up with its mirror image. Move it '
                           'away, or make gt_size smaller')
