"""The checks of `basicsr_kd.preflight` on `datasets:`: pairs of images, photos, video clips."""
from __future__ import annotations

import copy
import os
from typing import Any

from basicsr.data.paired_image_dataset import PairedImageDataset
from basicsr.utils import scandir
from basicsr.utils.registry import DATASET_REGISTRY

from basicsr_kd.archs.build import registered
from basicsr_kd.data import (
    CachedPairedImageDataset,
    NamedPairedImageDataset,
    RealESRGANPhotoDataset,
    TaughtPairedImageDataset,
    TecoGANTestDataset,
    TecoGANTrainDataset,
)
from basicsr_kd.data.cached_paired_image_dataset import files_of
from basicsr_kd.data.header_sizes import header_sizes
from basicsr_kd.data.ram import lack_of_memory
from basicsr_kd.data.teacher_outputs import folder_of, lack_of_room
from basicsr_kd.errors import BadImageError, ClipError, EvaluationError, OptionsError
from basicsr_kd.options.realesrgan import synthesises
from basicsr_kd.preflight.arguments import must_exist
from basicsr_kd.preflight.pairs import count_pairs, must_pass_over

_ALWAYS = ('name', 'dataroot_gt', 'dataroot_lq', 'io_backend')
_TRAINING = ('gt_size', 'use_hflip', 'use_rot', 'num_worker_per_gpu', 'batch_size_per_gpu')
_CACHEABLE = (PairedImageDataset.__name__, TecoGANTrainDataset.__name__)


def check_datasets(opt: dict[str, Any]) -> None:
    """Check that folders exist, that GT and LQ belong together, that a batch can be filled, and photos and clips.

    Raises:
        OptionsError: BasicSR would fail after it has moved an earlier run away, or a batch would be larger than the
            set.
    """
    for phase, dataset in opt['datasets'].items():
        key = f'datasets.{phase}'
        _check_cache_key(dataset, phase)
        for root in ('dataroot_gt', 'dataroot_lq', 'meta_info', 'meta_info_file'):
            if isinstance(dataset.get(root), str):
                must_exist(dataset[root], f'{key}.{root}')
        if registered(dataset['type'], DATASET_REGISTRY) in (TecoGANTestDataset, TecoGANTrainDataset):
            _check_clips(dataset, phase, opt['world_size'])
        if phase == 'train' and opt['is_train'] and synthesises(opt):
            found = _use_photos(dataset, opt['gt_size'], opt['rank'] == 0)
            _must_fill_batch(found, 'photos', dataset, key, opt['world_size'])
        if dataset['type'] == 'PairedImageDataset':
            _check_pairs(dataset, phase, opt['world_size'])
        if dataset.get('cache'):
            _put_into_cache(dataset)
        if phase == 'train' and (opt.get('teacher') or {}).get('cache') and opt['train'].get('distill_opt'):
            _use_teacher_outputs(dataset, opt)


def _check_pairs(dataset: dict[str, Any], phase: str, world_size: int) -> None:
    key = f'datasets.{phase}'
    for needed in (*_ALWAYS, *(_TRAINING if phase == 'train' else ())):
        if dataset.get(needed) is None:
            raise OptionsError(f'{key}.{needed} is missing')
    found = count_pairs(dataset, key)
    if phase == 'train':
        _must_fill_batch(found, 'images', dataset, key, world_size)


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
    if found == 0:
        raise OptionsError(f'{key}: it has no {what}')
    drawn = found * dataset.get('dataset_enlarge_ratio', 1)
    batch = dataset['batch_size_per_gpu'] * world_size
    if drawn < batch:
        raise OptionsError(f'{key}: {found} {what}, the batch is {batch}, so each epoch would be a single batch with '
                           f'some of them twice; set dataset_enlarge_ratio: {-(-100 * batch // found)}')


def _check_cache_key(dataset: dict[str, Any], phase: str) -> None:
    """Check that `cache`, if given, is `ram` and belongs to a training set that can be kept in memory.

    Raises:
        OptionsError: The key has another value or another place.
    """
    cache, key = dataset.get('cache'), f'datasets.{phase}.cache'
    if cache is None:
        return
    if cache != 'ram':
        raise OptionsError(f'{key}: found {cache!r}. Possible: ram')
    if phase != 'train' or dataset['type'] not in _CACHEABLE:
        raise OptionsError(f'{key}: only datasets.train of type {" or ".join(_CACHEABLE)} can be kept in memory; leave '
                           'it out')


def _put_into_cache(dataset: dict[str, Any]) -> None:
    """Change `datasets.train`, in place, to a set that decodes all its images when it is built; none is decoded here.

    Raises:
        OptionsError: An image cannot be read, GT and LQ do not belong together, or memory does not suffice.
    """
    plain = copy.deepcopy({key: value for key, value in dataset.items() if key != 'cache'})
    try:
        if dataset['type'] == TecoGANTrainDataset.__name__:
            lack = lack_of_memory(*TecoGANTrainDataset(plain).files())
        else:
            lack = lack_of_memory(*files_of(NamedPairedImageDataset(plain)))
            dataset['type'] = CachedPairedImageDataset.__name__
    except BadImageError as error:
        raise OptionsError(f'datasets.train: {error}') from None
    if lack:
        raise OptionsError(f'datasets.train.cache: ram: {lack}')


def _use_teacher_outputs(dataset: dict[str, Any], opt: dict[str, Any]) -> None:
    """Change `datasets.train`, in place, to a set whose samples hold the teacher's outputs; none is made here.

    Raises:
        OptionsError: Low resolution is not stored, images are changed before they reach the networks, crops are all
            border, the teacher's file is missing, or the disk has not enough room.
    """
    teacher, key = opt['teacher'], 'teacher.cache: outputs'
    if dataset['type'] not in (PairedImageDataset.__name__, CachedPairedImageDataset.__name__):
        raise OptionsError(f'{key} needs low resolution that is stored, and datasets.train.type: {dataset["type"]} '
                           'makes it anew each time. Store some variants of each photo (scripts/degrade_images.py with '
                           'one --seed after the other) and take PairedImageDataset, or leave teacher.cache out')
    for name in ('mean', 'std', 'color'):
        if dataset.get(name):
            raise OptionsError(f'{key} does not go together with datasets.train.{name}')
    least = 2 * teacher['cache_border'] * opt['scale']
    if dataset['gt_size'] <= least:
        raise OptionsError(f'teacher.cache_border: {teacher["cache_border"]} low-resolution pixels at each edge leave '
                           f'nothing of crops of datasets.train.gt_size: {dataset["gt_size"]}. Expected a gt_size '
                           f'above {least}')
    if not os.path.exists(teacher['path']):
        raise OptionsError(f'teacher.path: {teacher["path"]} does not exist, and tells which outputs are its own')
    folder = folder_of(teacher)
    try:
        names, client = files_of(NamedPairedImageDataset(copy.deepcopy(dataset)))
        lack = lack_of_room(folder, [name for name in names if name[1] == 'lq'], client, opt['scale'])
    except BadImageError as error:
        raise OptionsError(f'datasets.train: {error}') from None
    if lack:
        raise OptionsError(f'{key}: {lack}')
    dataset.update(type=TaughtPairedImageDataset.__name__, teacher_outputs=str(folder))


def check_photos(opt: dict[str, Any]) -> None:
    """Check that the photos for validation or test exist and are images.

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
            _check_photo_folder(dataset['dataroot_lq'], f'datasets.{phase}.dataroot_lq')


def _check_photo_folder(folder: str, key: str) -> None:
    photos = sorted(scandir(folder, full_path=True)) if os.path.isdir(folder) else []
    if not photos:
        raise OptionsError(f'{key}: no photos in {folder}; expected a folder of images')
    for photo, size in header_sizes(photos).items():
        if size is None:
            raise OptionsError(f'{key}: {photo} cannot be read as an image, and BasicSR takes every file of the '
                               'folder; move it away')


def _use_photos(dataset: dict[str, Any], gt_size: int, look: bool) -> int:
    """Change `datasets.train`, in place, to a set that needs no list of files, and check its photos.

    Only the headers of files are read, and none in an LMDB or without `look`. Grey, transparent and 16-bit photos
    pass: BasicSR has OpenCV turn them all into 8-bit colour.

    Returns:
        The number of photos.

    Raises:
        OptionsError: A photo is missing or smaller than `gt_size`, or there are no photos.
    """
    dataset['type'] = RealESRGANPhotoDataset.__name__
    disk = dataset['io_backend'].get('type') == 'disk'
    try:
        paths = RealESRGANPhotoDataset(copy.deepcopy(dataset)).paths
    except (EvaluationError, OSError, ValueError) as error:
        raise OptionsError(f'datasets.train: {error}') from None
    if disk and look:
        _check_photo_files(paths, gt_size, dataset)
    return len(paths)


def _check_photo_files(paths: list[str], gt_size: int, dataset: dict[str, Any]) -> None:
    missing = next((path for path in paths if not os.path.isfile(path)), None)
    if missing:
        raise OptionsError(f'datasets.train.meta_info: {dataset["meta_info"]} lists {missing}, which is not there. '
                           'Expected paths below dataroot_gt, one a line; leave meta_info out to take all its images')
    sizes = header_sizes(paths)
    must_pass_over([path for path in paths if sizes[path] is None], dataset, 'datasets.train')
    small = next((path for path in paths if min(sizes[path] or (gt_size,)) < gt_size), None)
    if small:
        width, height = sizes[small] or (0, 0)
        raise OptionsError(f'datasets.train.dataroot_gt: {small} has {width}x{height} pixels, expected at least '
                           f'{gt_size}x{gt_size} (gt_size); BasicSR would fill it up with its mirror image. Move it '
                           'away, or make gt_size smaller')


def name_sets(opt: dict[str, Any]) -> None:
    """Rename sets for validation or test, in place, so that no two have one name: later ones get their phase added."""
    names: set[str] = set()
    for phase, dataset in opt['datasets'].items():
        if phase != 'train':
            while dataset.get('name') in names:
                dataset['name'] = f'{dataset["name"]}_{phase}'
            names.add(dataset.get('name'))


def name_images(opt: dict[str, Any]) -> None:
    """Change each PairedImageDataset, in place, to one that skips junk files and names broken images."""
    for dataset in opt['datasets'].values():
        if dataset['type'] == PairedImageDataset.__name__:
            dataset['type'] = NamedPairedImageDataset.__name__
