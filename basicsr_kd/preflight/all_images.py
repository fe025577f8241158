"""Every image of the sets of an options file, decoded: `basicsr-kd doctor --data`."""
from __future__ import annotations

import argparse
import io
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from basicsr.data.single_image_dataset import SingleImageDataset
from basicsr.utils import FileClient, imfrombytes
from PIL import Image

from basicsr_kd import options
from basicsr_kd.data import (
    NamedPairedImageDataset,
    RealESRGANPhotoDataset,
    TecoGANTestDataset,
    TecoGANTrainDataset,
)
from basicsr_kd.data.broken_images import images_of, reader_of
from basicsr_kd.data.ram import ImageName
from basicsr_kd.errors import BasicSRKDError, OptionsError
from basicsr_kd.options.datasets import SETS, check_set
from basicsr_kd.options.parse import read_options
from basicsr_kd.options.realesrgan import PHOTO_SETS
from basicsr_kd.options.sections import check_sections
from basicsr_kd.preflight.pairs import check_pair_sizes
from basicsr_kd.preflight.parse import fill_sets
from basicsr_kd.utils.pictures import of_any_size
from basicsr_kd.utils.progress import progressing

_ANY = 10 ** 9
_OPENED = {
    'PairedImageDataset': NamedPairedImageDataset, 'SingleImageDataset': SingleImageDataset,
    'TecoGANTrainDataset': TecoGANTrainDataset, 'TecoGANTestDataset': TecoGANTestDataset,
    **dict.fromkeys(PHOTO_SETS, RealESRGANPhotoDataset)
}
"""The class that replaces each type of set here: it decodes nothing when it is made, and lists its images."""


@dataclass(frozen=True)
class SeenSet:
    """What decoding a set found.

    Args:
        key: The set's place in the options file.
        images: The number of files or keys that were decoded.
        faults: What is wrong, one line for each fault.
    """
    key: str
    images: int
    faults: list[str]


def see_all_images(path: str) -> Iterator[SeenSet]:
    """Decode all images of the sets in an options file, one set after the other, and find what a run would refuse.

    Args:
        path: An options file, of our models or BasicSR's own.

    Raises:
        OptionsError: The options file cannot be read, or a run would refuse it before it looks at its data.
    """
    opt = read_options(argparse.Namespace(opt=path, force_yml=None))
    sets = opt.get('datasets')
    training = not isinstance(sets, dict) or not any(str(phase).startswith('test') for phase in sets)
    opt.update(is_train=training, auto_resume=False, rank=0, world_size=1)
    if options.our_model(opt.get('model_type')):
        options.validate(opt, training)
    else:
        check_sections(opt, training)
        for phase, dataset in opt['datasets'].items():
            check_set(dataset, f'datasets.{phase}')
    fill_sets(opt)
    for phase, dataset in opt['datasets'].items():
        yield _see(f'datasets.{phase}', phase, dataset, opt)


def _see(key: str, phase: str, dataset: dict[str, Any], opt: dict[str, Any]) -> SeenSet:
    if dataset['type'] not in SETS:
        return SeenSet(key, 0, [f'sets of type {dataset["type"]} are not looked at'])
    dataset = {name: value for name, value in dataset.items() if name != 'cache'}
    try:
        names, client = _images(_OPENED[dataset['type']](dataset))
    except (BasicSRKDError, OSError, ValueError) as error:
        return SeenSet(key, 0, [' '.join(str(error).split()).removeprefix('.')])
    names = list(dict.fromkeys(names))
    with of_any_size(), ThreadPoolExecutor() as pool:
        found = progressing(pool.map(lambda name: fault_of(name, client), names), f'decoding {key}', len(names))
        faults = [f'{name[0]} {fault}' for name, fault in zip(names, found, strict=True) if fault]
    try:
        if dataset['type'] == 'PairedImageDataset':
            check_pair_sizes({**opt, 'datasets': {phase: {**dataset, 'max_bad_images': _ANY}}})
    except OptionsError as error:
        faults.append(str(error).removeprefix(f'{key}: '))
    return SeenSet(key, len(names), faults)


def _images(dataset: Any) -> tuple[list[ImageName], FileClient]:
    """The images of a set, and the client that reads their files."""
    if isinstance(dataset, TecoGANTrainDataset):
        return dataset.files()
    if isinstance(dataset, TecoGANTestDataset):
        clips = [clip for pair in dataset.pairs.values() for clip in (pair.gt, pair.lq) if clip]
        return [(frame, 'gt') for clip in clips for frame in clip.frames], FileClient('disk')
    return [name for index in range(len(dataset.paths)) for name in images_of(dataset, index)], reader_of(dataset)


def fault_of(name: ImageName, client: FileClient) -> str:
    """Say what is wrong with an image; an empty text if it decodes and is whole."""
    try:
        content = client.get(*name)
        if imfrombytes(content) is None:
            return 'cannot be read as an image'
    except Exception as error:  # a file that is gone, an LMDB without the key, OpenCV's own errors
        return f'cannot be read: {getattr(error, "strerror", None) or "it is empty or not there"}'
    try:
        with Image.open(io.BytesIO(content)) as image:
            image.load()
    except (OSError, SyntaxError, ValueError):
        return 'is damaged or cut short: training takes what there is of it, the rest is grey or black'
    return ''
