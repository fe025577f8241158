"""The arguments of `basicsr-kd infer`, and which of them go together. Imports nothing heavy."""
import argparse
import math
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from basicsr_kd.cli.common import Refusal, add_param_key
from basicsr_kd.deploy.export.formats import KINDS
from basicsr_kd.deploy.pieces import OVERLAP

if TYPE_CHECKING:
    from basicsr_kd.deploy.photos import Colour

EXAMPLE = """basicsr-kd infer --weights tecogan.pth --input holiday.mp4 --output holiday_x4.mp4
         basicsr-kd infer --weights tecogan.pth --input Vid4/LR/calendar --output results/calendar
         basicsr-kd infer --weights student.pth --input photos --output photos_x4 --tile 256
         basicsr-kd infer --weights student.pth --input photos --output photos_x4 --runtime auto"""
GPU_BATCH = 4  # tiles at once; on a CPU one at a time is as fast
RUNTIMES = ('torch', *KINDS, 'auto')
_OTHER_VIDEOS = ('.avi', '.mkv', '.mov', '.webm', '.m4v', '.mpg', '.mpeg', '.wmv', '.flv')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; their help is wrapped by hand, for 80 columns."""
    parser.usage = 'basicsr-kd infer --weights FILE --input PATH --output PATH [options]'
    parser.formatter_class = argparse.RawTextHelpFormatter
    parser.add_argument('--weights', metavar='FILE', type=Path, required=True,
                        help='the trained network, whose architecture is read off the\nfile; or what `basicsr-kd '
                             'export` wrote: .onnx, .xml, .param')
    add_param_key(parser)
    parser.add_argument('--input', metavar='PATH', type=Path, required=True,
                        help='for FRNet (TecoGAN): a clip, which is a folder of\nnumbered frames of one size, or a '
                             'video; for networks of\nimages: a folder, one image or a video')
    parser.add_argument('--output', metavar='PATH', type=Path, required=True,
                        help='a folder for PNGs; a video, if it ends in .mp4 (MPEG-4,\nlossy, without sound); for one '
                             'image also a name that\nends in .png, .jpg, .webp or .tif. Grey stays grey, 16\nbits '
                             'stay 16 bits, alpha and colour profile are kept;\nwhat a format cannot hold is refused')
    parser.add_argument('--background', metavar='COLOUR', type=_colour,
                        help='white, black or RRGGBB: put transparent images on this\ncolour instead of enlarging '
                             'their alpha')
    parser.add_argument('--fps', metavar='F', type=float,
                        help='frames a second of an .mp4 (default: those of the input\nvideo, else 25)')
    parser.add_argument('--tile', metavar='N', type=int, default=0,
                        help='give networks of images pieces of N low-resolution\npixels, where memory is too small '
                             'for whole images\n(default: whole images)')
    parser.add_argument('--overlap', metavar='N', type=int,
                        help='low-resolution pixels that the network sees around the\npart of a tile that is kept '
                             f'(default: {OVERLAP}; with tiles of\n128 RealESRGAN_x4plus then has 47 dB (PSNR) to '
                             'its\nresult on the whole image, realesr-general-x4v3 65 dB)')
    parser.add_argument('--batch', metavar='N', type=int,
                        help=f'pieces that the network gets at once (default: 1 on a\nCPU, {GPU_BATCH} on a GPU)')
    parser.add_argument('--half', action='store_true',
                        help='run in half precision: fp16 on a GPU, bf16 on a CPU\nthat is fast in it')
    parser.add_argument('--runtime', metavar='NAME', choices=RUNTIMES,
                        help='the program that runs it: torch, onnxruntime,\nopenvino, ncnn; auto (OpenVINO on a CPU, '
                             'in bf16 where\nthat is fast; PyTorch in half precision on a GPU; it\n'
                             'prints what that costs).\n'
                             'A checkpoint is written for a runtime once, and kept\n'
                             "(default: the file's own; of a checkpoint torch)")
    parser.add_argument('--device', metavar='NAME', help='cpu, cuda, cuda:1 ... (default: a GPU, if there is one)')
    parser.add_argument('--force', action='store_true',
                        help='write over an output that exists; other files in a\nfolder stay')


def check_arguments(args: argparse.Namespace) -> None:
    """Check that the arguments go together; the files that they name are checked later.

    Raises:
        Refusal: Some arguments do not go together.
    """
    suffix = args.output.suffix.lower()
    if suffix in _OTHER_VIDEOS:
        raise Refusal(f'--output {args.output} ends in {suffix}. Videos are written as .mp4.')
    if args.output.resolve() == args.input.resolve():
        raise Refusal(f'--output is --input, {args.input}. Expected another place: the input is kept.')
    for name, least in (('tile', 0), ('overlap', 0), ('batch', 1)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise Refusal(f'--{name} is {value}. Expected at least {least}.')
        if value is not None and not args.tile and name != 'tile':
            raise Refusal(f'--{name} is for images in pieces. Expected --tile beside it.')
    overlap = OVERLAP if args.overlap is None else args.overlap
    if args.tile and args.tile < 2 * overlap:
        raise Refusal(f'--tile {args.tile} is smaller than twice the overlap of {overlap}: more would be thrown away '
                      f'than kept. Expected at least {2 * overlap}, or a smaller --overlap.')
    if args.half and args.runtime in ('auto', 'onnxruntime', 'ncnn'):
        raise Refusal(f'--half is for torch and openvino; --runtime {args.runtime} ' + (
            'takes half precision where it is fast.' if args.runtime == 'auto' else 'computes as its file is.'))
    if args.fps is not None and not 0 < args.fps < math.inf:
        raise Refusal(f'--fps is {args.fps:g}. Expected more than 0.')
    if args.fps is not None and suffix != '.mp4':
        raise Refusal(f'--fps is for videos, and --output {args.output} does not end in .mp4.')


def _colour(text: str) -> 'Colour':
    """A type of argument: a colour, as RGB of 0 to 255."""
    from PIL import ImageColor
    for name in (text, f'#{text}'):
        with suppress(ValueError):
            found = ImageColor.getrgb(name)
            if len(found) == 3:
                return found
    raise argparse.ArgumentTypeError(f'{text} is no colour. Expected white, black or RRGGBB, as ff8800.')
