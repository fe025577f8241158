"""How near networks in 8 bits come to a network in fp32, and how fast they are, beside NNCF's defaults.

  python scripts/int8_quality.py --weights RealESRGAN_x4plus.pth half.pth --calibration LR \
      --sets clean=others/LRx4 degraded=others/LRdegraded

Every network is written in fp32, in 8 bits by NNCF with its defaults, and as `basicsr-kd export --int8` does it. All
are compared with the first network in PyTorch in fp32 as `basicsr-kd evaluate --teacher` does it, and take turns in one
process; a time ratio is that of a run to the run of the first network in fp32 of the same turn and runtime.
"""
import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from statistics import median, quantiles
from typing import Any

import numpy as np
from common.measure import BORDER
from tqdm import tqdm

from basicsr_kd.deploy.export.formats import FORMATS, KINDS, QUANTISED
from basicsr_kd.deploy.export.graph import graph_of
from basicsr_kd.deploy.export.int8 import to_eight_bits
from basicsr_kd.deploy.export.writers import Job, write
from basicsr_kd.deploy.network import TorchNetwork
from basicsr_kd.deploy.open import open_network
from basicsr_kd.errors import BasicSRKDError
from basicsr_kd.evaluation.checks import CheckedSets, check_sets
from basicsr_kd.evaluation.evaluate import evaluate
from basicsr_kd.evaluation.methods import Network
from basicsr_kd.evaluation.protocol import Protocol
from basicsr_kd.evaluation.schema import Evaluation
from basicsr_kd.evaluation.scorer import Scorer
from basicsr_kd.evaluation.sets import ImageSet, pair_folders
from basicsr_kd.metrics.timing import time_in_turns
from basicsr_kd.pruning import read_calibration
from basicsr_kd.utils.text import markdown_table

WAYS = {'fp32': 'fp32', 'nncf': "8 bits, NNCF's defaults", 'int8': '8 bits, `export --int8`'}
RUNTIMES = [runtime for runtime, kind in KINDS.items() if kind in QUANTISED]
METRICS = ('psnr', 'texture')


def files_of(weights: Path, runtime: str, args: argparse.Namespace) -> dict[str, Path]:
    """The network written in every way; files that are there are taken as they are."""
    kind = KINDS[runtime]
    files = {way: args.output / f'{weights.stem}-{way}{FORMATS[kind].suffix}' for way in WAYS}
    missing = {way: path for way, path in files.items() if not path.exists()}
    if missing:
        network = TorchNetwork(weights.stem, weights)
        graph = graph_of(network.net, network.scale, network.multiple)
        calibration = read_calibration(args.calibration, args.num, args.size)
        for way, path in missing.items():
            job = Job(weights, kind, 'fp32' if way == 'fp32' else 'int8', calibration, by_nncf=way == 'nncf')
            graph_here = to_eight_bits(graph, calibration, tqdm.write)[0] if way == 'int8' else graph
            unfinished = path.with_stem(f'{path.stem}-unfinished')
            for file in reversed(write(job, graph_here, unfinished, path)):  # the one that is looked for comes last
                file.rename(file.with_stem(path.stem))
    return files


def judge(files: Mapping[str, Path], teacher: Path, sets: CheckedSets) -> Evaluation:
    """Nearness of every file to the teacher."""
    methods = {name: Network(name, path) for name, path in files.items()}
    scorer = Scorer(Protocol(METRICS, border=BORDER, channel='y'), 'cpu')
    return evaluate(methods, sets, scorer, teacher=Network('teacher', teacher), progress=True)


def shares(files: Mapping[str, Path], args: argparse.Namespace) -> dict[str, list[float]]:
    """Quartiles of every file's time as a share of the first one's."""
    image = np.random.default_rng(0).random((1, 3, args.side, args.side), np.float32)
    runners = {}
    for name, path in files.items():
        precision = 'int8' if name.rpartition(' ')[2] != 'fp32' else 'fp32'
        runners[name] = partial(open_network(name, path, precision=precision, threads=args.threads).run_net, image)
    taken, failures = time_in_turns(runners, args.turns, progress=True)
    for name, why in failures.items():
        print(f'{name} cannot be timed: {why}', file=sys.stderr)
    first = taken[next(iter(files))]
    print(f'{next(iter(files))}: {1000 * median(first):.0f} ms', file=sys.stderr)
    return {name: quantiles([one / whole for one, whole in zip(its, first, strict=True)], n=4)
            for name, its in taken.items()}


def table(rows: Sequence[Mapping[str, Any]], sets: Sequence[str]) -> str:
    """The rows as Markdown: PSNR and texture for each set, and time with its quartiles."""
    return markdown_table(
        ['network', 'runtime', 'way', 'MB', *sets, 'time (quartiles)'],
        [[row['network'], row['runtime'], WAYS[row['way']], f'{row["bytes"] / 1e6:.1f}',
          *(', '.join(_number(row['scores'][name][metric]) for metric in METRICS) for name in sets),
          '{1:.3f} ({0:.3f} to {2:.3f})'.format(*row['time']) if 'time' in row else '-'] for row in rows])


def _number(score: float | str | None) -> str:
    return '-' if score is None else f'{float(score):.2f}'  # 'inf' of equal images is a number, too


def run(args: argparse.Namespace) -> str:
    """Measure all runtimes; returns the table."""
    args.output.mkdir(parents=True, exist_ok=True)
    named = dict(option.partition('=')[::2] for option in args.sets)
    folders = {name: Path(folder) for name, folder in named.items()}
    sets = check_sets([ImageSet(name, None, folder, pair_folders(None, folder)) for name, folder in folders.items()],
                      scale=TorchNetwork('teacher', args.weights[0]).scale)
    rows = []
    for runtime in args.runtimes:
        files = {f'{weights.stem} {way}': path for weights in args.weights
                 for way, path in files_of(weights, runtime, args).items()}
        times = shares(files, args)
        for method in judge(files, args.weights[0], sets).methods:
            network, _, way = method.name.rpartition(' ')
            path = files[method.name]
            size = sum(file.stat().st_size for file in (path, path.with_suffix('.bin')) if file.exists())
            scores = {name: {metric: figures.mean[metric] for metric in METRICS}
                      for name, figures in method.scores.items()}
            rows.append({'network': network, 'runtime': runtime, 'way': way, 'bytes': size, 'scores': scores} |
                        ({'time': times[method.name]} if method.name in times else {}))
        (args.output / 'results.json').write_text(json.dumps(rows, indent=2) + '\n')
    text = table(rows, list(named))
    (args.output / 'table.md').write_text(f'{text}\n')
    return text


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--weights', type=Path, nargs='+', required=True,
                        help='networks; the first is what all are compared with')
    parser.add_argument('--calibration', required=True, help='folder of low-resolution images to measure ranges on')
    parser.add_argument('--sets', nargs='+', required=True, metavar='NAME=LRDIR',
                        help='folders of other low-resolution images, to be judged by')
    parser.add_argument('--runtimes', nargs='+', choices=RUNTIMES, default=['openvino'], help='default: openvino')
    parser.add_argument('--num', type=int, default=16, help='calibration images (default: 16)')
    parser.add_argument('--size', type=int, default=80, help='side of their middle (default: 80)')
    parser.add_argument('--side', type=int, default=128, help='side of the image that is timed (default: 128)')
    parser.add_argument('--threads', type=int, default=1, help='default: 1')
    parser.add_argument('--turns', type=int, default=9, help='turns of timing (default: 9)')
    parser.add_argument('--output', type=Path, default=Path('results/int8_quality'),
                        help='folder for table.md, results.json and the files (default: results/int8_quality)')
    args = parser.parse_args(argv)
    if odd := [option for option in args.sets if not all(option.partition('='))]:
        parser.error(f'--sets {odd[0]} is not of the form NAME=LRDIR')
    try:
        text = run(args)
    except BasicSRKDError as error:
        sys.exit(f'int8_quality: {error}')
    print(f'\n{text}\n\nWritten to {args.output}')


if __name__ == '__main__':
    main()
