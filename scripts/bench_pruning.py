"""How much faster pruned networks are, and what the pruning itself costs in seconds and memory.

  python scripts/bench_pruning.py                      the 16.7 M RRDBNet on the CPU, about 15 minutes on 2 cores
  python scripts/bench_pruning.py --device cuda --lr-size 256
  python scripts/bench_pruning.py --weights ESRGAN_x4.pth --layouts growth balanced width blocks

All networks take turns in one process, so that a slow moment of the machine meets each; a time ratio is that of a
pruned network's run to the unpruned network's run of the same turn. Without --weights the network is random, every
channel with a scale of its own, so that pruning has something to choose.
"""
import argparse
import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench.networks import (
    COST_RATIO,
    DEFAULT_LAYOUTS,
    DEFAULT_ROUND_TO,
    QUARTILES,
    Entry,
    load_network,
    machine,
    pruned_networks,
    pruning_costs,
)
from torch import nn

from basicsr_kd.errors import BasicSRKDError
from basicsr_kd.metrics.speed import forward_times
from basicsr_kd.report import markdown_table
from basicsr_kd.utils.modes import fast_formats

CLAIM = 0.05
"""By how much a time ratio may exceed the MAC ratio where the widths are pruning's default."""


def measure(networks: dict[Entry, nn.Module], device: str, lr_size: int, batch: int,
            turns: int) -> dict[str, np.ndarray]:
    """Seconds of a forward pass, (turns, networks), by number format; the unpruned network is the first.

    Without formats in which one of the networks cannot run.
    """
    formats = fast_formats(device)
    if 'bf16' not in formats:
        print(f'bf16 is left out: PyTorch has no fast bf16 on this {"GPU" if device == "cuda" else "CPU"}.')
    times, failures = forward_times({entry.name: net for entry, net in networks.items()},
                                    torch.rand(batch, 3, lr_size, lr_size, device=device), formats, turns,
                                    progress=True)
    for (name, kind), reason in failures.items():
        print(f'{kind} is left out: {name} cannot run in it: {reason}')
    formats = [kind for kind in formats if not any(failed == kind for _, failed in failures)]
    if not formats:
        sys.exit('bench_pruning: nothing is left to time. A smaller --lr-size or --batch takes less memory.')
    return {kind: np.array([times[entry.name, kind] for entry in networks]).T for kind in formats}


def speed_rows(entries: Sequence[Entry], times: dict[str, np.ndarray]) -> list[dict[str, Any]]:
    """A JSON-ready row a network: quartiles of seconds and of the ratio to the unpruned network's, by format."""
    return [asdict(entry) | {'default': entry.default} | {
        name: {'seconds': np.quantile(taken[:, index], QUARTILES).tolist(),
               'time_ratio': np.quantile(taken[:, index] / taken[:, 0], QUARTILES).tolist()}
        for name, taken in times.items()} for index, entry in enumerate(entries)]


def speed_table(rows: Sequence[dict[str, Any]], formats: Sequence[str]) -> str:
    header = ['network', 'parameters', 'MAC ratio', *(f'time ratio {name}' for name in formats),
              *(f'seconds {name}' for name in formats)]
    return markdown_table(header, [
        [row['name'], f'{row["params"]:,}', f'{row["mac_ratio"]:.3f}',
         *('{1:.3f} ({0:.3f}-{2:.3f})'.format(*row[name]['time_ratio']) for name in formats),
         *(f'{row[name]["seconds"][1]:.3f}' for name in formats)] for row in rows])


def claim(rows: Sequence[dict[str, Any]], formats: Sequence[str]) -> str:
    """Whether what pruning does by default pays in time."""
    checked = [(f'{row["name"]} in {name}', row[name]['time_ratio'][1] - row['mac_ratio'])
               for row in rows if row['default'] for name in formats]
    broken = [f'{what} (+{excess:.3f})' for what, excess in checked if excess > CLAIM]
    return (f'Time ratio <= MAC ratio + {CLAIM} with round_to {DEFAULT_ROUND_TO}: '
            f'{len(checked) - len(broken)} of {len(checked)}' + (f'; not {", ".join(broken)}' if broken else '') + '.')


def cost_table(costs: Sequence[dict[str, Any]]) -> str:
    return markdown_table([f'pruning by {COST_RATIO}', 'seconds', 'peak memory of the process'], [
        [cost['layout'], f'{cost["seconds"]:.1f}' if 'seconds' in cost else '-',
         f'{cost["peak_gib"]:.2f} GiB' if cost.get('peak_gib') else '-'] for cost in costs])


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--weights', help='checkpoint of the network to prune (default: a random 16.7 M RRDBNet)')
    parser.add_argument('--layouts', nargs='+', choices=['growth', 'balanced', 'width', 'blocks'],
                        default=list(DEFAULT_LAYOUTS), help='default: growth balanced')
    parser.add_argument('--ratios', nargs='+', type=float, default=[0.3, 0.5], help='default: 0.3 0.5')
    parser.add_argument('--round-to', nargs='+', type=int, default=[1, 8, 16], help='default: 1 8 16')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu', help='default: cpu')
    parser.add_argument('--lr-size', type=int, default=96, help='side of the input in pixels (default: 96)')
    parser.add_argument('--batch', type=int, default=1, help='default: 1')
    parser.add_argument('--turns', type=int, default=15, help='how often each network runs (default: 15)')
    parser.add_argument('--cost-layouts', nargs='*', choices=['growth', 'width', 'balanced', 'blocks', 'unstructured'],
                        default=['growth', 'width', 'balanced', 'blocks', 'unstructured'],
                        help='whose pruning is measured itself (default: all)')
    parser.add_argument('--output', type=Path, default=Path('results/bench_pruning'),
                        help='folder for table.md and results.json (default: results/bench_pruning)')
    args = parser.parse_args(argv)
    if min(args.turns, args.lr_size, args.batch) < 1:
        parser.error('--turns, --lr-size and --batch must be 1 or more')
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda: PyTorch sees no GPU here')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        networks = pruned_networks(load_network(args.weights), args.layouts, args.ratios, args.round_to)
    except BasicSRKDError as error:
        sys.exit(f'bench_pruning: {error}')
    costs = pruning_costs(args.weights, args.cost_layouts)
    times = measure(networks, args.device, args.lr_size, args.batch, args.turns)
    rows = speed_rows(list(networks), times)
    protocol = (f'{args.weights or "RRDBNet, 64 features, 32 growth channels, 23 blocks, random weights"}; '
                f'input {args.batch}x3x{args.lr_size}x{args.lr_size}, channels_last, bf16 and fp16 by autocast; '
                f'{machine(args.device)}; median (quartiles) of {args.turns} turns.')
    text = '\n\n'.join([speed_table(rows, list(times)), claim(rows, list(times)), cost_table(costs), protocol])
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / 'table.md').write_text(f'{text}\n')
    (args.output / 'results.json').write_text(json.dumps({
        'protocol': protocol, 'networks': rows, 'pruning': costs,
        'seconds': {name: taken.tolist() for name, taken in times.items()}}, indent=2) + '\n')
    print(f'\n{text}\n\nWritten to {args.output}')


if __name__ == '__main__':
    main()
