"""`basicsr-kd evaluate`: measures networks on images or clips: quality, size, speed, memory, beside bicubic."""

import argparse
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from basicsr_kd.cli.devices import usable_device
from basicsr_kd.cli.evaluate_arguments import (
    BICUBIC,
    add_arguments,
    check_arguments,
    check_for_clips,
    check_for_images,
    folders,
)
from basicsr_kd.cli.evaluate_sets import clip_sets, image_sets, scale_of_photos
from basicsr_kd.cli.outputs import Refusal, check_folder, check_outputs, refuse, write_json

if TYPE_CHECKING:
    from basicsr_kd.evaluation.methods import Bicubic, Method, Network
    from basicsr_kd.evaluation.protocol import Protocol
    from basicsr_kd.evaluation.scorer import Scorer

EXAMPLE = """basicsr-kd evaluate --weights teacher.pth student.pth bicubic --hr Set5/HR --lr Set5/LRx4
         basicsr-kd evaluate --sr results/student --hr Set5/HR --border 4 --metrics psnr lpips
         basicsr-kd evaluate --weights teacher.pth student.pth bicubic --lr photos
         basicsr-kd evaluate --weights tecogan.pth bicubic --hr Vid4/GT --lr Vid4/BDx4"""

__all__ = ['EXAMPLE', 'add_arguments', 'run']


def run(args: argparse.Namespace) -> int:
    """Evaluates; what cannot be done is one line on stderr and exit status 2, with nothing written."""
    try:
        check_arguments(args)
        check_outputs([args.json], args.force)
        if args.save_images:
            check_folder(args.save_images, args.force)
        from basicsr_kd import plugin
        plugin.register()
        from basicsr_kd.checkpoint import CheckpointError
        from basicsr_kd.data.errors import ClipError
        from basicsr_kd.deploy.errors import InferError
        from basicsr_kd.evaluation.errors import EvaluationError
        from basicsr_kd.metrics.errors import MetricError
    except Refusal as error:
        return refuse('evaluate', error)
    try:
        return _evaluate(args)
    except (Refusal, EvaluationError, ClipError, InferError, CheckpointError, MetricError, OSError) as error:
        return refuse('evaluate', error)


def _evaluate(args: argparse.Namespace) -> int:
    from basicsr_kd.evaluation.kinds import are_clips
    from basicsr_kd.evaluation.methods import unique_names
    from basicsr_kd.evaluation.table import evaluation_text
    device = usable_device(args.device)
    weights = [Path(file) for file in args.weights]
    names = unique_names([*weights, *args.sr], [*(file.stem for file in weights),
                                                *(folder.resolve().name for folder in args.sr)])
    files = dict(zip(names, weights, strict=False))
    finished = dict(zip(names[len(weights):], args.sr, strict=True))
    clips = are_clips(folders(args))
    (check_for_clips if clips else check_for_images)(args)
    result = (_of_clips if clips else _of_images)(args, files, finished, device)
    unwritten = None
    try:
        write_json(args.json, result)  # before printing, which may end in a pipe that closes
    except (OSError, ValueError) as error:
        unwritten = Refusal(f'{args.json} cannot be written: {error}. The figures are above, in short.')
    print(evaluation_text(result))
    if unwritten:
        raise unwritten
    if args.json:
        print(f'\nWritten: {args.json}')
    return 0


def _of_images(args: argparse.Namespace, files: Mapping[str, Path], finished: Mapping[str, Path],
               device: str) -> dict[str, Any]:
    from basicsr_kd.deploy.infer import is_recurrent
    from basicsr_kd.evaluation.checks import check_sets
    from basicsr_kd.evaluation.errors import BadImageError
    from basicsr_kd.evaluation.evaluate import evaluate
    from basicsr_kd.evaluation.methods import Bicubic
    from basicsr_kd.evaluation.protocol import Protocol
    sets = image_sets(args, finished)
    networks = _networks(args, files, device)
    for network in networks.values():
        if is_recurrent(network):
            raise Refusal(f'{network.file} goes from frame to frame, and {folders(args)[0]} has images. Expected '
                          'clips: a folder with a folder of frames a clip.')
    try:
        checked = check_sets(sets, args.skip_bad, sys.stderr.isatty(), scale_of_photos(args, networks))
    except BadImageError as error:
        raise Refusal(f'{error} With --skip-bad such images are left out.') from None
    border = args.border if args.border is not None else checked.scale or 0
    scorer = _scorer(Protocol(args.metrics, border, args.channel, args.lpips_net, args.lpips_weights,
                              args.inception_weights), device)
    methods = _methods(files, networks, finished, lambda name: Bicubic(name, checked.scale or 1))
    return evaluate(methods, checked, scorer, **_manner(args, device))


def _of_clips(args: argparse.Namespace, files: Mapping[str, Path], finished: Mapping[str, Path],
              device: str) -> dict[str, Any]:
    from basicsr_kd.deploy.infer import is_recurrent
    from basicsr_kd.evaluation.clip_checks import check_clips
    from basicsr_kd.evaluation.evaluate_clips import ClipBicubic, evaluate_clips
    from basicsr_kd.evaluation.protocol import Protocol
    from basicsr_kd.metrics.video_protocol import PROTOCOLS
    networks = _networks(args, files, device)
    for network in networks.values():
        if is_recurrent(network) and args.tile:
            raise Refusal(f'--tile is for networks of images, and {network.file} goes from frame to frame. Leave it '
                          'out.')
    sets = clip_sets(args, finished, networks)
    check_clips(sets, args.metrics, PROTOCOLS[args.protocol], sys.stderr.isatty())
    scorer = _scorer(Protocol(args.metrics, border=0, lpips_weights=args.lpips_weights,
                              inception_weights=args.inception_weights, clips=args.protocol), device)
    methods = _methods(files, networks, finished, lambda name: ClipBicubic(name, sets[0].scale or 1))
    return evaluate_clips(methods, sets, scorer, **_manner(args, device))


def _networks(args: argparse.Namespace, files: Mapping[str, Path], device: str) -> dict[str, 'Network']:
    from basicsr_kd.evaluation.methods import Network
    return {name: Network(name, file, device, args.tile) for name, file in files.items() if str(file) != BICUBIC}


def _methods(files: Mapping[str, Path], networks: Mapping[str, 'Network'], finished: Mapping[str, Path],
             bicubic: Callable[[str], 'Bicubic']) -> list['Method']:
    """In the order in which they were given."""
    from basicsr_kd.evaluation.methods import FinishedImages
    return [*(networks[name] if name in networks else bicubic(name) for name in files),
            *(FinishedImages(name, folder) for name, folder in finished.items())]


def _scorer(protocol: 'Protocol', device: str) -> 'Scorer':
    from basicsr_kd.evaluation.scorer import Scorer
    from basicsr_kd.evaluation.table import left_out_text
    scorer = Scorer(protocol, device)
    reasons = left_out_text(scorer.left_out)
    if not scorer.metrics:
        raise Refusal(f'nothing is left to measure. {" ".join(reasons)}')
    for reason in reasons:  # now, not after hours
        print(f'basicsr-kd evaluate: {reason}', file=sys.stderr)
    return scorer


def _manner(args: argparse.Namespace, device: str) -> dict[str, Any]:
    from basicsr_kd.metrics.precision import fast_formats
    return {'lr_size': args.lr_size, 'formats': () if args.no_speed else fast_formats(device),
            'save_images': args.save_images, 'progress': sys.stderr.isatty()}
