"""The arguments of `basicsr-kd bench`, and which of them go together. Imports nothing heavy."""
import argparse
import re
from collections.abc import Callable
from pathlib import Path

from basicsr_kd.cli.common import Refusal, add_param_key
from basicsr_kd.deploy.export.formats import KINDS

EXAMPLE = """basicsr-kd bench --weights teacher.pth student.pth --plot bench.png
         basicsr-kd bench --weights teacher.pth student.pth --threads 1,4 --dtype fp32,bf16 --json bench.json
         basicsr-kd bench --weights student.pth --runtime openvino --dtype fp32,int8 --calibration DIV2K/LRx4
         basicsr-kd bench --weights student.pth exported/student-x4-int8.xml"""

PRECISIONS = ('fp32', 'bf16', 'int8')
RUNTIMES = ('torch', *KINDS)
_LEAST_TURNS, _LEAST_SIDE = 3, 16


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; their help is wrapped by hand, for 80 columns."""
    parser.usage = 'basicsr-kd bench --weights FILE ... [options]'
    parser.formatter_class = argparse.RawTextHelpFormatter
    parser.add_argument('--weights', metavar='FILE', nargs='+', type=Path, required=True,
                        help='trained networks, .pth or .safetensors, which are written\nfor each runtime first, or '
                             'files of a runtime (.onnx, .xml,\n.param), which run there alone')
    add_param_key(parser)
    parser.add_argument('--size', metavar='N', type=_size, default=(128, 128),
                        help='side of the image to enlarge, or HEIGHTxWIDTH (default: 128)')
    parser.add_argument('--threads', metavar='N,N', type=_list(_threads), default=[1],
                        help='numbers of threads (default: 1)')
    parser.add_argument('--dtype', metavar='NAME,NAME', type=_list(_one_of(PRECISIONS)),
                        help=f'of {", ".join(PRECISIONS)} (default: fp32, and bf16 where\nthis CPU is fast in it); '
                             'int8 is for onnxruntime and\nopenvino')
    parser.add_argument('--runtime', metavar='NAME,NAME', type=_list(_one_of(RUNTIMES)),
                        help=f'of {", ".join(RUNTIMES)} (default: those\nthat are installed)')
    parser.add_argument('--calibration', metavar='DIR', type=Path, help='for int8: low-resolution images')
    parser.add_argument('--num', metavar='N', type=int, default=64, help='how many of them (default: 64)')
    parser.add_argument('--turns', metavar='N', type=int, default=10, help='how often each runs (default: 10)')
    parser.add_argument('--budget', metavar='SECONDS', type=float, default=60.0,
                        help=f'no new turn starts after this time, once there are {_LEAST_TURNS}\n(default: 60)')
    parser.add_argument('--json', metavar='FILE', type=Path,
                        help='also write the figures there; `basicsr-kd report` takes\nthem beside those of `evaluate`')
    parser.add_argument('--plot', metavar='FILE', type=Path, help='also write bars, a .png')
    parser.add_argument('--force', action='store_true', help='write over files that exist')


def check_arguments(args: argparse.Namespace) -> None:
    """Check that the arguments go together; the files that they name are checked later.

    Raises:
        Refusal: Some arguments do not go together.
    """
    int8 = 'int8' in (args.dtype or ())
    if int8 and not args.calibration:
        raise Refusal('--dtype int8 needs --calibration DIR: low-resolution images like those that the network will '
                      'get, on which the ranges of its values are measured.')
    if args.calibration and not int8:
        raise Refusal('--calibration is for --dtype int8. Leave it out, or add int8.')
    for name, least in (('turns', _LEAST_TURNS), ('num', 1), ('budget', 0)):
        if getattr(args, name) < least:
            raise Refusal(f'--{name} is {getattr(args, name)}. Expected at least {least}.')
    if args.plot and args.plot.suffix.lower() != '.png':
        raise Refusal(f'--plot {args.plot}: expected a name that ends in .png.')


def _size(text: str) -> tuple[int, int]:
    found = re.fullmatch(r'(\d+)(?:x(\d+))?', text)
    height, width = (int(found[1]), int(found[2] or found[1])) if found else (0, 0)
    if min(height, width) < _LEAST_SIDE:
        raise argparse.ArgumentTypeError(f'{text} is no size. Expected a side, as 128, or HEIGHTxWIDTH, of at least '
                                         f'{_LEAST_SIDE} pixels')
    return height, width


def _list(of: Callable[[str], int | str]) -> Callable[[str], list[int | str]]:
    """A type of argument: several values with commas between them."""
    return lambda text: list(dict.fromkeys(of(part.strip()) for part in text.split(',')))


def _threads(text: str) -> int:
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f'{text!r} is no number of threads. Expected numbers from 1, as 1,2')
    return int(text)


def _one_of(known: tuple[str, ...]) -> Callable[[str], str]:
    def check(text: str) -> str:
        if text not in known:
            raise argparse.ArgumentTypeError(f'{text!r} is none of {", ".join(known)}')
        return text
    return check
