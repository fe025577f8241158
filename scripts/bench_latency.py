"""How long teacher, pruned teacher and students take for one image: as they are, as a CUDA graph, and compiled.

  python scripts/bench_latency.py --output results/latency              a GPU; 3 minutes at most
  python scripts/bench_latency.py --device cpu --ways eager --lr-size 32

RRDBNets of ESRGAN's size with random weights: the teacher (64 features), the same pruned by 0.3, students of 16, 32 and
48. All networks take turns, a number format at a time. Compiling takes long, so it comes last, in bf16, fp16 and fp32
and from the smallest network on, until --budget is spent; what is left out is said. Every row is written to
journal.jsonl at once, which is what a run that is killed leaves.
"""
import argparse
import copy
import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench.journal import Journal
from bench.networks import COST_RATIO, DEFAULT_ROUND_TO, QUARTILES, load_network, machine
from torch import nn

from basicsr_kd.archs.slim_rrdbnet_arch import SlimRRDBNet
from basicsr_kd.metrics.speed import forward_times
from basicsr_kd.pruning import prune
from basicsr_kd.report import markdown_table
from basicsr_kd.utils.modes import HALF, fast_formats

DTYPES = {**HALF, 'fp32': torch.float32}
"""In the order of what is compiled first."""
WAYS = ('eager', 'CUDA graph', 'compiled')


def make_networks() -> dict[str, nn.Module]:
    """The compared networks, the largest last."""
    teacher = load_network(None)
    pruned = prune(teacher, layout='growth', ratio=COST_RATIO, round_to=DEFAULT_ROUND_TO, importance='l2').network
    students = {f'student {width}': SlimRRDBNet(num_feat=width) for width in (16, 32, 48)}
    return {**students, f'teacher pruned by {COST_RATIO}': pruned, 'teacher': teacher}


def graphed(net: nn.Module, image: torch.Tensor, dtype: torch.dtype) -> nn.Module:
    """A copy of a network on a GPU that replays its kernels for this size of image, from one launch.

    Raises:
        RuntimeError: CUDA cannot record them.
    """
    net = copy.deepcopy(net).to(image.device).to(memory_format=torch.channels_last).eval().requires_grad_(False)
    with torch.autocast('cuda', dtype, enabled=dtype != torch.float32, cache_enabled=False):
        torch.cuda.make_graphed_callables(net, (image,))  # in place
    return net


def compiled(net: nn.Module) -> nn.Module:
    """A copy of a network that is compiled when it runs first."""
    net = copy.deepcopy(net)
    net.compile()
    return net


def timed(networks: Mapping[str, nn.Module], image: torch.Tensor, name: str, way: str,
          turns: int) -> list[dict[str, Any]]:
    """JSON-ready rows: quartiles of seconds, or the reason of a failure; in one format and one way."""
    taken, failures = forward_times(networks, image, [name], turns)
    return [{'network': net, 'format': name, 'way': way} |
            ({'failure': failures[net, name]} if (net, name) in failures else
             {'seconds': np.quantile(taken[net, name], QUARTILES).tolist()}) for net in networks]


def timed_graphs(networks: Mapping[str, nn.Module], image: torch.Tensor, name: str,
                 turns: int) -> list[dict[str, Any]]:
    """`timed` for CUDA graphs; a network of which there is none does not stop the others."""
    rows, graphs = [], {}
    for net, module in networks.items():
        try:
            graphs[net] = graphed(module, image, DTYPES[name])
        except RuntimeError as error:
            reason = str(error).partition('\n')[0]
            rows.append({'network': net, 'format': name, 'way': 'CUDA graph', 'failure': reason})
    return [*rows, *timed(graphs, image, name, 'CUDA graph', turns)]


def measure(networks: Mapping[str, nn.Module], image: torch.Tensor, formats: Sequence[str], ways: Sequence[str],
            turns: int, budget: float, journal: Journal) -> tuple[list[dict[str, Any]], list[str]]:
    """Rows, which are in the journal as they come, and what the budget left out."""
    deadline = time.perf_counter() + budget
    rows: list[dict[str, Any]] = []

    def keep(found: list[dict[str, Any]]) -> None:
        rows.extend(found)
        for row in found:
            journal.add(**row)

    for name in formats:
        if 'eager' in ways:
            keep(timed(networks, image, name, 'eager', turns))
        if 'CUDA graph' in ways:
            keep(timed_graphs(networks, image, name, turns))
    left_out = []
    for name in formats if 'compiled' in ways else []:
        for net, module in networks.items():
            if time.perf_counter() > deadline:
                left_out.append(f'{net} in {name}')
                continue
            torch.compiler.reset()  # one network at a time, or the limit of compiled variants would be met
            keep(timed({net: compiled(module)}, image, name, 'compiled', turns))
    return rows, left_out


def table(rows: Sequence[Mapping[str, Any]]) -> str:
    """Milliseconds: a line a network and way, a column a format."""
    formats = list(dict.fromkeys(row['format'] for row in rows))
    cells = {(row['network'], row['way'], row['format']): _milliseconds(row) for row in rows}
    lines = dict.fromkeys((row['network'], row['way']) for row in rows)
    return markdown_table(['network', 'run', *(f'ms in {name}' for name in formats)], [
        [*line, *(cells.get((*line, name), '-') for name in formats)] for line in lines])


def _milliseconds(row: Mapping[str, Any]) -> str:
    return 'fails' if 'failure' in row else '{1:.2f} ({0:.2f}-{2:.2f})'.format(*(1000 * s for s in row['seconds']))


def main(argv: Sequence[str] | None = None, networks: Callable[[], dict[str, nn.Module]] = make_networks) -> None:
    """
    Args:
        argv: The command line.
        networks: Makes those to time.
    """
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cuda', help='default: cuda')
    parser.add_argument('--ways', nargs='+', choices=WAYS, default=list(WAYS), help='default: all')
    parser.add_argument('--lr-size', type=int, default=128, help='side of the image in pixels (default: 128)')
    parser.add_argument('--turns', type=int, default=20, help='how often each network runs (default: 20)')
    parser.add_argument('--budget', type=float, default=150, help='seconds after which nothing more is compiled')
    parser.add_argument('--output', type=Path, default=Path('results/bench_latency'),
                        help='folder for table.md and results.json (default: results/bench_latency)')
    args = parser.parse_args(argv)
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda: PyTorch sees no GPU here')
    if args.device == 'cpu' and 'CUDA graph' in args.ways:
        parser.error('--device cpu has no CUDA graphs: choose --ways eager, compiled or both')
    if min(args.turns, args.lr_size) < 1:
        parser.error('--turns and --lr-size must be 1 or more')
    image = torch.rand(1, 3, args.lr_size, args.lr_size, device=args.device).to(memory_format=torch.channels_last)
    formats = [name for name in DTYPES if name in fast_formats(args.device)]
    rows, left_out = measure(networks(), image, formats, args.ways, args.turns, args.budget,
                             Journal(args.output / 'journal.jsonl'))
    failures = [f'{row["network"]}, {row["way"]}, {row["format"]}: {row["failure"]}'
                for row in rows if 'failure' in row]
    text = '\n\n'.join([
        table(rows), f'One image 3x{args.lr_size}x{args.lr_size}, channels_last, bf16 and fp16 by autocast; '
        f'{machine(args.device)}; median (quartiles) of {args.turns} turns.',
        *([f'Not compiled for want of time: {", ".join(left_out)}.'] if left_out else []), *failures])
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / 'table.md').write_text(f'{text}\n')
    (args.output / 'results.json').write_text(json.dumps({'rows': rows, 'left_out': left_out}, indent=2) + '\n')
    print(f'\n{text}\n\nWritten to {args.output}')


if __name__ == '__main__':
    main()
