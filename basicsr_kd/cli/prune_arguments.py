"""The arguments of `basicsr-kd prune`: what they are, and which go together. Imports nothing heavy."""
import argparse
from pathlib import Path

from basicsr_kd.cli.outputs import Refusal

# Of --scan, where --ratio is left out.
SCAN_RATIO = 0.3


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Adds them in groups. Their help is wrapped by hand, for 80 columns."""
    parser.usage = 'basicsr-kd prune --weights FILE (--ratio R --out FILE | --scan --calibration DIR) [options]'
    parser.formatter_class = argparse.RawTextHelpFormatter
    _add_files(parser.add_argument_group('files'))
    budget = parser.add_argument_group('how much goes')
    budget.add_argument('--ratio', metavar='R', type=float,
                        help='share to take away, from 0 to less than 1\n'
                             f'(with --scan: of each stage, default: {SCAN_RATIO})')
    budget.add_argument('--of', choices=('params', 'macs'), default='params',
                        help='what the share counts: parameters, or multiply-\naccumulate operations (default: params)')
    budget.add_argument('--keep', metavar='N', type=int,
                        help='instead of --ratio, with --layout blocks: how many\nblocks stay')
    budget.add_argument('--target', metavar='MODULE',
                        help='prune this part of the network alone, e.g. body.3;\n--ratio then counts it alone')
    _add_choice(parser.add_argument_group('what goes'))
    images = parser.add_argument_group('calibration images', 'What the network will be used on, best from its training '
                                       'set: low resolution.')
    images.add_argument('--calibration', metavar='DIR',
                        help='a folder of images, or an .lmdb; for an FRNet of\nground truth: a folder with a folder a '
                             'clip, or one\nclip (low resolution is made of it; not for BI)')
    images.add_argument('--calibration-num', metavar='N', type=int, default=16,
                        help='how many, spread over the folder (default: 16)')
    images.add_argument('--calibration-size', metavar='N', type=int, default=96,
                        help='side of the square cut out of each (default: 96)')
    images.add_argument('--reconstruct', action='store_true',
                        help='refit the layers behind pruned ones on these images,\nwhich keeps the output closer; no '
                             'training')
    scan = parser.add_argument_group('sensitivity scan')
    scan.add_argument('--scan', action='store_true',
                      help='write no network: prune each stage alone and measure\nhow far the output moves (PSNR); '
                           'for --layout growth,\nblocks (each left out) and unstructured')
    scan.add_argument('--plot', metavar='FILE', type=Path, help='draw the scan: .png, .svg or .pdf')


def _add_files(files: argparse._ArgumentGroup) -> None:
    files.add_argument('--weights', metavar='FILE', required=True,
                       help='the trained network, .pth or .safetensors; one that\nwas pruned before is pruned further')
    files.add_argument('--out', metavar='FILE', type=Path,
                       help='the pruned network to write, .pth; a .yml beside it\nsays what options files call it '
                            '(network_g:)')
    files.add_argument('--json', metavar='FILE', type=Path, help='write the figures into this file as well')
    files.add_argument('--force', action='store_true', help='write over files that exist')
    files.add_argument('--param-key', metavar='KEY',
                       help='which of its weights, if --weights has several\n(default: params_ema, else params)')
    files.add_argument('--arch', metavar='YAML',
                       help="its architecture, if neither its tensors nor a .yml\nbeside it tell: '{type: EDSR, "
                            "num_in_ch: 3, ...}', or a\n.yml file with network_g: (needed for EDSR and RCAN)")


def _add_choice(choice: argparse._ArgumentGroup) -> None:
    choice.add_argument('--layout', metavar='LAYOUT', default='growth',
                        choices=('growth', 'width', 'balanced', 'blocks', 'unstructured'),
                        help='growth        channels inside the blocks (default)\n'
                             'width         channels of the residual stream, all\n'
                             '              equally\n'
                             'balanced      both\n'
                             'blocks        whole residual blocks\n'
                             'unstructured  single weights become zero; makes\n'
                             '              nothing faster')
    choice.add_argument('--importance', metavar='NAME', choices=('taylor', 'l1', 'l2', 'lamp', 'fpgm', 'random'),
                        help='what stays: taylor (default with --calibration) keeps\nwhat moves the output of these '
                             'images most, far better\nthan those without images: l2 (default otherwise), l1,\nlamp, '
                             'fpgm, random')
    choice.add_argument('--allocation', choices=('global', 'uniform'), default='global',
                        help='each layer gets a width of its own, or all the same\n(default: global)')
    choice.add_argument('--round-to', metavar='N', type=int, default=16,
                        help='widths are multiples of N; others than 16 save\nparameters but little time (default: 16)')
    choice.add_argument('--select', choices=('least', 'last'),
                        help='with --layout blocks: the blocks that the output of\nthe calibration images needs least, '
                             'or the last ones\n(default: least)')


def check_arguments(args: argparse.Namespace) -> None:
    """Which arguments go together; what a single one may be is for the pruning to say.

    Raises:
        Refusal: Some do not, or one is missing.
    """
    if args.scan:
        for name in ('out', 'keep', 'target', 'select', 'reconstruct'):
            if getattr(args, name):
                raise Refusal(f'--{name} does not go with --scan, which only measures. Leave one of them out.')
        if args.calibration is None:
            raise Refusal('--scan measures on images. Give --calibration DIR, a folder of low-resolution images.')
        if args.plot and args.plot.suffix.lower() not in ('.png', '.svg', '.pdf'):
            raise Refusal(f'--plot: {args.plot}: expected a name that ends in .png, .svg or .pdf.')
        return
    if args.plot:
        raise Refusal('--plot draws a scan. Give --scan as well, or leave it out.')
    if args.out is None:
        raise Refusal('--out is missing: the file to write, e.g. --out pruned.pth (or --scan, to measure only).')
    if args.out.suffix.lower() != '.pth':
        raise Refusal(f'--out: {args.out}: expected a name that ends in .pth.')
    if args.ratio is None and args.keep is None:
        raise Refusal('--ratio is missing: the share to take away, e.g. --ratio 0.3' +
                      (' (or --keep N: how many blocks stay).' if args.layout == 'blocks' else '.'))
    if args.select and args.layout != 'blocks':
        raise Refusal(f'--select says which blocks go, and --layout is {args.layout}. Leave it out, or say --layout '
                      'blocks.')
