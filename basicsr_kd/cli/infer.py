"""`basicsr-kd infer`: enlarges a clip, a video or images, without ground truth."""
import argparse
import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from basicsr_kd.cli.common import Refusal, check_folder, check_outputs, refuse, usable_device
from basicsr_kd.errors import BasicSRKDError

if TYPE_CHECKING:
    from basicsr_kd.deploy.network import TrainedNetwork

EXAMPLE = """basicsr-kd infer --weights tecogan.pth --input holiday.mp4 --output holiday_x4.mp4
         basicsr-kd infer --weights tecogan.pth --input Vid4/LR/calendar --output results/calendar
         basicsr-kd infer --weights student.pth --input photos --output photos_x4 --tile 256"""
_FPS = 25.0  # where neither the input nor the user says

__all__ = ['EXAMPLE', 'add_arguments', 'run']

_OTHER_VIDEOS = ('.avi', '.mkv', '.mov', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv')


def run(args: argparse.Namespace) -> int:
    """Enlarges; what cannot be done is one line on stderr and exit status 2, with nothing written."""
    try:
        check_arguments(args)
        from basicsr_kd import plugin
        plugin.register()
        return _infer(args)
    except (BasicSRKDError, OSError) as error:
        return refuse('infer', error)


def _infer(args: argparse.Namespace) -> int:
    from tqdm import tqdm

    from basicsr_kd.archs.probe import is_recurrent
    from basicsr_kd.deploy.infer import enlarge, precision
    from basicsr_kd.deploy.network import TrainedNetwork
    from basicsr_kd.deploy.results import VIDEO, writing
    from basicsr_kd.deploy.sources import check_source, open_source
    _check_output(args)
    device = usable_device(args.device)
    progress = sys.stderr.isatty()
    with precision(device, args.half):
        network = TrainedNetwork(args.weights.stem, args.weights, device, args.tile)
        recurrent = is_recurrent(network.net)
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
    from basicsr_kd.utils.images import SUFFIXES
    suffix = args.output.suffix.lower()
    if suffix not in (VIDEO, *SUFFIXES):
        check_folder(args.output, args.force)
        return
    if suffix in SUFFIXES and args.input.exists() and args.input.suffix.lower() not in SUFFIXES:
        raise Refusal(f'--output {args.output} is one image, and --input {args.input} is none. Expected a folder, or '
                      'a name that ends in .mp4.')
    check_outputs([args.output], args.force)


def _summary(args: argparse.Namespace, network: 'TrainedNetwork', count: int) -> str:
    frames = f'{count} frame{"s" if count > 1 else ""}'
    return f'{frames} enlarged {network.scale} times with {args.weights}. Written: {args.output}'


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds them. Their help is wrapped by hand, for 80 columns."""
    parser.usage = 'basicsr-kd infer --weights FILE --input PATH --output PATH [options]'
    parser.formatter_class = argparse.RawTextHelpFormatter
    parser.add_argument('--weights', metavar='FILE', type=Path, required=True,
                        help='the trained network, .pth, .safetensors or .param\n'
                             '(of ncnn), whose architecture is read off the file')
    parser.add_argument('--input', metavar='PATH', type=Path, required=True,
                        help='for FRNet (TecoGAN): a clip, which is a folder of\nnumbered frames of one size, or a '
                             'video; for networks of\nimages: a folder, one image or a video')
    parser.add_argument('--output', metavar='PATH', type=Path, required=True,
                        help='a folder for PNGs; a video, if it ends in .mp4 (MPEG-4,\nlossy, without sound); for one '
                             'image also the name of an\nimage')
    parser.add_argument('--fps', metavar='F', type=float,
                        help='frames a second of an .mp4 (default: those of the video\nthat --input is, else 25)')
    parser.add_argument('--tile', metavar='N', type=int, default=0,
                        help='give networks of images pieces of N low-resolution\npixels, where memory is too small '
                             'for whole images\n(default: whole images)')
    parser.add_argument('--half', action='store_true',
                        help='run in half precision: fp16 on a GPU, bf16 on a CPU\nthat is fast in it')
    parser.add_argument('--device', metavar='NAME', help='cpu, cuda, cuda:1 ... (default: a GPU, if there is one)')
    parser.add_argument('--force', action='store_true',
                        help='write over an output that exists; other files in a\nfolder stay')


def check_arguments(args: argparse.Namespace) -> None:
    """Which arguments go together; what they name is looked at later.

    Raises:
        Refusal: Some do not.
    """
    suffix = args.output.suffix.lower()
    if suffix in _OTHER_VIDEOS:
        raise Refusal(f'--output {args.output} ends in {suffix}. Videos are written as .mp4.')
    if args.output.resolve() == args.input.resolve():
        raise Refusal(f'--output is --input, {args.input}. Expected another place: the input is kept.')
    if args.tile < 0:
        raise Refusal(f'--tile is {args.tile}. Expected at least 0.')
    if args.fps is not None and not 0 < args.fps < math.inf:
        raise Refusal(f'--fps is {args.fps:g}. Expected more than 0.')
    if args.fps is not None and suffix != '.mp4':
        raise Refusal(f'--fps is for videos, and --output {args.output} does not end in .mp4.')
