"""Train and measure what Tables 1 and 2 of the paper need, and write the report.

  python scripts/paper_tables.py --scale demo    small networks on the demo's photos, some minutes on 2 cores
  python scripts/paper_tables.py --sets BSD100=datasets/BSD100/HR,datasets/BSD100/LRx4 \\
      Set14=datasets/Set14/HR,datasets/Set14/LRx4 Urban100=datasets/Urban100/HR,datasets/Urban100/LRx4

At full scale these are eleven trainings of 100,000 iterations by options/prune_esrgan_r*.yml and kd_esrgan_s*.yml,
whose data and teacher (README, "Your own ESRGAN") must be there; several GPUs: --gpus. BasicSR's train.py does the
work. The same command goes on where it was stopped. PSNR and SSIM are on RGB, as the paper's figures seem to be.
"""
import argparse
import os
from collections.abc import Sequence
from pathlib import Path

import torch
from common.demo_photos import make_demo_data
from common.measure import measure, report_of, sets_of
from common.trainings import PlanError, run_script, train, write_options
from studies.paper_plan import SCALES, plan, teacher_file

from basicsr_kd.report.text import evaluation_text
from basicsr_kd.utils.metric_names import IMAGE_METRICS, SET_METRICS

DEMO = Path('datasets/demo')
DEMO_SETS = [f'demo={DEMO}/val/HR,{DEMO}/val/LRx4']


def paper_tables(args: argparse.Namespace) -> None:
    """Everything, from photos to report; the working directory is the repository's root."""
    runs = plan(args.scale, args.iters)
    if args.scale == 'demo':
        make_demo_data(DEMO)
    sets = sets_of(args.sets or DEMO_SETS)  # before hours of training
    teacher = teacher_file(SCALES[args.scale])
    if not teacher.exists():
        raise PlanError(f'{teacher}, the unpruned teacher, is missing. README, "Your own ESRGAN", says how to get it.')
    folder = Path('results', f'paper_tables_{args.scale}')
    files = write_options(runs, folder / 'runs')
    width = max(len(run.name) for run in runs)
    for index, run in enumerate(runs, 1):
        train(run, files[run.name], f'{index:2}/{len(runs)} {run.name:{width}}', args.gpus)
    networks = {'teacher': teacher, **{run.name: run.weights for run in runs}}
    about = {'teacher': {'role': 'teacher'}, **{run.name: run.about for run in runs}}
    result = measure(networks, sets, folder, about=about, metrics=args.metrics, channel='rgb', device=args.device)
    print(f'\n{evaluation_text(result)}')
    report_of(folder, folder / 'report')
    print(f'\nReport: {folder}/report/index.html, tables as Markdown, LaTeX and CSV beside it')


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--scale', choices=list(SCALES), default='full', help='default: full')
    parser.add_argument('--sets', nargs='+', metavar='NAME=HRDIR,LRDIR',
                        help='x4 test sets (demo: the held-out parts of its photos)')
    parser.add_argument('--metrics', nargs='+', choices=[*IMAGE_METRICS, *SET_METRICS], metavar='NAME',
                        default=['psnr', 'ssim', 'lpips', 'fid'],
                        help='as of basicsr-kd evaluate (default: psnr ssim lpips fid)')
    parser.add_argument('--iters', type=int, help='iterations of every training, only to see that it runs')
    parser.add_argument('--gpus', type=int, default=1, help='GPUs of this machine to train on (default: 1)')
    parser.add_argument('--device', default='cuda' if torch.cuda.is_available() else 'cpu', help='for measuring')
    args = parser.parse_args(argv)
    if args.scale == 'full' and not args.sets:
        parser.error('--sets is needed at full scale, such as Set14=datasets/Set14/HR,datasets/Set14/LRx4')
    return args


def main(argv: Sequence[str] | None = None) -> None:
    args = parse_args(argv)
    if args.gpus == 1:
        os.environ.setdefault('CUDA_VISIBLE_DEVICES', '0')  # options say num_gpu: auto
    run_script('paper_tables', lambda: paper_tables(args))


if __name__ == '__main__':
    main()
