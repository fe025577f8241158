"""Which images of two folders, lists or LMDBs belong together, as BasicSR pairs them."""
from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import Any

from basicsr_kd.errors import PairError
from basicsr_kd.utils.images import SUFFIXES
from basicsr_kd.utils.text import some

Pair = dict[str, str]
"""`lq_path` and `gt_path`: paths of files, or the key of both in an LMDB."""


def find_pairs(opt: Mapping[str, Any]) -> list[Pair]:
    """Find the pairs of a PairedImageDataset in BasicSR's order; files without an image's name are skipped.

    Args:
        opt: The set's section of `datasets:`.

    Raises:
        PairError: There are no pairs, or an image has no partner. The text is to be put behind the set's key; it names
            the file and what would fit.
    """
    template = opt.get('filename_tmpl') or '{}'
    if opt['io_backend']['type'] == 'lmdb':
        pairs = _of_lmdbs(opt)
    elif opt.get('meta_info_file') is not None:
        pairs = _of_list(opt, template)
    else:
        pairs = _of_folders(opt, template)
    return pairs


def _of_folders(opt: Mapping[str, Any], template: str) -> list[Pair]:
    high, low = (_images(opt[key], key) for key in ('dataroot_gt', 'dataroot_lq'))
    wanted = {_low_name(name, template): name for name in high}
    missing = next((name for name in wanted if name not in set(low)), None)
    lonely = next((name for name in low if name not in wanted), None)
    wrong = (f'{opt["dataroot_lq"]} has no {missing}, which {wanted[missing]} of dataroot_gt belongs to. '
             f'{_better(wanted[missing], low)}' if missing else
             f'{lonely} in {opt["dataroot_lq"]} is of no image in dataroot_gt. Move it away' if lonely else '')
    if len(high) != len(low):
        raise PairError(f': {len(high)} images in dataroot_gt, {len(low)} in dataroot_lq; expected as many. {wrong}')
    if not high:
        raise PairError(f'.dataroot_gt: no images in {opt["dataroot_gt"]}{_there(opt["dataroot_gt"])}')
    if wrong:
        raise PairError(f'.dataroot_lq: {wrong}')
    return [_pair(opt, low_name, name) for low_name, name in wanted.items()]


def _of_list(opt: Mapping[str, Any], template: str) -> list[Pair]:
    path = opt['meta_info_file']
    names = [line.split(' ')[0] for line in _lines(path, 'meta_info_file')]
    if not names:
        raise PairError(f'.meta_info_file: {path} lists no images. Expected a name below dataroot_gt in each line')
    pairs = [_pair(opt, _low_name(name, template), name) for name in names]
    for pair, name in zip(pairs, names, strict=True):
        for key in ('gt', 'lq'):
            if not os.path.isfile(pair[f'{key}_path']):
                found = os.listdir(opt['dataroot_lq']) if key == 'lq' and os.path.isdir(opt['dataroot_lq']) else ()
                raise PairError(f'.meta_info_file: {path} lists {name}, and {pair[f"{key}_path"]} is not there. '
                                f'{_better(name, found)}')
    return pairs


def _of_lmdbs(opt: Mapping[str, Any]) -> list[Pair]:
    keys = {}
    for root in ('dataroot_gt', 'dataroot_lq'):
        if not str(opt[root]).endswith('.lmdb'):
            raise PairError(f'.{root}: found {opt[root]}, expected a folder that ends in .lmdb (io_backend: lmdb)')
        lines = _lines(os.path.join(opt[root], 'meta_info.txt'), root)
        keys[root] = [line.split('.')[0] for line in lines]
        if not lines:
            raise PairError(f'.{root}: meta_info.txt of {opt[root]} lists no images')
    for one, other in (('dataroot_gt', 'dataroot_lq'), ('dataroot_lq', 'dataroot_gt')):
        if lonely := sorted(set(keys[one]) - set(keys[other])):
            raise PairError(f'.{other}: {opt[other]} has no image of the key {lonely[0]}, which {opt[one]} has. '
                            'Expected the same keys in both')
    return [{'lq_path': key, 'gt_path': key} for key in sorted(keys['dataroot_lq'])]


def _images(folder: str, key: str) -> list[str]:
    """The names of the images of a folder as the machine lists them, which is BasicSR's order."""
    if not os.path.isdir(folder):
        raise PairError(f'.{key}: {folder} is no folder')
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries if not entry.name.startswith('.') and entry.is_file() and
                os.path.splitext(entry.name)[1].lower() in SUFFIXES]


def _there(folder: str) -> str:
    """The message for a folder without images."""
    found = sorted(os.listdir(folder))
    return (f', but {some(found, 3)}. Expected files that end in {", ".join(sorted(SUFFIXES))}; folders inside it are '
            'not searched') if found else ''


def _low_name(name: str, template: str) -> str:
    base, ending = os.path.splitext(os.path.basename(name))
    return f'{template.format(base)}{ending}'


def _pair(opt: Mapping[str, Any], low: str, name: str) -> Pair:
    return {'lq_path': os.path.join(opt['dataroot_lq'], low), 'gt_path': os.path.join(opt['dataroot_gt'], name)}


def _better(name: str, low: Iterable[str]) -> str:
    """Advice for an image whose low resolution has another name."""
    base, ending = os.path.splitext(os.path.basename(name))
    like = sorted((found for found in low if base in found), key=len)
    if not like:
        return 'Expected the low resolution of each image'
    other, others = os.path.splitext(like[0])
    if others != ending:
        return f'There is {like[0]}; BasicSR expects the same ending of both'
    return f'There is {like[0]}; with filename_tmpl: \'{other.replace(base, "{}", 1)}\' it would be found'


def _lines(path: str, key: str) -> list[str]:
    """The lines of a list that are not empty."""
    try:
        with open(path, encoding='utf-8') as file:
            return [line.strip() for line in file if line.strip()]
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, 'strerror', None) or 'it is no text'
        raise PairError(f'.{key}: {path} cannot be read ({reason})') from None
