"""Train FRVSR on your clips, remove half of its residual blocks, fine-tune with and without distillation, measure all.

  python scripts/demo_video.py --clips datasets/Vid4/GT             about half an hour on 2 cores
  python scripts/demo_video.py --clips datasets/Vid4/GT --iters 10  only to see that everything runs

--clips is a folder with a folder of frames for every clip. Networks are tested on the clips that they were trained on:
their figures show that the machinery learns (over-fitting), not what they are worth on other clips; for that there are
options/frvsr_b10.yml, kd_tecogan_b5.yml and REDS. BasicSR's train.py does the work. The same command goes on where it
was stopped.
"""
import argparse
import os
import re
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from common.measure import measure, report_of, sets_of
from common.overrides import override
from common.trainings import Run, run_script, train, write_options

from basicsr_kd.report.text import evaluation_text
from basicsr_kd.utils.text import markdown_table

RESULTS = Path('results/demo_video')
ITERATIONS = 1600
"""Of the network with 10 blocks; those with 5 are fine-tuned for a quarter as many."""


def plan(clips: Path, iterations: int = ITERATIONS) -> list[Run]:
    """The trainings, each after those whose weights it needs; all in the FRVSR stage, that is, without a discriminator.

    Args:
        clips: ground truth, a folder a clip.
        iterations: of the network with 10 blocks.
    """
    tuning = max(1, iterations // 4)
    whole, pruned, distilled, half = map(
        _read, ('frvsr_b10', 'prune_tecogan_b5', 'kd_tecogan_b5', 'prune_tecogan_half'))
    few = override(whole, {  # ema_decay: an average over 1,000 iterations would be of the untrained network
        'datasets.train': {'dataroot_gt': str(clips), 'val_partition': None, 'gt_size': 64, 'batch_size_per_gpu': 2,
                           'num_worker_per_gpu': 1, 'dataset_enlarge_ratio': 100, 'cache': 'ram'},
        'datasets.val': {'name': clips.name, 'dataroot_gt': str(clips)},
        'val': {'val_freq': tuning, 'metrics': {'lpips': None}}, 'logger': {'print_freq': 1},
        'train': {'amp': 'bf16', 'ema_decay': 0.99, 'optim_g': {'lr': 4e-4}, 'scheduler': {'milestones': []}}})

    def run(name: str, count: int, changes: dict[str, Any], **about: Any) -> Run:
        options = override(few, {'name': f'demo_video_{name}', 'train.total_iter': count, **changes})
        return Run(name, options, {**about, 'iterations': count, 'seed': options['manual_seed']})

    teacher = run('10_blocks', iterations, {}, role='teacher', blocks=10)
    start = {'path': {'pretrain_network_g': str(teacher.weights), 'param_key_g': 'params_ema'}}
    blocks = {**pruned['prune'], 'select': 'least', 'reconstruct': True}  # by what the training clips show
    lessons = {'teacher': {**distilled['teacher'], 'path': str(teacher.weights)},
               'train.distill_opt': distilled['train']['distill_opt']}
    return [teacher,
            run('5_blocks', tuning, {'prune': blocks, **start}, role='pruned_teacher', blocks=5),
            run('5_blocks_distilled', tuning, {'prune': blocks, **start, **lessons}, role='student', blocks=5),
            run('5_blocks_narrow_fnet_distilled', tuning,
                {'prune': [blocks, half['prune'][1]], **start, **lessons}, role='student', blocks=5),
            run('5_blocks_from_scratch', iterations + tuning, {'network_g.nb': 5}, blocks=5)]


def demo(clips: Path, iterations: int) -> None:
    """From clips to report; the working directory is the repository's root."""
    runs = plan(clips, iterations)
    sets = sets_of([f'{clips.name}={clips}'])  # before the training
    files = write_options(runs, RESULTS / 'runs')
    width = max(len(run.name) for run in runs)
    for index, run in enumerate(runs, 1):
        train(run, files[run.name], f'{index}/{len(runs)} {run.name:{width}}', gpus=1)
    result = measure({run.name: run.weights for run in runs}, sets, RESULTS,
                     about={run.name: run.about for run in runs}, metrics=['psnr', 'tof'], channel='y')
    print(f'\nTrained and tested on the same clips: this shows that it learns, not how good it is on others.\n\n'
          f'{progress_table([files[run.name].with_suffix(".log") for run in runs])}\n\n{evaluation_text(result)}')
    report_of(RESULTS, RESULTS / 'report')
    print(f'\nReport with pictures: {RESULTS}/report/index.html\nOptions and logs: {RESULTS}/runs')


def progress_table(logs: Sequence[Path]) -> str:
    """How networks learned, by their logs: the loss of pixels, whose crops differ much, and PSNR of the clips."""
    found = {log.stem: log.read_text() for log in logs}
    losses = {name: [float(value) for value in re.findall(r'l_g_pix: (\S+)', text)] for name, text in found.items()}
    psnr = {name: re.findall(r'# psnr: (\S+)', text) for name, text in found.items()}
    first, last = 10, 100
    return markdown_table(['run', f'pixel loss, first {first}', f'last {last}', 'PSNR on the way'], [
        [name, *(f'{statistics.fmean(part):.4f}' for part in (values[:first], values[-last:])),
         ' '.join(f'{float(value):.2f}' for value in psnr[name])] for name, values in losses.items()])


def _read(name: str) -> dict[str, Any]:
    return yaml.safe_load(Path(f'options/{name}.yml').read_text())


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--clips', type=Path, required=True, metavar='DIR', help='ground truth, a folder a clip')
    parser.add_argument('--iters', type=int, default=ITERATIONS, help=f'of the first network (default: {ITERATIONS})')
    args = parser.parse_args(argv)
    os.environ.setdefault('CUDA_VISIBLE_DEVICES', '0')  # options say num_gpu: auto
    run_script('demo_video', lambda: demo(args.clips, args.iters))


if __name__ == '__main__':
    main()
