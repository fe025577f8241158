"""The arguments of `basicsr-kd infer`: what they are, and which go together. Imports nothing heavy."""
import argparse
import math
from pathlib import Path

from basicsr_kd.cli.outputs import Refusal

_OTHER_VIDEOS = ('.avi', '.mkv', '.mov', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds them. Their help is wrapped by hand, for 80 columns."""
    parser.usage = 'basicsr-kd infer --weights FILE --input PATH --output PATH [options]'
    parser.formatter_class = argparse.RawTextHelpFormatter
    parser.add_argument('--weights', metavar='FILE', type=Path, required=True,
                        help='the trained network, .pth or .safetensors, whose\narchitecture is read off the file')
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
