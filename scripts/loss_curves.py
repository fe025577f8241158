"""Whether bf16 keeps the loss curve: the demo's student trained in each number format from the same seed.

  python scripts/loss_curves.py               300 iterations each, about 5 minutes on 2 cores
  python scripts/loss_curves.py --iters 1000

The training is that of options/demo_kd_s16.yml from the demo's unpruned teacher and discriminator. All in fp32, with
the teacher alone in bf16 (the default) and all in bf16 it sees the same images in the same order. One more run in fp32
starts from another seed: what differs less than those two is chance. Results: curves.png, table.md and results.json.
"""
import argparse
import copy
import json
import re
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from common.demo_photos import make_demo_data
from common.trainings import Run, iteration, run_script, train, write_options
from matplotlib import colormaps
from matplotlib.figure import Figure

from basicsr_kd.report import markdown_table
from basicsr_kd.utils.modes import fast_formats

OPTIONS = Path('options/demo_kd_s16.yml')
WEIGHTS = Path('basicsr_kd/weights')
FORMATS = {  # name: train.amp, teacher.amp, manual_seed
    'fp32': ('fp32', 'fp32', 0), 'teacher bf16 (default)': ('fp32', 'bf16', 0), 'bf16': ('bf16', 'bf16', 0),
    'fp32, another seed': ('fp32', 'fp32', 1)
}
TERMS = {'l_g_pix': 'L1 loss', 'l_g_distill': 'feature distillation', 'l_g_gan': 'GAN loss of the student'}
_TERM = re.compile(r'(l_\w+): ([-+.\de]+)')
_PSNR = re.compile(r'# psnr_y: ([\d.]+)')
_SMOOTH = 20
"""Iterations that a point of a curve is the mean of."""

Curves = dict[str, dict[int, float]]
"""By term of the loss its value in each iteration."""


def format_runs(options: Mapping[str, Any], iterations: int) -> list[Run]:
    """A training in each format; every iteration goes into the log."""
    runs = []
    for name, (amp, teacher_amp, seed) in FORMATS.items():
        opt = copy.deepcopy(dict(options))
        slug = re.sub(r'\W+', '_', name).strip('_')
        opt.update(name=f'loss_curves_{slug}_{iterations}', manual_seed=seed)
        opt['teacher'] = {'path': str(WEIGHTS / 'demo_teacher.pth'), 'amp': teacher_amp}
        opt['path']['pretrain_network_d'] = str(WEIGHTS / 'demo_teacher_netD.pth')
        opt['train'].update(amp=amp, total_iter=iterations)
        opt['train']['scheduler']['periods'] = [iterations]
        opt['val']['val_freq'] = opt['logger']['save_checkpoint_freq'] = iterations
        opt['logger'].update(print_freq=1, use_tb_logger=False)
        runs.append(Run(name, opt, {}))
    return runs


def read_log(text: str) -> tuple[Curves, float | None]:
    """Terms of the loss by iteration and the last PSNR (Y, dB) from BasicSR's training log."""
    curves: Curves = {}
    for line in text.splitlines():
        at = iteration(line)
        if at is not None:
            for term, value in _TERM.findall(line):
                curves.setdefault(term, {})[at] = float(value)
    psnr = _PSNR.findall(text)
    return curves, float(psnr[-1]) if psnr else None


def read_run(run: Run) -> tuple[Curves, float | None]:
    """`read_log` of all logs of an experiment: one that was stopped has several."""
    logs = sorted(run.weights.parents[1].glob('train_*.log'))
    return read_log('\n'.join(log.read_text() for log in logs))


def rows(found: Mapping[str, tuple[Curves, float | None]]) -> list[dict[str, Any]]:
    """A JSON-ready row a format.

    Returns:
        By term `mean`, that over the last half of the iterations; `change`, its difference to the first row's,
        relative; `distance`, the mean absolute difference of the smoothed curves over all iterations, relative to the
        mean of the first.
    """
    result = []
    first = next(iter(found.values()))[0]
    for name, (curves, psnr) in found.items():
        row: dict[str, Any] = {'name': name, 'psnr_y': psnr, 'mean': {}, 'change': {}, 'distance': {}}
        for term in TERMS:
            reference, values = (np.array([its[term][at] for at in sorted(its[term])]) for its in (first, curves))
            mean, base = (float(line[len(line) // 2:].mean()) for line in (values, reference))
            row['mean'][term], row['change'][term] = mean, (mean - base) / abs(base)
            row['distance'][term] = float(np.abs(smooth(values) - smooth(reference)).mean() / abs(reference.mean()))
        result.append(row)
    return result


def smooth(values: np.ndarray) -> np.ndarray:
    """Running mean; as many values fewer as it takes."""
    width = min(_SMOOTH, len(values))
    return np.convolve(values, np.full(width, 1 / width), mode='valid')


def table(found: Sequence[Mapping[str, Any]]) -> str:
    return markdown_table(['training', *(f'{title} (to fp32; curves apart)' for title in TERMS.values()), 'PSNR-Y'], [
        [row['name'], *(f'{row["mean"][term]:.4g} ({row["change"][term]:+.2%}; {row["distance"][term]:.2%})'
                        for term in TERMS), f'{row["psnr_y"]:.2f} dB' if row['psnr_y'] else '-'] for row in found])


def plot(path: Path, found: Mapping[str, tuple[Curves, float | None]]) -> None:
    """A panel a term: the curves of all formats, smoothed."""
    figure = Figure(figsize=(8, 1 + 2.6 * len(TERMS)), dpi=110, layout='constrained')
    for index, (term, title) in enumerate(TERMS.items(), start=1):
        axes = figure.add_subplot(len(TERMS), 1, index)
        for number, (name, (curves, _)) in enumerate(found.items()):
            places = sorted(curves[term])
            values = smooth(np.array([curves[term][at] for at in places]))
            axes.plot(places[-len(values):], values, color=colormaps['tab10'](number), linewidth=1.3, label=name,
                      linestyle=':' if 'seed' in name else '-')
        axes.set_title(f'{title}, mean of {_SMOOTH} iterations', fontsize=10, loc='left')
        axes.spines[['top', 'right']].set_visible(False)
        axes.grid(True, color='#e5e5e5')
        if index == 1:
            axes.set_yscale('log')
            axes.legend(frameon=False, fontsize=9)
    axes.set_xlabel('iterations')
    figure.savefig(path)


def loss_curves(iterations: int, output: Path) -> None:
    """From photos to plot; the working directory is the repository's root."""
    make_demo_data(Path('datasets/demo'))
    runs = format_runs(yaml.safe_load(OPTIONS.read_text()), iterations)
    files = write_options(runs, output)
    for number, run in enumerate(runs, start=1):
        train(run, files[run.name], f'{number}/{len(runs)} {run.name}', gpus=1)
    found = {run.name: read_run(run) for run in runs}
    result = rows(found)
    text = (f'{table(result)}\n\nMeans over the last half of {iterations} iterations; in brackets the difference to '
            'the first row, and how far apart the smoothed curves lie on average, in shares of the first row. PSNR (Y) '
            'on the held-out parts.')
    (output / 'table.md').write_text(f'{text}\n')
    (output / 'results.json').write_text(json.dumps(
        {'runs': result, 'curves': {name: curves for name, (curves, _) in found.items()}}, indent=2) + '\n')
    plot(output / 'curves.png', found)
    print(f'\n{text}\n\nWritten to {output}')


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--iters', type=int, default=300, help='iterations of each training (default: 300)')
    parser.add_argument('--output', type=Path, default=Path('results/loss_curves'),
                        help='folder for curves.png, table.md, results.json and logs (default: results/loss_curves)')
    args = parser.parse_args()
    if args.iters < 2:
        parser.error('--iters must be 2 or more')
    device = 'cuda' if torch.cuda.is_available() else 'cpu'
    if 'bf16' not in fast_formats(device):
        sys.exit('loss_curves: PyTorch has no fast bf16 on this device, so every training would be in fp32.')
    run_script('loss_curves', lambda: loss_curves(args.iters, args.output))


if __name__ == '__main__':
    main()
