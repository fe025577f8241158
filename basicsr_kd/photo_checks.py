"""The checks of `basicsr_kd.preflight` on photos without ground truth, of BasicSR's SingleImageDataset."""
from __future__ import annotations

import os
from typing import Any

from basicsr.utils import scandir
from PIL import Image

from basicsr_kd.option_errors import OptionsError


def check_photos(opt: dict[str, Any]) -> None:
    """Photos to validate or test on are there, and images.

    Raises:
        OptionsError: BasicSR would fail at the first validation, after hours of training.
    """
    for phase, dataset in opt['datasets'].items():
        if dataset['type'] != 'SingleImageDataset':
            continue
        for needed in ('name', 'dataroot_lq', 'io_backend'):
            if dataset.get(needed) is None:
                raise OptionsError(f'datasets.{phase}.{needed} is missing')
        if dataset['io_backend'].get('type') == 'disk' and 'meta_info_file' not in dataset:
            _check_folder(dataset['dataroot_lq'], f'datasets.{phase}.dataroot_lq')


def _check_folder(folder: str, key: str) -> None:
    photos = sorted(scandir(folder, full_path=True)) if os.path.isdir(folder) else []
    if not photos:
        raise OptionsError(f'{key}: no photos in {folder}; expected a folder of images')
    for photo in photos:
        try:
            Image.open(photo).close()  # reads no more than the header
        except OSError:
            raise OptionsError(f'{key}: {photo} cannot be read as an image, and BasicSR takes every file of the '
                               'folder; move it away') from None
