"""The checks of `basicsr_kd.preflight` on the sizes of images, for networks that do not take every size."""
from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from typing import Any

from torch import Tensor, nn

from basicsr_kd.archs.probe import enlargement
from basicsr_kd.data.header_sizes import header_sizes
from basicsr_kd.errors import OptionsError

_MULTIPLE = 8  # a better size is a multiple of this
_SETS = ('PairedImageDataset', 'SingleImageDataset')


def check_image_sizes(opt: dict[str, Any], net: nn.Module) -> None:
    """Check, by the headers of files, that the network can be run on all low resolution for validation or test.

    An RRDBNet of scale 2 (RealESRGAN_x2plus) begins with a pixel-unshuffle, which takes even sides only.

    Args:
        opt: The options.
        net: `network_g`; on the meta device is enough.

    Raises:
        OptionsError: The network would fail at an image of the first validation, after hours of training.
    """
    try:
        _, multiple = enlargement(net, (opt.get('network_g') or {}).get('num_in_ch', 3))
    except ValueError:  # no trial finds the multiple
        return
    if multiple == 1:
        return
    val = opt.get('val') or {}
    tile = val.get('tile', 0) and val['tile'] + 2 * val['tile_overlap']
    if tile % multiple:
        raise OptionsError(f'val.tile: {val["tile"]} pixels with tile_overlap {val["tile_overlap"]} on each side are '
                           f'{tile}, and network_g ({type(net).__name__}) takes multiples of {multiple} only. Expected '
                           f'e.g. tile: {-(-val["tile"] // multiple) * multiple}, tile_overlap: '
                           f'{-(-val["tile_overlap"] // multiple) * multiple}')
    for phase, dataset in opt['datasets'].items():
        if phase == 'train' or dataset['type'] not in _SETS or dataset['io_backend'].get('type') != 'disk':
            continue
        for path, width, height in sizes(dataset['dataroot_lq']):
            if any(min(side, tile or side) % multiple for side in (width, height)):
                raise OptionsError(f'datasets.{phase}.dataroot_lq: {path} has {width}x{height} pixels, and network_g '
                                   f'({type(net).__name__}) takes sides that are multiples of {multiple} only; cut the '
                                   'image' + (' and its ground truth' if dataset['type'] == _SETS[0] else ''))


def better_size(run: Callable[[Tensor], Any], image: Tensor) -> str:
    """Advice if a network that fails on an image (n, c, h, w) runs on a slightly larger one; else an empty text."""
    height, width = (-(-side // _MULTIPLE) * _MULTIPLE for side in image.shape[2:])
    try:
        if image.shape[2:] != (height, width):
            run(image.new_zeros((*image.shape[:2], height, width)))
            return f'. It takes {height}x{width}: the sides must be multiples of a power of 2'
    except Exception:  # whatever a network's own code raises: the size is not what is wrong
        pass
    return ''


def sizes(folder: str) -> Iterator[tuple[str, int, int]]:
    """Path, width and height of the images in a folder; other files are left out."""
    found = header_sizes([entry.path for entry in sorted(os.scandir(folder), key=lambda entry: entry.name)])
    return ((path, *size) for path, size in found.items() if size)
