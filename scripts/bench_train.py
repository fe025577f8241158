"""What distillation costs a training step in seconds and memory, and how much pruning the teacher first saves.

  python scripts/bench_train.py                      the 16-feature student on the CPU, a few minutes on 2 cores
  python scripts/bench_train.py --device cuda --amp bf16 --batch 16

A step of KDGANModel (options/kd_esrgan_s16.yml: L1, standard GAN loss, feature distillation) from the 16.7 M RRDBNet,
whole and pruned by 0.3, stands beside BasicSR's own step of the same student and discriminator plus one forward pass of
the same teacher: SRGANModel, which has the same losses but for distillation, and ESRGANModel, whose GAN loss is
relativistic. All weights are random. Every turn runs all steps of one process in an order drawn anew, so that a slow
moment of the machine meets each; a time ratio is taken within a turn. --amp and --channels-last are KDGANModel's, as
BasicSR knows neither; it runs as BasicSR's models do as well, in fp32 and contiguous, and the claim is about that.
"""
import argparse
import json
import tempfile
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from bench_pruning import QUARTILES, machine
from bench_steps import (
    OPTIONS,
    OURS,
    RATIO,
    REFERENCES,
    WARM_UP,
    Setting,
    Step,
    build_step,
    compared_steps,
    peak_memories,
    read_options,
    write_teachers,
)
from tqdm import tqdm

from basicsr_kd.metrics.precision import fast_formats
from basicsr_kd.report import markdown_table

LIMIT = 1.05
"""How many times as long as the reference KDGANModel's step may take."""


def step_times(runs: Sequence[Callable[[], None]], device: str, turns: int) -> np.ndarray:
    """Seconds, (turns, runs), after `WARM_UP` turns that do not count."""
    synchronize = torch.cuda.synchronize if device == 'cuda' else lambda: None
    rng = np.random.default_rng(0)
    taken = np.zeros((turns, len(runs)))
    for turn in tqdm(range(-WARM_UP, turns), desc='time', unit='turn'):
        for index in rng.permutation(len(runs)):
            synchronize()
            start = time.perf_counter()
            runs[index]()
            synchronize()
            if turn >= 0:
                taken[turn, index] = time.perf_counter() - start
    return taken


class Times:
    """The measured steps.

    Args:
        steps: The reference first.
        taken: Seconds, (turns, steps).
    """

    def __init__(self, steps: Sequence[Step], taken: np.ndarray) -> None:
        self.steps, self.taken = list(steps), taken

    def ratio(self, step: Step, reference: Step) -> list[float]:
        """Quartiles of the time of one step to that of another in the same turn."""
        return np.quantile(self._of(step) / self._of(reference), QUARTILES).tolist()

    def rows(self, peaks: Sequence[float | None]) -> list[dict[str, Any]]:
        """A JSON-ready row a step; time ratios are to the first."""
        return [asdict(step) | {'name': step.name, 'seconds': np.quantile(self._of(step), QUARTILES).tolist(),
                                'time_ratio': self.ratio(step, self.steps[0]), 'peak_gib': peak}
                for step, peak in zip(self.steps, peaks, strict=True)]

    def _of(self, step: Step) -> np.ndarray:
        return self.taken[:, self.steps.index(step)]


def table(rows: Sequence[dict[str, Any]]) -> str:
    return markdown_table(['training step', 'seconds', 'time ratio', 'peak memory'], [
        [row['name'], f'{row["seconds"][1]:.3f}', _with_quartiles(row['time_ratio']),
         f'{row["peak_gib"]:.2f} GiB' if row['peak_gib'] else '-'] for row in rows])


def claim(times: Times) -> str:
    """Whether KDGANModel wastes work: against the steps of BasicSR's models, all else alike."""
    lines = []
    for model, loss in REFERENCES.items():
        found = []
        for teacher in ('unpruned', 'pruned'):
            ratio = times.ratio(Step(OURS, teacher), Step(model, teacher))
            verdict = 'holds' if ratio[1] <= LIMIT else 'does not hold'
            found.append(f'{_with_quartiles(ratio)} with the {teacher} teacher, {verdict}')
        lines.append(f'KDGANModel step <= {LIMIT} x ({model} step + teacher forward), {loss}, in fp32 and contiguous: '
                     f'{"; ".join(found)}.')
    return '\n\n'.join(lines)


def saving(times: Times) -> str:
    """What pruning the teacher saves of a whole step."""
    found = []
    for step in (step for step in times.steps if step.model == OURS and step.teacher == 'pruned'):
        most, median, least = (100 * (1 - ratio) for ratio in times.ratio(step, replace(step, teacher='unpruned')))
        found.append(f'{median:.1f} % ({least:.1f}-{most:.1f}) in {step.how}')
    return f'Pruning the teacher by {RATIO} first shortens the step of KDGANModel by {"; ".join(found)}.'


def notes(args: argparse.Namespace, options: Path, params: dict[str, int]) -> str:
    """What the figures hold for."""
    memory = ("the most that PyTorch's tensors took of the GPU" if args.device == 'cuda' else
              'the most that the whole process took, Python and PyTorch with it')
    return (f'Student and discriminator of {options.name}; teachers: RRDBNet, {params["unpruned"]:,} parameters, and '
            f'pruned by {RATIO} (growth, l2, round_to 16), {params["pruned"]:,}; random weights. LR '
            f'{args.batch}x3x{args.lr_size}x{args.lr_size}; {machine(args.device)}; median (quartiles) of {args.turns} '
            'turns, time ratio to the first row. BasicSR has no amp and no channels_last. The relativistic loss of '
            'ESRGANModel takes 5 passes through the discriminator, the standard one of the other rows 3. Peak memory: '
            f'{memory}, each row in a process of its own.')


def _with_quartiles(ratio: Sequence[float]) -> str:
    return '{1:.3f} ({0:.3f}-{2:.3f})'.format(*ratio)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu', help='default: cpu')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(), help='default: as PyTorch chooses')
    parser.add_argument('--amp', choices=['fp32', 'bf16'], default='fp32', help="KDGANModel's (default: fp32)")
    parser.add_argument('--channels-last', action=argparse.BooleanOptionalAction, default=True,
                        help="KDGANModel's (default: on, as in its options)")
    parser.add_argument('--batch', type=int, default=4, help='default: 4')
    parser.add_argument('--lr-size', type=int, choices=[32, 64], default=32,
                        help='side of the low-resolution images; the discriminator takes 4 times this (default: 32)')
    parser.add_argument('--turns', type=int, default=11, help='how often each step runs (default: 11)')
    parser.add_argument('--memory', action=argparse.BooleanOptionalAction, default=True,
                        help='measure peak memory, in a process a step (default: on)')
    parser.add_argument('--output', type=Path, default=Path('results/bench_train'),
                        help='folder for table.md and results.json (default: results/bench_train)')
    args = parser.parse_args(argv)
    if min(args.turns, args.batch, args.threads) < 1:
        parser.error('--turns, --batch and --threads must be 1 or more')
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda: PyTorch sees no GPU here')
    if args.amp not in fast_formats(args.device):
        parser.error(f'--amp bf16: PyTorch has no fast bf16 on this {"GPU" if args.device == "cuda" else "CPU"}')
    return args


def main(argv: Sequence[str] | None = None, options: Path = OPTIONS, teacher: str | None = None) -> None:
    """
    Args:
        argv: The command line.
        options: A KDGANModel's options file, of which networks and losses are taken.
        teacher: The file of an RRDBNet instead of the random one.
    """
    args = parse_args(argv)
    steps = compared_steps(args.amp, args.channels_last)
    with tempfile.TemporaryDirectory() as folder:
        teachers, params = write_teachers(teacher, Path(folder))
        setting = Setting(read_options(options, args.device, args.lr_size, Path(folder)), teachers, args.device,
                          args.threads, args.batch, args.lr_size)
        peaks = peak_memories(steps, setting) if args.memory else [None] * len(steps)
        times = Times(steps, step_times([build_step(step, setting) for step in steps], args.device, args.turns))
    rows = times.rows(peaks)
    said = {'claim': claim(times), 'saving': saving(times), 'protocol': notes(args, options, params)}
    text = '\n\n'.join([table(rows), *said.values()])
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / 'table.md').write_text(f'{text}\n')
    (args.output / 'results.json').write_text(json.dumps({
        'steps': rows, **said, 'seconds': times.taken.tolist()}, indent=2) + '\n')
    print(f'\n{text}\n\nWritten to {args.output}')


if __name__ == '__main__':
    main()
