"""`basicsr-kd prune`: makes a trained network smaller, or measures what each of its stages is worth (--scan)."""
import argparse
import dataclasses
import io
import math
import sys
import time
from pathlib import Path
from typing import Any

import msgspec

from basicsr_kd.cli.common import Refusal, add_param_key, check_outputs, refuse, write_json
from basicsr_kd.errors import BasicSRKDError, PruneOptionError
from basicsr_kd.utils.prune_request import CHOICES, Request

EXAMPLE = """basicsr-kd prune --weights ESRGAN_x4.pth --ratio 0.3 --calibration DIV2K/LRx4 --out ESRGAN_x4_r30.pth
         basicsr-kd prune --weights ESRGAN_x4.pth --scan --calibration DIV2K/LRx4 --plot scan.png"""

__all__ = ['EXAMPLE', 'add_arguments', 'run']

# The ratio of --scan, if --ratio is left out.
SCAN_RATIO = 0.3
# Minutes of wall time, if --minutes is left out.
MINUTES = 3
# Number and side of calibration images, if --calibration-num and --calibration-size are left out.
NUM, SIZE = 16, 96


def run(args: argparse.Namespace) -> int:
    """Prune or scan; on failure one line goes to stderr, nothing is written, and the exit status is 2."""
    try:
        check_arguments(args)
        request = _request(args)
        from basicsr_kd import plugin
        plugin.register()
        check_outputs([args.out, args.out and args.out.with_suffix('.yml'), args.json, args.plot], args.force)
        return (_scan if args.scan else _prune)(args, request)
    except (BasicSRKDError, OSError) as error:
        return refuse('prune', error)


def _prune(args: argparse.Namespace, request: Request) -> int:
    from basicsr_kd.archs.from_file import network_section, write_network_file
    from basicsr_kd.archs.sidecar import in_one_line, sidecar_path
    from basicsr_kd.metrics.likeness import kept_out
    from basicsr_kd.pruning import prune
    network, net = open_weights(args)
    images, judged = kept_out(read_images(args, net)) if args.calibration else (None, None)
    if images is not None and images.dim() == 5 and args.minutes is None:
        request = dataclasses.replace(request, minutes=0)  # gradient steps are for single images
    whole = _whole(args, net) if images is not None and request.minutes else None
    start = time.perf_counter()
    report = prune(net, **dataclasses.asdict(request), calibration=images, judge=judged, whole=whole, progress=True)
    seconds = time.perf_counter() - start
    state = report.network.state_dict()
    write_network_file(args.out, state, network)
    section = network_section(state, args.out, network)
    counts = {name: getattr(report, name) for name in ('params_before', 'params_after', 'nonzero_after', 'macs_before',
                                                       'macs_after', 'budget', 'reached')}
    write_json(args.json, {'weights': args.weights, 'out': str(args.out), 'request': report.request, **counts,
                           'stages': [dataclasses.asdict(stage) for stage in report.stages], 'kept': report.kept,
                           'skipped': report.skipped, 'notes': report.notes, 'network_g': section,
                           'likeness': _figures(report.likeness), 'latency': report.latency and dataclasses.asdict(
                               report.latency) | {'share': report.latency.share},
                           'seconds': round(seconds, 2)})
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='replace')  # for arrows, if the terminal knows ASCII only
    print(report.table())
    print(f'\n{_words(report.likeness, judged, images)}')
    print(f'\nPruned in {seconds:.1f} s. Written: {args.out} ({args.out.stat().st_size / 1e6:.1f} MB) and '
          f'{sidecar_path(args.out)}:\nnetwork_g: {in_one_line(section)}')
    return 0


def _words(found: Any, judged: Any, images: Any) -> str:
    """How near the result is to the original, as text for the terminal."""
    if judged is None:
        return ('Not measured how near the result is to the original: it was chosen blind. --calibration DIR, a folder '
                'of low-resolution images, chooses better, refits and measures.')
    if found is None:
        return ('Not measured how near the result is to the original: the network does not enlarge by a whole number, '
                'or the images are too small.')
    return found.words(kept_out=judged is not images)


def _figures(found: Any) -> dict[str, Any] | None:
    """How near the result is to the original, for the JSON file."""
    from basicsr_kd.evaluation.schema import figure
    return found and {'images': found.images, **{
        title: {name: figure(value) for name, value in scores.items()}
        for title, scores in (('pruned', found.network), ('bicubic', found.bicubic))}}


def _scan(args: argparse.Namespace, request: Request) -> int:
    from basicsr_kd.pruning.sensitivity import scan
    from basicsr_kd.report.sensitivity import scan_plot, scan_table
    _, net = open_weights(args)
    images = read_images(args, net)
    start = time.perf_counter()
    taken = ('ratio', 'of', 'layout', 'allocation', 'importance', 'round_to')
    costs = scan(net, images, **{name: getattr(request, name) for name in taken}, progress=True)
    seconds = time.perf_counter() - start
    asked = 'each block left out' if args.layout == 'blocks' else \
        f'each stage pruned by {request.ratio} of {args.of}, layout {args.layout}, importance {request.importance}'
    title = f'{Path(args.weights).name}, {asked}'
    if args.plot:  # files first, since the output may go to a pipe that closes
        args.plot.parent.mkdir(parents=True, exist_ok=True)
        scan_plot(args.plot, costs, title)
    stages = [{**msgspec.structs.asdict(cost), 'psnr': None if cost.psnr == math.inf else cost.psnr,
               'unchanged': cost.psnr == math.inf} for cost in costs]  # JSON knows no infinity
    write_json(args.json, {'weights': args.weights, 'request': asked, 'images': len(images), 'stages': stages,
                           'seconds': round(seconds, 2)})
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='replace')  # for the bars, if the terminal knows ASCII only
    frames = f' clips of {images.shape[1]} frames' if images.dim() == 5 else ' images'
    print(f'{title}, {len(images)}{frames} of {images.shape[-1]}x{images.shape[-2]}:\n')
    print(scan_table(costs, args.of))
    print(f'\nScanned in {seconds:.1f} s.' + (f' Written: {args.plot}' if args.plot else ''))
    return 0


def open_weights(args: argparse.Namespace) -> tuple[dict[str, Any], Any]:
    """The options of the network in --weights, and the network."""
    from basicsr_kd.archs.from_file import build_from_file, read_architecture
    from basicsr_kd.checkpoint import read_state_dict
    network = _arch(args) if args.arch else read_architecture(read_state_dict(args.weights, args.param_key),
                                                              args.weights)
    return network, build_from_file(args.weights, args.param_key, network)


def _arch(args: argparse.Namespace) -> dict[str, Any]:
    """The options of the network that --arch gives."""
    import yaml
    expected = "Expected e.g. '{type: EDSR, num_in_ch: 3, num_out_ch: 3}', or a .yml file with network_g:"
    is_file = args.arch.lower().endswith(('.yml', '.yaml'))
    try:
        found = yaml.safe_load(Path(args.arch).read_text('utf-8') if is_file else args.arch)
    except (yaml.YAMLError, UnicodeDecodeError, OSError) as error:
        raise Refusal(f'--arch: {args.arch} cannot be read: {error}. {expected}') from None
    if is_file:
        found = found.get('network_g') if isinstance(found, dict) else None
    if not isinstance(found, dict) or not isinstance(found.get('type'), str):
        raise Refusal(f'--arch: {args.arch} names no network. {expected}')
    return {**found, 'like': args.weights} if 'like' in found else found


def read_images(args: argparse.Namespace, net: Any) -> Any:
    """Read the calibration images, and check that the network takes them."""
    import torch

    from basicsr_kd.pruning import read_calibration_for
    images = read_calibration_for(net, args.calibration, args.calibration_num, args.calibration_size)
    try:
        with torch.no_grad():
            net.eval()(images[:1])
    except Exception as error:  # whatever the network's own code raises
        raise Refusal(f'the network takes no images of {images.shape[-3]} channels and {images.shape[-1]}x'
                      f'{images.shape[-2]} pixels, as they come from {args.calibration}: {type(error).__name__}: '
                      f'{error}. Try another --calibration or --calibration-size.') from error
    return images


def _whole(args: argparse.Namespace, net: Any) -> Any:
    """The calibration images in full size, without those kept for judging."""
    from basicsr_kd.archs.probe import input_channels
    from basicsr_kd.metrics.likeness import kept_out
    from basicsr_kd.pruning import read_whole
    return kept_out(read_whole(args.calibration, args.calibration_num, input_channels(net)))[0]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments in groups; their help is wrapped by hand, for 80 columns."""
    parser.usage = ('basicsr-kd prune --weights FILE --ratio R --out FILE [options]\n'
                    '       basicsr-kd prune --weights FILE --scan --calibration DIR [options]')
    parser.formatter_class = argparse.RawTextHelpFormatter
    _add_files(parser.add_argument_group('files'))
    budget = parser.add_argument_group('how much goes')
    budget.add_argument('--ratio', metavar='R', type=float,
                        help='share to take away, from 0 to less than 1\n'
                             f'(with --scan: of each stage, default: {SCAN_RATIO})')
    budget.add_argument('--of', choices=CHOICES['of'], default='params',
                        help='what the share counts: parameters, multiply-accumulate\noperations, or time, measured '
                             'here (default: params)')
    budget.add_argument('--keep', metavar='N', type=int,
                        help='instead of --ratio, with --layout blocks: how many\nblocks stay')
    budget.add_argument('--target', metavar='MODULE',
                        help='prune this part of the network alone, e.g. body.3;\n--ratio then counts it alone')
    _add_place(parser.add_argument_group('time', 'With --of latency: what it is measured in. Every block is timed in '
                                         'all its\nwidths, which takes minutes once.'))
    _add_choice(parser.add_argument_group('what goes'))
    images = parser.add_argument_group('calibration images', 'What the network will be used on, best from its training '
                                       'set: low resolution.')
    images.add_argument('--calibration', metavar='DIR',
                        help='a folder of images, or an .lmdb; for an FRNet of\nground truth: a folder with a folder a '
                             'clip, or one\nclip (low resolution is made of it; not for BI)')
    images.add_argument('--calibration-num', metavar='N', type=int, default=NUM,
                        help=f'how many, spread over the folder (default: {NUM})')
    images.add_argument('--calibration-size', metavar='N', type=int, default=SIZE,
                        help=f'side of the square cut out of each (default: {SIZE})')
    images.add_argument('--reconstruct', action=argparse.BooleanOptionalAction,
                        help='refit the layers behind pruned ones on these images,\nwhich keeps the output far closer; '
                             'no training\n(default: refit, where there are images)')
    images.add_argument('--minutes', metavar='N', type=float,
                        help='how long all of it may take: what the refit leaves of\nit goes into gradient steps on '
                             'these images, towards\nthe output of the network; more is better; 0: none\n(default: '
                             f'{MINUTES:g}, where layers are refitted)')
    scan = parser.add_argument_group('sensitivity scan')
    scan.add_argument('--scan', action='store_true',
                      help='write no network: prune each stage alone and measure\nhow far the output moves (PSNR); '
                           'for --layout growth,\nblocks (each left out) and unstructured')
    scan.add_argument('--plot', metavar='FILE', type=Path, help='draw the scan: .png, .svg or .pdf')


def _add_files(files: argparse._ArgumentGroup) -> None:
    files.add_argument('--weights', metavar='FILE', required=True,
                       help='the trained network, .pth, .safetensors or .param\n'
                            '(of ncnn); one that was pruned before is pruned further')
    files.add_argument('--out', metavar='FILE', type=Path,
                       help='the pruned network to write, .pth; a .yml beside it\nsays what options files call it '
                            '(network_g:)')
    files.add_argument('--json', metavar='FILE', type=Path, help='write the figures into this file as well')
    files.add_argument('--force', action='store_true', help='write over files that exist')
    add_param_key(files)
    files.add_argument('--arch', metavar='YAML',
                       help="its architecture, if neither its tensors nor a .yml\nbeside it tell: '{type: EDSR, "
                            "num_in_ch: 3, ...}', or a\n.yml file with network_g: (needed for EDSR and RCAN)")


def _add_place(place: argparse._ArgumentGroup) -> None:
    place.add_argument('--device', choices=CHOICES['device'], help='(default: cpu)')
    place.add_argument('--runtime', choices=CHOICES['runtime'],
                       help='the program that runs the network (default: openvino\nif it is installed, else torch)')
    place.add_argument('--dtype', choices=CHOICES['dtype'],
                       help='number format (default: the fastest that this runtime\nhas here: bf16 on CPUs made for '
                            'it, else fp32)')
    place.add_argument('--size', metavar='N', type=int,
                       help='side of the image, in low-resolution pixels\n(default: 128)')


def _add_choice(choice: argparse._ArgumentGroup) -> None:
    choice.add_argument('--layout', metavar='LAYOUT', default='growth',
                        choices=CHOICES['layout'],
                        help='growth        channels inside the blocks (default)\n'
                             'width         channels of the residual stream, all\n'
                             '              equally\n'
                             'balanced      both\n'
                             'blocks        whole residual blocks\n'
                             'unstructured  single weights become zero; makes\n'
                             '              nothing faster')
    choice.add_argument('--importance', metavar='NAME', choices=CHOICES['importance'],
                        help='what stays: what moves the output of the calibration\nimages most, taylor (default with '
                             '--calibration) or\nobs (with --layout growth; it counts on the refit);\nwithout '
                             'images, far worse: l2 (the default then), l1,\nlamp, fpgm, random')
    choice.add_argument('--allocation', choices=CHOICES['allocation'], default='global',
                        help='each layer gets a width of its own, or all the same\n(default: global)')
    choice.add_argument('--round-to', metavar='N', type=int, default=16,
                        help='widths are multiples of N; others than 16 save\nparameters but little time (default: 16)')
    choice.add_argument('--select', choices=CHOICES['select'],
                        help='with --layout blocks: the blocks that the output of\nthe calibration images needs least, '
                             'or the last ones\n(default: least)')


def check_arguments(args: argparse.Namespace) -> None:
    """Check that the files go together, and which arguments go with --scan.

    Raises:
        Refusal: Some arguments do not go together, or one is missing.
    """
    if args.scan:
        for name in ('out', 'keep', 'target', 'select', 'reconstruct', 'minutes'):
            if getattr(args, name):
                raise Refusal(f'--{name} does not go with --scan, which only measures. Leave one of them out.')
        if args.of == 'latency':
            raise Refusal('--of latency: --scan counts params or macs. Expected one of these.')
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
    if args.out.resolve() == Path(args.weights).resolve():
        raise Refusal(f'--out: {args.out} is the network to prune (--weights), which stays. Choose another name.')


def _request(args: argparse.Namespace) -> Request:
    """The pruning that the arguments ask for.

    Raises:
        Refusal: It is not possible, or needs images that are not given.
    """
    looks = bool(args.calibration)
    refits = args.reconstruct is not False and looks and not args.scan and args.layout != 'unstructured'
    left_out: dict[str, Any] = {'importance': 'taylor' if looks else 'l2',
                                'ratio': SCAN_RATIO if args.scan else None,
                                'reconstruct': refits, 'minutes': MINUTES if refits else 0}
    given = {field.name: getattr(args, field.name) for field in dataclasses.fields(Request)}
    try:
        request = Request(**left_out | {name: value for name, value in given.items() if value is not None})
    except PruneOptionError as error:
        raise Refusal(f'--{error.option.replace("_", "-")} {error.reason}') from None
    if request.why_images and args.calibration is None:
        raise Refusal(f'{request.why_images} needs --calibration DIR, a folder of images as the network takes them: '
                      'low resolution.')
    return request
