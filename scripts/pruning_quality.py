"""What pruning costs in quality before any fine-tuning: every importance in every layout, as tables and JSON.

  python scripts/pruning_quality.py --calibration datasets/train/LRx4 \\
      --sets Set5=datasets/Set5/HR,datasets/Set5/LRx4 Set14=datasets/Set14/HR,datasets/Set14/LRx4

The committed demo teacher is judged by the ground truth; another x4 network, --weights, by what it puts out unpruned.
PSNR in dB, Y channel, 4 border pixels left out, mean over the images of a set. Every result is written as it comes: the
same command goes on where it was stopped, and more layouts, importances, ratios or weights add to the tables.
"""
import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from common.measure import QualityError, named_folders, read_set
from studies.pruning_cases import IMPORTANCES, LAYOUTS, SEEDS, SELECTS, Case, Judge, judge_case, quality_tables
from torch import nn
from tqdm import tqdm

from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.errors import BasicSRKDError
from basicsr_kd.pruning import read_calibration

TEACHER = Path(__file__).parents[1] / 'basicsr_kd/weights/demo_teacher.pth'


class Results:
    """The results in a folder: table.md and results.json, each of which is complete or as it was.

    Raises:
        QualityError: the folder holds results of other settings.
    """

    def __init__(self, folder: Path, settings: dict[str, Any]) -> None:
        self.folder = folder
        self.content: dict[str, Any] = {'settings': settings, 'networks': {}, 'unpruned': {}, 'rows': {}}
        file = folder / 'results.json'
        if file.exists():
            self.content = json.loads(file.read_text())
            self._must_agree('settings', settings)
        folder.mkdir(parents=True, exist_ok=True)

    def add_network(self, name: str, path: Path) -> None:
        """Its results are added to those of the same file.

        Raises:
            QualityError: those under its name are of another file.
        """
        self._must_agree('networks', {name: str(path)})
        self.content['networks'][name] = str(path)

    def has(self, case: Case) -> bool:
        """Whether it was measured; what was refused may be possible by now and costs nothing to try."""
        return 'psnr' in self.content['rows'].get(case.key, {})

    def add(self, case: Case, row: dict[str, Any]) -> None:
        self.content['rows'][case.key] = row
        self._write('results.json', json.dumps(self.content, indent=2) + '\n')
        self._write('table.md', f'{self.tables()}\n')

    def tables(self) -> str:
        """Of these and all earlier runs into the folder."""
        return quality_tables(list(self.content['rows'].values()), self.content['unpruned'])

    def _must_agree(self, section: str, wanted: dict[str, Any]) -> None:
        before = self.content[section]
        changes = [f'{key}: {before[key]} before, {value} now' for key, value in wanted.items()
                   if before.get(key, value) != value]
        if changes:
            raise QualityError(f'{self.folder} holds results of other {section} ({"; ".join(changes)}). Choose another '
                               '--output or remove that folder.')

    def _write(self, name: str, text: str) -> None:
        temporary = self.folder / f'.{name}.tmp'
        temporary.write_text(text)
        os.replace(temporary, self.folder / name)


def all_cases(network: str, args: argparse.Namespace) -> list[Case]:
    """Every layout with every choice and ratio, refitted and, if that is wanted, as pruned."""
    return [Case(network, layout, choice, ratio, reconstruct)
            for layout in args.layouts for choice in (SELECTS if layout == 'blocks' else args.importances)
            for ratio in args.ratios for reconstruct in ((True,) if args.only_refitted else (False, True))]


def read_sets(options: Sequence[str]) -> dict[str, Any]:
    """Arguments of --sets to images by name."""
    return {name: read_set(hr, lr) for name, hr, lr in map(named_folders, options)}


def run(args: argparse.Namespace) -> str:
    """Measure what is not measured yet; returns the tables."""
    sets = read_sets(args.sets)
    calibration = read_calibration(args.calibration, args.num, args.size)
    results = Results(args.output, {'sets': sorted(args.sets), 'calibration': str(args.calibration), 'num': args.num,
                                    'size': args.size, 'round_to': args.round_to, 'seeds': SEEDS})
    networks: dict[str, nn.Module] = {}
    for path in filter(None, (args.teacher, args.weights)):
        networks[path.stem] = build_from_file(str(path)).eval()
        results.add_network(path.stem, path)
    cases = {name: all_cases(name, args) for name in networks}
    left = {name: [case for case in cases[name] if not results.has(case)] for name in networks}
    total = sum(map(len, cases.values()))
    with tqdm(total=total, initial=total - sum(map(len, left.values())), unit='case') as bar:
        for name, net in networks.items():
            own = name != args.teacher.stem
            judge = Judge(sets, net if own else None, args.device)
            results.content['unpruned'][name] = {} if own else judge.psnr(net)
            for case in left[name]:
                bar.set_description(case.key)
                row = judge_case(case, net, calibration, args.round_to, judge)
                results.add(case, row)
                if 'psnr' in row:
                    tqdm.write(f'{case.key}: ' + ', '.join(f'{one} {value:.2f} dB'
                                                           for one, value in row['psnr'].items()))
                bar.update()
    return results.tables()


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--sets', nargs='+', required=True, metavar='NAME=HRDIR,LRDIR',
                        help='folders of x4 pairs, the same file names in both')
    parser.add_argument('--calibration', type=Path, required=True, help='folder of low-resolution images, not in a set')
    parser.add_argument('--num', type=int, default=16, help='calibration images (default: 16)')
    parser.add_argument('--size', type=int, default=96, help='their side in pixels (default: 96)')
    parser.add_argument('--teacher', type=Path, default=TEACHER,
                        help='x4 network judged by the ground truth (default: the demo teacher)')
    parser.add_argument('--weights', type=Path, help='another x4 network, judged by its own unpruned output')
    parser.add_argument('--layouts', nargs='+', choices=LAYOUTS, default=list(LAYOUTS), help='default: all')
    parser.add_argument('--importances', nargs='+', choices=IMPORTANCES, default=list(IMPORTANCES), help='default: all')
    parser.add_argument('--ratios', nargs='+', type=float, default=[0.1, 0.3, 0.5], help='default: 0.1 0.3 0.5')
    parser.add_argument('--only-refitted', action='store_true',
                        help='refit all; for large networks, where every pruning takes minutes')
    parser.add_argument('--round-to', type=int, default=16, help='default: 16')
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu',
                        help='where networks run to be measured (default: cpu)')
    parser.add_argument('--output', type=Path, default=Path('results/pruning_quality'),
                        help='folder for table.md and results.json (default: results/pruning_quality)')
    args = parser.parse_args(argv)
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda: PyTorch sees no GPU here')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    try:
        text = run(args)
    except BasicSRKDError as error:
        sys.exit(f'pruning_quality: {error}')
    except KeyboardInterrupt:
        sys.exit('pruning_quality: stopped. Run the same command again to go on; what was measured is kept.')
    print(f'\n{text}\n\nWritten to {args.output}')


if __name__ == '__main__':
    main()
