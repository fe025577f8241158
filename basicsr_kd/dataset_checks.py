"""The checks of `basicsr_kd.preflight` on `datasets:`: pairs of images, photos, video clips."""
from __future__ import annotations

import os
from typing import Any

from basicsr.utils.registry import DATASET_REGISTRY

from basicsr_kd.archs.build import registered
from basicsr_kd.cache_checks import check_cache_key, put_into_cache
from basicsr_kd.data import TecoGANTestDataset, TecoGANTrainDataset
from basicsr_kd.data.errors import ClipError
from basicsr_kd.option_errors import OptionsError, closest
from basicsr_kd.real_esrgan_options import synthesises
from basicsr_kd.training_photo_checks import use_photos

_ALWAYS = ('name', 'dataroot_gt', 'dataroot_lq', 'io_backend')
_TRAINING = ('gt_size', 'use_hflip', 'use_rot', 'num_worker_per_gpu', 'batch_size_per_gpu')


def check_datasets(opt: dict[str, Any]) -> None:
    """Folders exist, GT and LQ images are equally many, and enough for one batch; photos and clips are as they should.

    Raises:
        OptionsError: BasicSR would fail after it has moved an earlier run away, or, with fewer images than a batch,
            train nothing and save the network as it was.
    """
    for phase, dataset in opt['datasets'].items():
        key = f'datasets.{phase}'
        check_cache_key(dataset, phase)
        for root in ('dataroot_gt', 'dataroot_lq', 'meta_info'):
            if isinstance(dataset.get(root), str):
                must_exist(dataset[root], f'{key}.{root}')
        if registered(dataset['type'], DATASET_REGISTRY) in (TecoGANTestDataset, TecoGANTrainDataset):
            _check_clips(dataset, phase, opt['world_size'])
        if phase == 'train' and opt['is_train'] and synthesises(opt):
            _must_fill_batch(use_photos(dataset, opt['gt_size']), 'photos', dataset, key, opt['world_size'])
        if dataset['type'] == 'PairedImageDataset':
            _check_pairs(dataset, phase, opt['world_size'])
        if dataset.get('cache'):
            put_into_cache(dataset)


def _check_pairs(dataset: dict[str, Any], phase: str, world_size: int) -> None:
    key = f'datasets.{phase}'
    for needed in (*_ALWAYS, *(_TRAINING if phase == 'train' else ())):
        if dataset.get(needed) is None:
            raise OptionsError(f'{key}.{needed} is missing')
    if dataset.get('meta_info_file') is None and dataset['io_backend'].get('type') == 'disk':
        _check_images(dataset, key, world_size if phase == 'train' else None)


def _check_images(dataset: dict[str, Any], key: str, world_size: int | None) -> None:
    gt, lq = (sum(entry.is_file() and not entry.name.startswith('.') for entry in os.scandir(dataset[root]))
              for root in ('dataroot_gt', 'dataroot_lq'))
    if gt != lq:
        raise OptionsError(f'{key}: {gt} images in dataroot_gt, {lq} in dataroot_lq; expected as many')
    if gt == 0:
        raise OptionsError(f'{key}.dataroot_gt: no images in {dataset["dataroot_gt"]}')
    if world_size is not None:
        _must_fill_batch(gt, 'images', dataset, key, world_size)


def _check_clips(dataset: dict[str, Any], phase: str, world_size: int) -> None:
    kind = DATASET_REGISTRY.get(dataset['type'])
    expected = TecoGANTrainDataset if phase == 'train' else TecoGANTestDataset
    if kind is not expected:
        raise OptionsError(f'datasets.{phase}.type: found {dataset["type"]}, expected {expected.__name__}')
    try:
        read = {name: value for name, value in dataset.items() if name != 'cache'}  # which would decode all frames
        clips = kind({**read, 'phase': phase})  # BasicSR has phase `val` for val_2 too
    except ClipError as error:
        raise OptionsError(f'datasets.{phase}: {error}') from None
    if phase == 'train':
        _must_fill_batch(len(clips), 'frames', dataset, 'datasets.train', world_size)


def _must_fill_batch(found: int, what: str, dataset: dict[str, Any], key: str, world_size: int) -> None:
    drawn = found * dataset.get('dataset_enlarge_ratio', 1)
    batch = dataset['batch_size_per_gpu'] * world_size
    if drawn < batch:
        raise OptionsError(f'{key}: {found} {what}, the batch is {batch} and a last one that is not full is dropped, '
                           f'so nothing would be trained; set dataset_enlarge_ratio: {-(-100 * batch // found)}')


def must_exist(path: str, key: str) -> None:
    """Raises:
        OptionsError: No such file or folder; the text has the closest name that is there.
    """
    if os.path.exists(path):
        return
    folder = os.path.dirname(os.path.abspath(path))
    if not os.path.isdir(folder):
        hint = f'the folder {folder} does not exist either'
    elif os.listdir(folder):
        hint = closest(os.path.basename(path), os.listdir(folder))
    else:
        hint = f'the folder {folder} is empty'
    raise OptionsError(f'{key}: {path} does not exist (from {os.getcwd()}); {hint}')
