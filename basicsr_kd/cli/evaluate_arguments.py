"""The arguments of `basicsr-kd evaluate`, and which of them go together. Imports nothing heavy."""
import argparse
import textwrap
from pathlib import Path
from typing import Literal

from basicsr_kd.cli.common import Refusal, add_param_key
from basicsr_kd.utils.metric_names import METRICS, WITHOUT_TRUTH

BICUBIC = 'bicubic'
_DEFAULT = {'images': ['psnr', 'ssim'], 'clips': ['psnr', 'tof'], 'photos without ground truth': [*WITHOUT_TRUTH],
            '--teacher': ['psnr', 'ssim', 'jod', 'texture']}
_ABOUT_WIDTH = 44  # columns of a metric's help, after its name


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments in groups; their help is wrapped by hand, for 80 columns."""
    parser.usage = ('basicsr-kd evaluate --hr DIR --lr DIR --weights FILE ... [options]\n'
                    '       basicsr-kd evaluate --lr DIR --weights FILE ... [options]\n'
                    '       basicsr-kd evaluate --hr DIR --sr DIR ... [options]')
    parser.formatter_class = argparse.RawTextHelpFormatter
    _add_inputs(parser)
    _add_metrics(parser.add_argument_group('what is measured'))
    speed = parser.add_argument_group('size and speed')
    speed.add_argument('--lr-size', metavar='N', type=int, default=64,
                       help='side of the low-resolution image that operations,\ntime and memory are stated for '
                            '(default: 64; a GPU is\nonly busy with more, e.g. 256)')
    speed.add_argument('--no-speed', action='store_true', help='measure no time and no memory')
    out = parser.add_argument_group('output')
    out.add_argument('--json', metavar='FILE', type=Path,
                     help='write all figures, of every image too, into this file,\nwhich `basicsr-kd report` reads')
    out.add_argument('--save-images', metavar='DIR', type=Path,
                     help='write the results as DIR/<method>/<set>/<image>.png,\nof clips as '
                          'DIR/<method>/<set>/<clip>/<frame>.png')
    out.add_argument('--force', action='store_true', help='write over files that exist')


def _add_inputs(parser: argparse.ArgumentParser) -> None:
    methods = parser.add_argument_group('what is compared')
    methods.add_argument('--weights', metavar='FILE', nargs='+', default=[],
                         help='trained networks, .pth or .safetensors, whose\narchitecture is read off the file, or '
                              'what\n`basicsr-kd export` wrote (.onnx, .xml, .param), which\nruns in its runtime; the '
                              f'word {BICUBIC} stands for\nbicubic enlargement')
    add_param_key(methods)
    methods.add_argument('--sr', metavar='DIR', nargs='+', type=Path, default=[],
                         help='folders of finished images, or of clips: a folder of\nfinished frames for each; with '
                              'several sets, each holds\na folder with the name of each set')
    methods.add_argument('--device', metavar='NAME', help='cpu, cuda, cuda:1 ... (default: a GPU, if there is one)')
    methods.add_argument('--tile', metavar='N', type=int, default=0,
                         help='give networks of images pieces of N low-resolution\npixels, where memory is too small '
                              'for whole images\n(default: whole images)')
    sets = parser.add_argument_group(
        'sets of images or clips', 'Images pair by name: baby.png of HR with baby.png, or with babyx4.png where '
                                   'all\nnames of that folder have this ending. A clip is a folder of numbered '
                                   'frames,\nwhich pair by their order.')
    sets.add_argument('--hr', metavar='DIR', nargs='+', type=Path, default=[],
                      help='the ground truth, one folder a set: of images, or with\na folder for each clip; without '
                           '--hr and --teacher,\nNIQE is measured on the results from --lr')
    sets.add_argument('--teacher', metavar='FILE', type=Path,
                      help='in place of --hr: a network; other results are\ncompared with its results in fp32 '
                           '(likeness)')
    sets.add_argument('--lr', metavar='DIR', nargs='+', type=Path, default=[],
                      help='low resolution, one folder a set in the same order;\nif left out, that of clips is made '
                           'as TecoGAN does\n(Gaussian blur, every 4th pixel)')
    sets.add_argument('--names', metavar='NAME', nargs='+', default=[],
                      help='names of the sets (default: those of their folders,\nSet5 for Set5/HR)')
    sets.add_argument('--skip-bad', action='store_true',
                      help='leave out images with a file that cannot be read,\nfor all methods, instead of ending')


def _add_metrics(metrics: argparse._ArgumentGroup) -> None:
    metrics.add_argument('--metrics', metavar='NAME', nargs='+', choices=tuple(METRICS), help=_about_metrics())
    metrics.add_argument('--protocol', choices=('official', 'training'),
                         help="for clips: which part is scored, as in TecoGAN's paper\nor in TecoGAN-PyTorch's "
                              'training (default: official)')
    metrics.add_argument('--frame-rate', metavar='N', type=float,
                         help='for clips: frames a second, which jod depends on')
    metrics.add_argument('--channel', choices=('y', 'rgb'), default='y',
                         help='what PSNR and SSIM of images are measured on\n(default: y)')
    metrics.add_argument('--border', metavar='N', type=int,
                         help='for images: pixels left out on each side (default:\nthe scale)')
    metrics.add_argument('--lpips-net', choices=('alex', 'vgg', 'squeeze'), default='alex',
                         help='backbone of LPIPS (default: alex)')
    metrics.add_argument('--lpips-weights', metavar='FILE', type=Path,
                         help="the backbone's weights as torchvision publishes them\n(default: from PyTorch's cache, "
                              'else downloaded)')
    metrics.add_argument('--inception-weights', metavar='FILE', type=Path,
                         help='weights of FID and KID as pytorch-fid publishes them')


def _about_metrics() -> str:
    lines = [f'{kind}: {" ".join(names)}' for kind, names in _DEFAULT.items()]
    about = [('\n' + 11 * ' ').join([f'{name:<11}{first}', *rest]) for name, metric in METRICS.items()
             for first, *rest in [textwrap.wrap(metric.about, _ABOUT_WIDTH)]]
    return '\n'.join([*about, 'default of', *(f'  {line}' for line in lines)])


def folders(args: argparse.Namespace) -> list[Path]:
    """A folder for each set, after which it is named: its ground truth, or its low resolution if it has none."""
    return args.hr or args.lr


def check_arguments(args: argparse.Namespace) -> None:
    """Check that the arguments go together; the files that they name are checked later.

    Raises:
        Refusal: Some arguments do not go together, or one is missing.
    """
    if not args.weights and not args.sr:
        raise Refusal(f'nothing to compare. Give --weights FILE (or the word {BICUBIC}), or --sr DIR, a folder of '
                      'finished images.')
    if args.teacher and (args.hr or not args.lr):
        raise Refusal('--teacher makes what is compared with from --lr, in place of --hr. Give --lr, and no --hr.')
    if not args.hr and not args.lr:
        raise Refusal('no images. Give --hr DIR and --lr DIR, or for photos without ground truth --lr DIR alone.')
    for name, found in (('lr', args.lr), ('names', args.names)):
        if found and len(found) != len(folders(args)):
            raise Refusal(f'--{name} has {len(found)} and {"--hr" if args.hr else "--lr"} {len(folders(args))}. '
                          'Expected one for each set.')
    for name in args.names:
        if name in ('', '.', '..') or '/' in name or '\\' in name:  # it becomes a folder's name
            raise Refusal(f'--names: {name!r} is no name of a set. Expected one without / and \\, and no dots alone.')
    for name, least in (('border', 0), ('tile', 0), ('lr_size', 16)):
        value = getattr(args, name)
        if value is not None and value < least:
            raise Refusal(f'--{name.replace("_", "-")} is {value}. Expected at least {least}.')
    if args.frame_rate is not None and not args.frame_rate > 0:
        raise Refusal(f'--frame-rate is {args.frame_rate:g}. Expected frames a second, e.g. 24.')
    for name in ('lpips_weights', 'inception_weights'):
        file = getattr(args, name)
        if file and not file.is_file():
            raise Refusal(f'--{name.replace("_", "-")}: {file} is no file.')


def check_for_images(args: argparse.Namespace) -> None:
    """Check also what holds for sets of images, and fill in the metrics.

    Raises:
        Refusal: As in `check_arguments`.
    """
    if args.weights and not args.lr:
        raise Refusal('--lr is missing: the low-resolution images that --weights enlarges; scripts/prepare_images.py '
                      'makes them.')
    if not args.lr and args.border is None:
        raise Refusal('--border is missing: without --lr nothing tells how many times the images were enlarged. Papers '
                      'leave out that many pixels, e.g. --border 4.')
    for name in ('protocol', 'frame_rate'):
        if getattr(args, name) is not None:
            raise Refusal(f'--{name.replace("_", "-")} is for clips, and {folders(args)[0]} has images. Leave it out, '
                          'or give a folder that holds one folder for each clip.')
    _set_metrics(args, 'images', _DEFAULT['images' if args.hr else '--teacher' if args.teacher else
                                         'photos without ground truth'])
    compared = ' '.join(name for name in args.metrics if METRICS[name].needs_truth)
    if not args.hr and not args.teacher and compared:
        raise Refusal(f'--metrics {compared}: {args.lr[0]} comes without ground truth. Give --hr or --teacher, or '
                      'leave --metrics out: niqe needs none.')


def check_for_clips(args: argparse.Namespace) -> None:
    """Check also what holds for sets of clips, and fill in the metrics and the protocol.

    Raises:
        Refusal: As in `check_arguments`.
    """
    if not args.hr:
        raise Refusal(f'--hr is missing: {args.lr[0]} has clips, and nothing is measured on clips without ground '
                      'truth. `basicsr-kd infer` enlarges them.')
    for name, given in (('border', args.border is not None), ('channel', args.channel != 'y'),
                        ('lpips-net', args.lpips_net != 'alex'), ('skip-bad', args.skip_bad)):
        if given:
            raise Refusal(f'--{name} is for images, and {args.hr[0]} has clips, of which --protocol says what is '
                          'scored. Leave it out.')
    args.protocol = args.protocol or 'official'
    _set_metrics(args, 'clips', _DEFAULT['clips'])
    on_films = ' '.join(name for name in args.metrics if METRICS[name].package == 'pycvvdp')
    if on_films and args.frame_rate is None:
        raise Refusal(f'--frame-rate is missing: frames a second of the clips, which --metrics {on_films} depends on.')


def _set_metrics(args: argparse.Namespace, kind: Literal['images', 'clips'], default: list[str]) -> None:
    args.metrics = list(dict.fromkeys(args.metrics or default))
    possible = [name for name, metric in METRICS.items() if kind in metric.of or 'sets' in metric.of]
    wrong = [name for name in args.metrics if name not in possible]
    if wrong:
        raise Refusal(f'--metrics {" ".join(wrong)}: {folders(args)[0]} has {kind}. Possible for {kind}: '
                      f'{", ".join(possible)}.')
