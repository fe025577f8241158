"""`basicsr-kd export`: writes a trained network for other programs, and tries it there."""
import argparse
from pathlib import Path
from typing import Any

from basicsr_kd.cli.common import Refusal, add_param_key, check_outputs, refuse, say, write_json
from basicsr_kd.deploy.export.formats import FORMATS, QUANTISED
from basicsr_kd.errors import BasicSRKDError

EXAMPLE = """basicsr-kd export --weights student.pth --format onnx --out student.onnx
         basicsr-kd export --weights student.pth --format ncnn --out upscayl
         basicsr-kd export --weights student.pth --format openvino --int8 --calibration DIV2K/LRx4 --out exported"""

__all__ = ['EXAMPLE', 'add_arguments', 'run']

NOT_WORKING = 1  # the exit status for a file that does not work
_IMAGES, _SIDE = 3, 128  # of --images: how many are tried, and the side of the square in the middle


def run(args: argparse.Namespace) -> int:
    """Write a network and try it; on failure one line goes to stderr, and nothing is left behind.

    The exit status is 2 then, or 1 if a file was written that does not do what the network does.
    """
    from basicsr_kd.deploy.export.export import ToleranceError
    from basicsr_kd.deploy.export.verify import trial_table
    try:
        return _export(args)
    except ToleranceError as error:
        print(trial_table(error.trials))
        refuse('export', error)
        return NOT_WORKING
    except (BasicSRKDError, OSError) as error:
        return refuse('export', error)


def _export(args: argparse.Namespace) -> int:
    check_arguments(args)
    import msgspec

    from basicsr_kd import plugin
    from basicsr_kd.deploy.export.compare import way_table
    from basicsr_kd.deploy.export.export import Job, export, plan
    from basicsr_kd.deploy.export.verify import trial_table
    from basicsr_kd.pruning import read_calibration
    plugin.register()
    precision = 'int8' if args.int8 else 'fp16' if args.half else 'fp32'
    calibration = read_calibration(args.calibration, args.num) if args.int8 else None
    job = Job(args.weights, args.format, precision, calibration, param_key=args.param_key)
    planned = plan(job, args.out)
    check_outputs([*planned.files, args.json], args.force)
    done = export(planned, _images(args), say, compared=args.int8 and not args.no_compare)
    write_json(args.json, {'weights': str(args.weights), 'files': [str(file) for file in done.files],
                           'scale': planned.network.scale, 'trials': msgspec.to_builtins(done.trials),
                           'ways': msgspec.to_builtins(done.ways), 'notes': done.notes})
    parts = [trial_table(done.trials), way_table(done.ways) if done.ways else '', '\n'.join(done.notes),
             f'Written: {", ".join(map(str, done.files))}']
    print('\n\n'.join(filter(None, parts)))
    return 0


def _images(args: argparse.Namespace) -> list[Any]:
    """The middle squares of real images, (h, w, 3) BGR uint8: the user's images, or a photo that matplotlib brings."""
    from basicsr_kd.utils.images import image_files, middle, read_image, sample_photo
    images = map(read_image, image_files(args.images)[:_IMAGES]) if args.images else [sample_photo()]
    return [middle(image, _SIDE) for image in images]


def check_arguments(args: argparse.Namespace) -> None:
    """Check that the arguments go together; the files that they name are checked later.

    Raises:
        Refusal: Some arguments do not go together.
    """
    if args.half and args.format != 'onnx':
        raise Refusal(f'--half is for --format onnx; {args.format} ' + (
            'has fp16 weights as it is.' if args.format in ('openvino', 'ncnn') else 'has none.'))
    if args.half and args.int8:
        raise Refusal('--half and --int8 do not go together.')
    if args.int8 and args.format not in QUANTISED:
        raise Refusal(f'--int8 is for --format {" and ".join(QUANTISED)}, and --format is {args.format}.')
    if args.int8 and not args.calibration:
        raise Refusal('--int8 needs --calibration DIR: low-resolution images like those that the network will get, on '
                      'which the ranges of its values are measured.')
    if args.no_compare and not args.int8:
        raise Refusal('--no-compare is for --int8. Leave it out, or add --int8.')
    if args.calibration and not args.int8:
        raise Refusal('--calibration is for --int8. Leave it out, or add --int8.')


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; their help is wrapped by hand, for 80 columns."""
    parser.usage = 'basicsr-kd export --weights FILE --format NAME --out PATH [options]'
    parser.formatter_class = argparse.RawTextHelpFormatter
    formats = '\n'.join(f'{name:<12} {form.what}' for name, form in FORMATS.items())
    parser.add_argument('--weights', metavar='FILE', type=Path, required=True,
                        help='the trained network, whose architecture is read off the\nfile')
    add_param_key(parser)
    parser.add_argument('--format', metavar='NAME', choices=FORMATS, required=True, help=formats)
    parser.add_argument('--out', metavar='PATH', type=Path, required=True,
                        help='the file to write, or a folder: NAME-x4.onnx in it, for\nncnn models/NAME-x4.param')
    parser.add_argument('--half', action='store_true', help='onnx: everything in fp16, for GPUs')
    parser.add_argument('--int8', action='store_true',
                        help='onnx, openvino: convolutions in 8 bits, without training')
    parser.add_argument('--calibration', metavar='DIR', type=Path,
                        help='for --int8: low-resolution images')
    parser.add_argument('--num', metavar='N', type=int, default=64, help='how many of them (default: 64)')
    parser.add_argument('--no-compare', action='store_true',
                        help="for --int8: leave out the table beside NNCF's defaults,\n"
                             'which takes longer than the rest')
    parser.add_argument('--images', metavar='DIR', type=Path,
                        help='low-resolution images to try the file on, 128x128 pixels\nin the middle of the first '
                             'three (default: one photo)')
    parser.add_argument('--json', metavar='FILE', type=Path, help='also write the figures there')
    parser.add_argument('--force', action='store_true', help='write over files that exist')
