"""`basicsr-kd plan`: tries ways of pruning a trained network to a budget, and says which is the best."""
import argparse
import io
import math
import shlex
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from basicsr_kd.cli.common import Refusal, add_param_key, check_folder, refuse
from basicsr_kd.cli.prune import SIZE, open_weights, read_images
from basicsr_kd.errors import BasicSRKDError
from basicsr_kd.utils.prune_request import CHOICES, Request

EXAMPLE = 'basicsr-kd plan --weights RealESRGAN_x4plus.pth --budget latency=0.5 --calibration LR --out plan'

__all__ = ['EXAMPLE', 'add_arguments', 'run']

_MINUTES = 20
# Number of calibration images: half of what prune takes, since each way looks at all of them.
NUM = 8


def run(args: argparse.Namespace) -> int:
    """Plan; on failure one line goes to stderr, and the exit status is 2."""
    try:
        from basicsr_kd import plugin
        plugin.register()
        return _plan(args)
    except (BasicSRKDError, OSError) as error:
        return refuse('plan', error)


def _plan(args: argparse.Namespace) -> int:
    import torch

    from basicsr_kd.archs.probe import input_channels, is_recurrent
    from basicsr_kd.metrics.likeness import kept_out
    from basicsr_kd.pruning.cost import measure, total_cost
    from basicsr_kd.pruning.latency.place import find_place
    from basicsr_kd.pruning.planning.candidates import find_candidates, read_budget
    from basicsr_kd.pruning.planning.plan import front, plan, seconds_of
    from basicsr_kd.pruning.planning.planner import Planner
    from basicsr_kd.report.plan import plan_plot, plan_table
    check_folder(args.out, force=True)  # force, since finished work in it is used again
    place = find_place(Request(ratio=0.5, of='latency', device=args.device, runtime=args.runtime, dtype=args.dtype,
                               size=args.size))
    options, net = open_weights(args)
    if is_recurrent(net):
        raise Refusal('plans are made for networks of single images; this one takes clips. Expected basicsr-kd prune.')
    costs = measure(net, input_channels(net))
    budget = read_budget(args.budget, total_cost(costs, 'params'), total_cost(costs, 'macs'))
    images, judged = kept_out(read_images(args, net))
    start = time.perf_counter()
    with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
        planner = Planner(net, options, budget, images, judged, place, True, args.round_to,
                          plain=args.opens == 'spandrel')
        forward = (time.perf_counter() - start) / max(len(planner.outputs), 1)
        candidates = find_candidates(net)
        minutes = math.ceil(seconds_of(planner, candidates, forward) / 60)
        _say(f'{len(candidates)} ways of pruning; about {minutes} minute{"s" if minutes > 1 else ""}. Times: '
             f'{place.words()}. What is done is kept in {args.out}: the same command goes on from there.')
        found, left_out = plan(planner, candidates, args.out / 'plan.json', _say)
    rows, ahead = [asdict(one) for one in found], [one.name for one in front(found)]
    title = f'{Path(args.weights).name}, {budget.said}'
    plan_plot(args.out / 'plan.png', rows, ahead, f'{title}\n{place.words()}')
    best = _commands(args, found[0].steps)
    text = '\n'.join([
        f'{title}: {len(found)} ways, refitted on {len(images)} images; likeness on {len(judged)} others.',
        f'Times: {place.words()}; quartiles at most {100 * max(one.spread for one in found):.0f} % apart.', '',
        plan_table(rows, ahead), '', *(f'{name}: {why}' for name, why in left_out.items()), '',
        f'The best, with gradient steps ({found[0].name}):', '', *best, '',
        *(['The likeness that the second prints is to what the first wrote.', ''] if len(best) > 1 else []),
        'In an options file:', '',
        _yaml(found[0].steps), ''])
    (args.out / 'plan.md').write_text(text, 'utf-8')
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors='replace')  # for arrows, if the terminal knows ASCII only
    print(text)
    print(f'Written: {args.out}/plan.md, plan.json and plan.png.')
    return 0


def _say(text: str) -> None:
    print(text, file=sys.stderr, flush=True)


def _commands(args: argparse.Namespace, steps: Sequence[dict[str, Any]]) -> list[str]:
    """The commands that prune by these steps, one for each."""
    weights, lines = str(args.weights), []
    for number, step in enumerate(steps, start=1):
        last = number == len(steps)
        out = f'{Path(args.weights).stem}_{"pruned" if last else f"step{number}"}.pth'
        words = ['basicsr-kd', 'prune', '--weights', weights, '--calibration', args.calibration]
        if args.calibration_size != SIZE:
            words += ['--calibration-size', str(args.calibration_size)]
        for option in ('arch', 'param_key') if number == 1 else ():  # later steps read them from the file before
            if getattr(args, option):
                words += [f'--{option.replace("_", "-")}', getattr(args, option)]
        for key, value in step.items():
            words += [f'--{key.replace("_", "-")}', f'{value:.4g}' if isinstance(value, float) else str(value)]
        lines.append(shlex.join([*words, '--minutes', str(_MINUTES if last else 0), '--out', out]))
        weights = out
    return lines


def _yaml(steps: Sequence[dict[str, Any]]) -> str:
    """The section of an options file that prunes by these steps."""
    sections = []
    for step in steps:
        values = {key: float(f'{value:.4g}') if isinstance(value, float) else value for key, value in step.items()}
        sections.append('{' + ', '.join(f'{key}: {value}' for key, value in {**values, 'reconstruct': 'true'}.items())
                        + '}')
    return f'prune: {sections[0]}' if len(sections) == 1 else '\n'.join(
        ['prune:', *(f'  - {section}' for section in sections)])


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the arguments; their help is wrapped by hand, for 80 columns."""
    parser.formatter_class = argparse.RawTextHelpFormatter
    parser.add_argument('--weights', metavar='FILE', required=True, help='the trained network, as for prune')
    parser.add_argument('--budget', metavar='B', required=True,
                        help='what is to be left: latency=0.5, params=0.5, macs=0.5\n(shares of what it has now), '
                             'params=8M, macs=300G (of a\n64x64 input) or size=30MB')
    parser.add_argument('--calibration', metavar='DIR', required=True,
                        help='a folder of low-resolution images, or an .lmdb; a\nquarter of them is kept to judge by')
    parser.add_argument('--out', metavar='DIR', type=Path, required=True,
                        help='a folder for plan.md, plan.png and plan.json; results\nthat are there already are '
                             'not measured again')
    parser.add_argument('--opens', choices=('any', 'ncnn', 'spandrel'), default='any',
                        help='which programs have to open the result: this plugin and\nwhat it exports (default), '
                             'ncnn (Upscayl), or what is\nbuilt on spandrel (ComfyUI, chaiNNer): widths all equal')
    parser.add_argument('--device', choices=CHOICES['device'], help='where time is measured (default: cpu)')
    parser.add_argument('--runtime', choices=CHOICES['runtime'],
                        help='in which program (default: openvino if it is\ninstalled, else torch)')
    parser.add_argument('--dtype', choices=CHOICES['dtype'], help='number format (default: the fastest here)')
    parser.add_argument('--size', metavar='N', type=int, help='side of the image, in LR pixels (default: 128)')
    parser.add_argument('--calibration-num', metavar='N', type=int, default=NUM,
                        help=f'how many images (default: {NUM}; the command for the\nbest takes its own number)')
    parser.add_argument('--calibration-size', metavar='N', type=int, default=SIZE,
                        help=f'side of the square cut out of each (default: {SIZE})')
    parser.add_argument('--round-to', metavar='N', type=int, default=16, help='widths are multiples of N (default: 16)')
    add_param_key(parser)
    parser.add_argument('--arch', metavar='YAML', help='as for prune')
