"""The sets that `basicsr-kd evaluate` is given: their names, and the folders that belong together."""

import argparse
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from basicsr_kd.cli.evaluate_arguments import folders
from basicsr_kd.cli.outputs import Refusal

if TYPE_CHECKING:
    from basicsr_kd.evaluation.clip_sets import ClipSet
    from basicsr_kd.evaluation.methods import Network
    from basicsr_kd.evaluation.sets import ImageSet

_PARTS = ('hr', 'gt', 'gtmod12', 'original', 'lr', 'lrx4', 'lq')  # names of folders that do not tell which set it is


def image_sets(args: argparse.Namespace, finished: Mapping[str, Path]) -> list['ImageSet']:
    """Sets of images; `finished`: folders by the name of their method.

    Raises:
        Refusal: Two sets have one name, or one has no folder of finished images.
        EvaluationError: Images do not pair.
    """
    from basicsr_kd.evaluation.sets import ImageSet, pair_folders
    return [ImageSet(name, hr, lr, pair_folders(hr, lr, results)) for name, hr, lr, results in _folders(args, finished)]


def clip_sets(args: argparse.Namespace, finished: Mapping[str, Path],
              networks: Mapping[str, 'Network']) -> list['ClipSet']:
    """Sets of clips; where they have no LR, it will be made for the networks.

    Raises:
        Refusal: As of `image_sets`; or nothing tells the one scale of LR.
        ClipError, EvaluationError: Frames do not pair.
    """
    from basicsr_kd.evaluation.clip_sets import find_clip_set
    scale = None
    if args.weights and not args.lr:
        scale = _one_scale(networks, '--lr is missing', 'how much smaller than the ground truth it is to be made. Give '
                                                        '--lr, or')
    sets = []
    for name, hr, lr, results in _folders(args, finished):
        assert hr
        sets.append(find_clip_set(name, hr, lr, results, scale))
    for one in sets:
        if one.scale != sets[0].scale:
            raise Refusal(f'{one.hr} is {one.scale} times as large as {one.lr}, and {sets[0].hr} {sets[0].scale} times '
                          f'as large as {sets[0].lr}. Expected sets of one scale.')
    return sets


def scale_of_photos(args: argparse.Namespace, networks: Mapping[str, 'Network']) -> int | None:
    """How many times photos without ground truth are enlarged; None where finished images tell, or ground truth.

    Raises:
        Refusal: Nothing tells.
    """
    if args.hr or (args.sr and not networks):
        return None
    return _one_scale(networks, '--hr is missing', 'how many times photos are to be enlarged. Give')


def _one_scale(networks: Mapping[str, 'Network'], missing: str, what: str) -> int:
    scales = sorted({network.scale for network in networks.values()})
    if len(scales) != 1:
        found = f'networks enlarge {" and ".join(map(str, scales))} times' if scales else 'there is no network'
        raise Refusal(f'{missing}, and {found}, so nothing tells {what} networks of one scale.')
    return scales[0]


def _folders(args: argparse.Namespace, finished: Mapping[str, Path]
             ) -> Iterator[tuple[str, Path | None, Path | None, dict[str, Path]]]:
    """Name, ground truth, LR and finished results of each set; of photos there is LR alone."""
    names = args.names or [_set_name(folder) for folder in folders(args)]
    if len(set(names)) < len(names):
        raise Refusal(f'two sets have one name: {", ".join(names)}. Name them with --names.')
    without = [None] * len(names)
    for name, hr, lr in zip(names, args.hr or without, args.lr or without, strict=True):
        yield name, hr, lr, {method: _of_set(folder, name, names) for method, folder in finished.items()}


def _set_name(folder: Path) -> str:
    folder = folder.resolve()
    return folder.parent.name if folder.name.lower() in _PARTS else folder.name


def _of_set(folder: Path, name: str, names: Sequence[str]) -> Path:
    """What is finished of a set: a folder of its name, or where there is but one set, what is right inside."""
    inner = folder / name
    if inner.is_dir():
        return inner
    if len(names) > 1:
        raise Refusal(f'{inner} is no folder. Expected one for each of the sets {", ".join(names)} in {folder}.')
    return folder
