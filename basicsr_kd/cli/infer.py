"""`basicsr-kd infer`: enlarges a clip, a video or images, without ground truth."""

import argparse
import sys
from typing import TYPE_CHECKING

from basicsr_kd.cli.devices import usable_device
from basicsr_kd.cli.infer_arguments import add_arguments, check_arguments
from basicsr_kd.cli.outputs import Refusal, check_folder, check_outputs, refuse

if TYPE_CHECKING:
    from basicsr_kd.evaluation.methods import Network

EXAMPLE = """basicsr-kd infer --weights tecogan.pth --input holiday.mp4 --output holiday_x4.mp4
         basicsr-kd infer --weights tecogan.pth --input Vid4/LR/calendar --output results/calendar
         basicsr-kd infer --weights student.pth --input photos --output photos_x4 --tile 256"""
_FPS = 25.0  # where neither the input nor the user says

__all__ = ['EXAMPLE', 'add_arguments', 'run']


def run(args: argparse.Namespace) -> int:
    """Enlarges; what cannot be done is one line on stderr and exit status 2, with nothing written."""
    try:
        check_arguments(args)
        from basicsr_kd import plugin
        plugin.register()
        from basicsr_kd.checkpoint import CheckpointError
        from basicsr_kd.data.errors import ClipError
        from basicsr_kd.deploy.errors import InferError
        from basicsr_kd.evaluation.errors import EvaluationError
    except Refusal as error:
        return refuse('infer', error)
    try:
        return _infer(args)
    except (Refusal, InferError, EvaluationError, ClipError, CheckpointError, OSError) as error:
        return refuse('infer', error)


def _infer(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from basicsr_kd.deploy.infer import enlarge, is_recurrent, precision
    from basicsr_kd.deploy.results import VIDEO, writing
    from basicsr_kd.deploy.sources import check_source, open_source
    from basicsr_kd.evaluation.methods import Network
    _check_output(args)
    device = usable_device(args.device)
    progress = sys.stderr.isatty()
    with precision(device, args.half):
        network = Network(args.weights.stem, args.weights, device, args.tile)
        recurrent = is_recurrent(network)
        if recurrent and args.tile:
            raise Refusal(f'--tile is for networks of images, and {args.weights} goes from frame to frame. Leave it '
                          'out.')
        clip = recurrent or args.output.suffix.lower() == VIDEO
        source = open_source(args.input, clip)
        count = check_source(source, clip, progress)
        with writing(args.output, args.fps or source.fps or _FPS) as write:
            for name, image in tqdm(enlarge(network, source), 'enlarging', count, unit=' frames',
                                    disable=not progress):
                write(name, image)
    print(_summary(args, network, count))
    return 0


def _check_output(args: argparse.Namespace) -> None:
    from basicsr_kd.deploy.results import VIDEO
    from basicsr_kd.evaluation.images import SUFFIXES
    suffix = args.output.suffix.lower()
    if suffix not in (VIDEO, *SUFFIXES):
        check_folder(args.output, args.force)
        return
    if suffix in SUFFIXES and args.input.exists() and args.input.suffix.lower() not in SUFFIXES:
        raise Refusal(f'--output {args.output} is one image, and --input {args.input} is none. Expected a folder, or '
                      'a name that ends in .mp4.')
    check_outputs([args.output], args.force)


def _summary(args: argparse.Namespace, network: 'Network', count: int) -> str:
    frames = f'{count} frame{"s" if count > 1 else ""}'
    return f'{frames} enlarged {network.scale} times with {args.weights}. Written: {args.output}'
