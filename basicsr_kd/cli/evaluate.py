"""`basicsr-kd evaluate`: measures networks on images or clips: quality, size, speed, memory, beside bicubic."""
import argparse
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from basicsr_kd.cli.common import Refusal, check_folder, check_outputs, refuse, usable_device, write_json
from basicsr_kd.cli.evaluate_arguments import (
    BICUBIC,
    add_arguments,
    check_arguments,
    check_for_clips,
    check_for_images,
    folders,
)
from basicsr_kd.errors import BasicSRKDError

if TYPE_CHECKING:
    from basicsr_kd.evaluation.checks import CheckedSets
    from basicsr_kd.evaluation.clip_sets import ClipSet
    from basicsr_kd.evaluation.methods import Network
    from basicsr_kd.evaluation.protocol import Protocol
    from basicsr_kd.evaluation.schema import Evaluation
    from basicsr_kd.evaluation.scorer import Scorer
    from basicsr_kd.evaluation.sets import ImageSet

EXAMPLE = """basicsr-kd evaluate --weights teacher.pth student.pth bicubic --hr Set5/HR --lr Set5/LRx4
         basicsr-kd evaluate --sr results/student --hr Set5/HR --border 4 --metrics psnr lpips
         basicsr-kd evaluate --weights teacher.pth student.pth bicubic --lr photos
         basicsr-kd evaluate --weights student.pth bicubic --teacher teacher.pth --lr photos
         basicsr-kd evaluate --weights tecogan.pth bicubic --hr Vid4/GT --lr Vid4/BDx4"""

__all__ = ['EXAMPLE', 'add_arguments', 'run']

_PARTS = ('hr', 'gt', 'gtmod12', 'original', 'lr', 'lrx4', 'lq')  # folder names that do not tell which set it is


def run(args: argparse.Namespace) -> int:
    """Evaluate; on failure one line goes to stderr, nothing is written, and the exit status is 2."""
    try:
        check_arguments(args)
        check_outputs([args.json], args.force)
        if args.save_images:
            check_folder(args.save_images, args.force)
        from basicsr_kd import plugin
        plugin.register()
        return _evaluate(args)
    except (BasicSRKDError, OSError) as error:
        return refuse('evaluate', error)


def _evaluate(args: argparse.Namespace) -> int:
    from basicsr_kd.deploy.open import name_of
    from basicsr_kd.evaluation.methods import unique_names
    from basicsr_kd.evaluation.sets import are_clips
    from basicsr_kd.report.text import evaluation_text
    device = usable_device(args.device)
    weights = [Path(file) for file in args.weights]
    names = unique_names([*weights, *args.sr], [*map(name_of, weights),
                                                *(folder.resolve().name for folder in args.sr)])
    files = dict(zip(names, weights, strict=False))
    finished = dict(zip(names[len(weights):], args.sr, strict=True))
    clips = are_clips(folders(args))
    (check_for_clips if clips else check_for_images)(args)
    result = (_of_clips if clips else _of_images)(args, files, finished, device)
    unwritten = None
    try:
        if args.json:  # before printing, since the output may go to a pipe that closes
            write_json(args.json, msgspec.to_builtins(result))
    except (OSError, ValueError) as error:
        unwritten = Refusal(f'{args.json} cannot be written: {error}. The figures are above, in short.')
    print(evaluation_text(result))
    if unwritten:
        raise unwritten
    if args.json:
        print(f'\nWritten: {args.json}')
    return 0


def _of_images(args: argparse.Namespace, files: Mapping[str, Path], finished: Mapping[str, Path],
               device: str) -> 'Evaluation':
    from basicsr_kd.errors import BadImageError
    from basicsr_kd.evaluation.checks import check_sets
    from basicsr_kd.evaluation.protocol import Protocol
    sets = image_sets(args, finished)
    networks = _networks(args, files, device)
    teacher = _teacher(args, device)
    for network in [*networks.values(), *([teacher] if teacher else [])]:
        if network.trained.recurrent:
            raise Refusal(f'{network.file} goes from frame to frame, and {folders(args)[0]} has images. Expected '
                          'clips: a folder with a folder of frames a clip.')
    try:
        checked = check_sets(sets, args.skip_bad, sys.stderr.isatty(), scale_of_photos(args, networks, teacher))
    except BadImageError as error:
        raise Refusal(f'{error} With --skip-bad such images are left out.') from None
    border = args.border if args.border is not None else checked.scale or 0
    return _measured(args, files, networks, finished, checked, Protocol(
        args.metrics, border, args.channel, args.lpips_net, args.lpips_weights, args.inception_weights), device,
        teacher)


def _of_clips(args: argparse.Namespace, files: Mapping[str, Path], finished: Mapping[str, Path],
              device: str) -> 'Evaluation':
    from basicsr_kd.evaluation.checks import check_clips
    from basicsr_kd.evaluation.protocol import Protocol
    from basicsr_kd.metrics.clip_protocol import PROTOCOLS
    networks = _networks(args, files, device)
    for network in networks.values():
        if network.trained.recurrent and args.tile:
            raise Refusal(f'--tile is for networks of images, and {network.file} goes from frame to frame. Leave it '
                          'out.')
    sets = clip_sets(args, finished, networks)
    check_clips(sets, args.metrics, PROTOCOLS[args.protocol], sys.stderr.isatty())
    return _measured(args, files, networks, finished, sets, Protocol(
        args.metrics, border=0, lpips_weights=args.lpips_weights, inception_weights=args.inception_weights,
        clips=args.protocol, frame_rate=args.frame_rate), device)


def _measured(args: argparse.Namespace, files: Mapping[str, Path], networks: Mapping[str, 'Network'],
              finished: Mapping[str, Path], sets: 'CheckedSets | Sequence[ClipSet]', protocol: 'Protocol',
              device: str, teacher: 'Network | None' = None) -> 'Evaluation':
    from basicsr_kd.evaluation.evaluate import evaluate
    from basicsr_kd.evaluation.methods import FinishedImages
    from basicsr_kd.utils.modes import fast_formats
    methods = {name: networks.get(name) for name in files}  # None for names that are no network: bicubic
    return evaluate({**methods, **{name: FinishedImages(name, folder) for name, folder in finished.items()}}, sets,
                    _scorer(protocol, device), teacher=teacher, lr_size=args.lr_size,
                    formats=() if args.no_speed else fast_formats(device), save_images=args.save_images,
                    progress=sys.stderr.isatty())


def _networks(args: argparse.Namespace, files: Mapping[str, Path], device: str) -> dict[str, 'Network']:
    from basicsr_kd.deploy.pieces import Tiling
    from basicsr_kd.evaluation.methods import Network
    tiling = Tiling(args.tile)
    return {name: Network(name, file, device, tiling, args.param_key) for name, file in files.items()
            if str(file) != BICUBIC}


def _teacher(args: argparse.Namespace, device: str) -> 'Network | None':
    from basicsr_kd.deploy.open import name_of
    from basicsr_kd.deploy.pieces import Tiling
    from basicsr_kd.evaluation.methods import Network
    return Network(name_of(args.teacher), args.teacher, device, Tiling(args.tile),
                   args.param_key) if args.teacher else None


def _scorer(protocol: 'Protocol', device: str) -> 'Scorer':
    from basicsr_kd.evaluation.scorer import Scorer
    from basicsr_kd.report.text import left_out_text
    scorer = Scorer(protocol, device)
    reasons = left_out_text(scorer.left_out)
    if not scorer.metrics:
        raise Refusal(f'nothing is left to measure. {" ".join(reasons)}')
    for reason in reasons:  # now, not after hours
        print(f'basicsr-kd evaluate: {reason}', file=sys.stderr)
    return scorer


def image_sets(args: argparse.Namespace, finished: Mapping[str, Path]) -> list['ImageSet']:
    """The sets of images; `finished` has folders by the name of their method.

    Raises:
        Refusal: Two sets have one name, or one has no folder of finished images.
        EvaluationError: Images do not pair.
    """
    from basicsr_kd.evaluation.sets import ImageSet, pair_folders
    return [ImageSet(name, hr, lr, pair_folders(hr, lr, results)) for name, hr, lr, results in _folders(args, finished)]


def clip_sets(args: argparse.Namespace, finished: Mapping[str, Path],
              networks: Mapping[str, 'Network']) -> list['ClipSet']:
    """The sets of clips; where there is no LR, it will be made for the networks.

    Raises:
        Refusal: As in `image_sets`; or nothing tells the one scale of LR.
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


def scale_of_photos(args: argparse.Namespace, networks: Mapping[str, 'Network'],
                    teacher: 'Network | None' = None) -> int | None:
    """How many times photos without ground truth are enlarged; None where finished images or ground truth tell.

    Raises:
        Refusal: Nothing tells the scale.
    """
    if teacher:
        return teacher.scale
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
    """Yield each set's name, ground truth, LR and finished results; photos have LR only."""
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
    """The finished results of a set: the folder inside named like the set, or `folder` itself if it is the only set."""
    inner = folder / name
    if inner.is_dir():
        return inner
    if len(names) > 1:
        raise Refusal(f'{inner} is no folder. Expected one for each of the sets {", ".join(names)} in {folder}.')
    return folder
