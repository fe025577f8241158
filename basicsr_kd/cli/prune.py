"""`basicsr-kd prune`: makes a trained network smaller, or measures what each of its stages is worth (--scan)."""

import argparse
import dataclasses
import io
import math
import sys
import time
from pathlib import Path
from typing import Any

from basicsr_kd.cli.outputs import Refusal, check_outputs, refuse, write_json
from basicsr_kd.cli.prune_arguments import SCAN_RATIO, add_arguments, check_arguments

EXAMPLE = """basicsr-kd prune --weights ESRGAN_x4.pth --ratio 0.3 --calibration DIV2K/LRx4 --out ESRGAN_x4_r30.pth
         basicsr-kd prune --weights ESRGAN_x4.pth --scan --calibration DIV2K/LRx4 --plot scan.png"""

__all__ = ['EXAMPLE', 'add_arguments', 'run']


def run(args: argparse.Namespace) -> int:
    """Prunes or scans; what cannot be done is one line on stderr and exit status 2, with nothing written."""
    try:
        check_arguments(args)
        from basicsr_kd import plugin
        from basicsr_kd.checkpoint import CheckpointError
        from basicsr_kd.pruning import PruningError
        plugin.register()
    except Refusal as error:
        return refuse('prune', error)
    try:
        check_outputs([args.out, args.out and args.out.with_suffix('.yml'), args.json, args.plot], args.force)
        return _scan(args) if args.scan else _prune(args)
    except (Refusal, CheckpointError, PruningError, OSError) as error:
        return refuse('prune', error)


def _prune(args: argparse.Namespace) -> int:
    from basicsr_kd.archs.fragment import fragment_path, in_one_line
    from basicsr_kd.archs.from_file import network_section, write_network_file
    from basicsr_kd.pruning import needs_calibration, prune
    options = {'ratio': args.ratio, 'of': args.of, 'layout': args.layout, 'allocation': args.allocation,
               'importance': args.importance, 'round_to': args.round_to, 'keep': args.keep,
               'select': args.select or 'least', 'target': args.target, 'reconstruct': args.reconstruct}
    looks = {name: options[name] for name in ('layout', 'importance', 'reconstruct', 'select')}
    why = needs_calibration(**looks)
    if why and args.calibration is None:
        raise Refusal(f'{why} needs --calibration DIR, a folder of images as the network takes them: low resolution.')
    if args.calibration and not args.importance:
        why = needs_calibration(**{**looks, 'importance': 'taylor'})
    network, net = _network(args)
    images = None
    if why:
        images = _images(args, net)
    elif args.calibration:
        print('The calibration images are not used: nothing that was asked for looks at them.')
    start = time.perf_counter()
    report = prune(net, **options, calibration=images, progress=sys.stderr.isatty())
    seconds = time.perf_counter() - start
    state = report.network.state_dict()
    write_network_file(args.out, state, network)
    section = network_section(state, args.out, network)
    counts = {name: getattr(report, name) for name in ('params_before', 'params_after', 'nonzero_after', 'macs_before',
                                                       'macs_after', 'budget', 'reached')}
    write_json(args.json, {'weights': args.weights, 'out': str(args.out), 'request': report.request, **counts,
                           'stages': [dataclasses.asdict(stage) for stage in report.stages], 'kept': report.kept,
                           'skipped': report.skipped, 'notes': report.notes, 'network_g': section,
                           'seconds': round(seconds, 2)})
    print(report.table())
    print(f'\nPruned in {seconds:.1f} s. Written: {args.out} ({args.out.stat().st_size / 1e6:.1f} MB) and '
          f'{fragment_path(args.out)}:\nnetwork_g: {in_one_line(section)}')
    return 0


def _scan(args: argparse.Namespace) -> int:
    from basicsr_kd.pruning.sensitivity import scan
    from basicsr_kd.report.sensitivity import scan_plot, scan_table
    ratio, importance = SCAN_RATIO if args.ratio is None else args.ratio, args.importance or 'taylor'
    _, net = _network(args)
    images = _images(args, net)
    start = time.perf_counter()
    costs = scan(net, images, ratio=ratio, of=args.of, layout=args.layout, allocation=args.allocation,
                 importance=importance, round_to=args.round_to, progress=sys.stderr.isatty())
    seconds = time.perf_counter() - start
    request = 'each block left out' if args.layout == 'blocks' else \
        f'each stage pruned by {ratio} of {args.of}, layout {args.layout}, importance {importance}'
    title = f'{Path(args.weights).name}, {request}'
    if args.plot:  # files first: what is printed may end in a pipe that closes
        args.plot.parent.mkdir(parents=True, exist_ok=True)
        scan_plot(args.plot, costs, title)
    stages = [{**dataclasses.asdict(cost), 'psnr': None if cost.psnr == math.inf else cost.psnr,
               'unchanged': cost.psnr == math.inf} for cost in costs]  # JSON knows no infinity
    write_json(args.json, {'weights': args.weights, 'request': request, 'images': len(images), 'stages': stages,
                           'seconds': round(seconds, 2)})
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='replace')  # the bars, where the screen knows ASCII only
    frames = f' clips of {images.shape[1]} frames' if images.dim() == 5 else ' images'
    print(f'{title}, {len(images)}{frames} of {images.shape[-1]}x{images.shape[-2]}:\n')
    print(scan_table(costs, args.of))
    print(f'\nScanned in {seconds:.1f} s.' + (f' Written: {args.plot}' if args.plot else ''))
    return 0


def _network(args: argparse.Namespace) -> tuple[dict[str, Any], Any]:
    """The options of the network in --weights, and the network."""
    from basicsr_kd.archs.from_file import build_from_file, read_architecture
    from basicsr_kd.checkpoint import read_state_dict
    network = _arch(args) if args.arch else read_architecture(read_state_dict(args.weights, args.param_key),
                                                              args.weights)
    return network, build_from_file(args.weights, args.param_key, network)


def _arch(args: argparse.Namespace) -> dict[str, Any]:
    """What --arch says."""
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


def _images(args: argparse.Namespace, net: Any) -> Any:
    """The calibration images, seen to go through the network."""
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
