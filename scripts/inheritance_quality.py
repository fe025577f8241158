"""What a student inherits from a teacher (student: {init: teacher}), before any training: PSNR on sets of images.

  python scripts/inheritance_quality.py --calibration TRAIN/LRx4 --sets Set5=HR,LR Set14=HR,LR
  python scripts/inheritance_quality.py ... --weights realesr-general-x4v3.pth \
      --student num_feat=48 --student num_conv=16 --student num_feat=48 num_conv=16

A student is the teacher with other numbers in its options. Without --weights the teacher is the demo's, judged by the
ground truth; other networks are judged by their own output. Some minutes on one core.
"""
import argparse
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from common.measure import QualityError
from pruning_quality import TEACHER, read_sets
from studies.pruning_cases import Judge
from torch import nn
from tqdm import tqdm

from basicsr_kd.archs.build import build
from basicsr_kd.archs.from_file import build_from_file, read_architecture
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.distillation.inheritance import inherit
from basicsr_kd.errors import BasicSRKDError
from basicsr_kd.pruning import read_calibration
from basicsr_kd.report import markdown_table

WAYS = {'l2': ('l2', False), 'taylor': ('taylor', False), 'taylor, refitted': ('taylor', True)}
"""Importance and reconstruct by what the table calls them."""
DEMO_STUDENTS = [['num_feat=16'], ['num_feat=24'], ['num_block=2'], ['num_block=1'], ['num_feat=16', 'num_block=1']]


def students_of(teacher: Path, changes: Sequence[Sequence[str]]) -> dict[str, nn.Module]:
    """Random students by what they are called.

    Raises:
        QualityError: a change is none of the form name=number.
        CheckpointError, ValueError: nothing tells what the teacher is, or it cannot be built that way.
    """
    options = read_architecture(read_state_dict(str(teacher)), str(teacher))
    students = {}
    for change in changes:
        wrong = [part for part in change if not part.partition('=')[2].isdigit()]
        if wrong:
            raise QualityError(f'--student {wrong[0]} is not of the form name=number.')
        numbers = {name: int(value) for name, _, value in (part.partition('=') for part in change)}
        students[' '.join(change)] = build({**options, **numbers})
    return students


def measure(args: argparse.Namespace) -> str:
    """The table, in Markdown."""
    sets = read_sets(args.sets)
    images = read_calibration(args.calibration, args.num, args.size)
    path = args.weights or TEACHER
    teacher = build_from_file(str(path)).eval()
    judge = Judge(sets, teacher if args.weights else None, 'cpu')
    students = students_of(path, args.student or DEMO_STUDENTS)
    rows = []
    if not args.weights:
        rows.append(['the teacher itself', f'{_count(teacher):,}', '-', *_cells(judge, teacher), '-'])
    for name, student in tqdm(students.items(), unit='student'):
        for way, (importance, refits) in WAYS.items():
            start = time.perf_counter()
            inherit(student, teacher, importance=importance, calibration=images, reconstruct=refits)
            seconds = time.perf_counter() - start
            rows.append([name, f'{_count(student):,}', way, *_cells(judge, student), f'{seconds:.0f}'])
    return markdown_table(['student', 'parameters', 'inherits by', *sets, 'seconds'], rows)


def _count(net: nn.Module) -> int:
    return sum(parameter.numel() for parameter in net.parameters())


def _cells(judge: Judge, net: nn.Module) -> list[str]:
    return [f'{psnr:.2f}' for psnr in judge.psnr(net).values()]


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--sets', nargs='+', required=True, metavar='NAME=HRDIR,LRDIR',
                        help='folders of x4 pairs, the same file names in both')
    parser.add_argument('--calibration', type=Path, required=True, help='folder of low-resolution images, not in a set')
    parser.add_argument('--num', type=int, default=16, help='calibration images (default: 16)')
    parser.add_argument('--size', type=int, default=96, help='their side in pixels (default: 96)')
    parser.add_argument('--weights', type=Path,
                        help='an x4 teacher, judged by its own output (default: the demo teacher)')
    parser.add_argument('--student', nargs='+', action='append', metavar='NAME=NUMBER',
                        help="numbers in which the student's options differ from the teacher's; may be given again")
    args = parser.parse_args(argv)
    try:
        print(measure(args))
    except (BasicSRKDError, ValueError) as error:
        sys.exit(f'inheritance_quality: {error}')


if __name__ == '__main__':
    main()
