"""How long a training step takes and how much memory, by each lever that makes it cheaper.

  python scripts/bench_train.py                      the 16-feature student on the CPU, under 10 minutes on 2 cores
  python scripts/bench_train.py --device cuda --compile reduce-overhead default --batch 16

The baseline is the step of BasicSR's unmodified ESRGANModel (fp32, contiguous) on the student and discriminator of
options/kd_esrgan_s16.yml, and one forward pass of the 16.7 M RRDBNet beside it. KDGANModel learns from that teacher,
with the same GAN loss: all in fp32, with each lever alone (channels_last, the teacher in bf16, everything in bf16, the
teacher pruned by 0.3, compiled), and with several together. All weights are random. Every turn runs all steps of one
process in an order drawn anew, so that a slow moment of the machine meets each; a time ratio is taken within a turn.
Beside the time stands its floor, the operations that the step was counted to do over the device's measured rate in
large matrix products of their formats, and how the step's time falls to its parts. Every second measured is written to
journal.jsonl at once, which is what a run that is killed leaves.
"""
import argparse
import json
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path
from typing import get_args, get_type_hints

import numpy as np
import torch
import torch._dynamo.config
from bench.floor import count_flops, floor, matrix_rates, seconds_of
from bench.journal import Journal
from bench.networks import machine
from bench.parts import part_seconds
from bench.profiling import profile_step, profile_table
from bench.results import Results, losses_note, targets
from bench.steps import (
    OPTIONS,
    RATIO,
    WARM_UP,
    Setting,
    Step,
    TrainingStep,
    compared_steps,
    peak_memories,
    read_options,
    write_teachers,
)
from tqdm import tqdm

from basicsr_kd.options.train import CompileOptions
from basicsr_kd.utils.modes import fast_formats

PART_TURNS = 3
"""How often each step runs for the seconds of its parts."""


def step_times(runs: Sequence[Callable[[], None]], device: str, turns: int,
               seen: Callable[[int, int, float], None] = lambda turn, index, seconds: None) -> np.ndarray:
    """Seconds, (turns, runs), after `WARM_UP` turns that do not count.

    Args:
        runs: What to time.
        device: 'cpu' or 'cuda'.
        turns: How often.
        seen: Is told the turn (negative: one that does not count), which run, and its seconds as they come.
    """
    rng = np.random.default_rng(0)
    taken = np.zeros((turns, len(runs)))
    for turn in tqdm(range(-WARM_UP, turns), desc='time', unit='turn'):
        for index in range(len(runs)) if turn < 0 else rng.permutation(len(runs)):
            seconds = seconds_of(runs[index], device)
            seen(turn, int(index), seconds)
            if turn >= 0:
                taken[turn, index] = seconds
    return taken


def part_times(run: TrainingStep, device: str) -> dict[str, float]:
    """Medians of the seconds of each part."""
    turns = [part_seconds(run, device) for _ in range(PART_TURNS)]
    return {name: float(np.median([turn[name] for turn in turns])) for name in turns[0]}


def measure(steps: Sequence[Step], setting: Setting, turns: int, memory: bool, rates: dict[str, float],
            journal: Journal) -> Results:
    """Peak memory first, in processes of their own, then all else in this one; every second is in the journal, too."""
    peaks = peak_memories(steps, setting) if memory else [None] * len(steps)
    runs = [TrainingStep(step, setting) for step in steps]
    counted = {step: count_flops(run) for step, run in zip(steps, runs, strict=True) if not step.compile_mode}
    for step in (replace(step, compile_mode=None, compile_d=True) for step in steps):  # compiled, the same are done
        if step not in counted:
            counted[step] = count_flops(TrainingStep(step, setting))
    flops = [counted[replace(step, compile_mode=None, compile_d=True)] for step in steps]
    taken = step_times(runs, setting.device, turns, lambda turn, index, seconds: journal.add(
        step=steps[index].name, turn=turn, seconds=seconds))
    parts = [None if step.compile_mode else part_times(run, setting.device)
             for step, run in zip(steps, tqdm(runs, desc='parts', unit='step'), strict=True)]
    return Results(steps, taken, peaks, flops, [floor(counts, rates) for counts in flops], parts)


def notes(args: argparse.Namespace, options: Path, params: dict[str, int], rates: dict[str, float]) -> str:
    """What the figures hold for."""
    memory = ("the most that PyTorch's tensors took of the GPU" if args.device == 'cuda' else
              'the most that the whole process took, Python and PyTorch with it')
    measured = ', '.join(f'{rate / 1e9:,.0f} GFLOP/s in {name}' for name, rate in rates.items())
    return (f'Student and discriminator of {options.name}; teachers: RRDBNet, {params["unpruned"]:,} parameters, and '
            f'pruned by {RATIO} (growth, l2, round_to 16), {params["pruned"]:,}; random weights. LR '
            f'{args.batch}x3x{args.lr_size}x{args.lr_size}; {machine(args.device)}; median (quartiles) of {args.turns} '
            f'turns, ratios to the first row. {losses_note()} Matrix rate: {measured}. Parts: medians of {PART_TURNS} '
            f'further steps; backward is that of all networks. Peak memory: {memory}, each row in a process of its '
            'own.')


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--device', choices=['cpu', 'cuda'], default='cpu', help='default: cpu')
    parser.add_argument('--threads', type=int, default=torch.get_num_threads(), help='default: as PyTorch chooses')
    parser.add_argument('--compile', choices=get_args(get_type_hints(CompileOptions)['mode']), metavar='MODE',
                        nargs='+', default=[],
                        help='also measure compiled steps, e.g. default; compiling takes minutes (default: none)')
    parser.add_argument('--eager', action=argparse.BooleanOptionalAction, default=True,
                        help='measure each lever without compilation; else only the baseline and bf16 (default: on)')
    parser.add_argument('--profile', action='store_true',
                        help='also count the casts and waits of a step, and how busy a GPU is')
    parser.add_argument('--batch', type=int, default=4, help='default: 4')
    parser.add_argument('--lr-size', type=int, choices=[32, 64], default=32,
                        help='side of the low-resolution images; the discriminator takes 4 times this (default: 32)')
    parser.add_argument('--turns', type=int, default=5, help='how often each step is timed (default: 5)')
    parser.add_argument('--memory', action=argparse.BooleanOptionalAction, default=True,
                        help='measure peak memory, in a process a step (default: on)')
    parser.add_argument('--output', type=Path, default=Path('results/bench_train'),
                        help='folder for table.md, results.json and plot.png (default: results/bench_train)')
    args = parser.parse_args(argv)
    if min(args.turns, args.batch, args.threads) < 1:
        parser.error('--turns, --batch and --threads must be 1 or more')
    if args.device == 'cuda' and not torch.cuda.is_available():
        parser.error('--device cuda: PyTorch sees no GPU here')
    return args


def main(argv: Sequence[str] | None = None, options: Path = OPTIONS, teacher: str | None = None) -> None:
    """
    Args:
        argv: The command line.
        options: A KDGANModel's options file, of which networks and losses are taken.
        teacher: The file of an RRDBNet instead of the random one.
    """
    args = parse_args(argv)
    formats = fast_formats(args.device)
    if 'bf16' not in formats:
        print(f'bf16 is left out: PyTorch has no fast bf16 on this {"GPU" if args.device == "cuda" else "CPU"}.')
    torch.set_num_threads(args.threads)
    torch._dynamo.config.fail_on_recompile_limit_hit = True  # else a step would be timed as if it were compiled
    rates = matrix_rates([name for name in formats if name != 'fp16'], args.device)
    steps = compared_steps(formats, args.compile, args.eager)
    journal, profiles = Journal(args.output / 'journal.jsonl'), {}
    with tempfile.TemporaryDirectory() as folder:
        teachers, params = write_teachers(teacher, Path(folder))
        setting = Setting(read_options(options, args.device, args.lr_size, Path(folder)), teachers, args.device,
                          args.threads, args.batch, args.lr_size)
        results = measure(steps, setting, args.turns, args.memory, rates, journal)
        for step in steps if args.profile else ():
            if not step.compile_mode:
                profiles[step.name] = profile_step(TrainingStep(step, setting), args.device)
                journal.add(step=step.name, profile=profiles[step.name])
    said = {'targets': results.verdicts(targets(args.compile, args.device)),
            'protocol': notes(args, options, params, rates)}
    profiled = [profile_table(profiles)] if profiles else []
    text = '\n\n'.join([results.table(args.batch), results.parts_table(), *profiled, *said.values()])
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / 'table.md').write_text(f'{text}\n')
    (args.output / 'results.json').write_text(json.dumps({
        'steps': results.rows, 'profiles': profiles, **said, 'flops_per_second': rates,
        'seconds': results.taken.tolist()}, indent=2) + '\n')
    results.plot(args.output / 'plot.png')
    print(f'\n{text}\n\nWritten to {args.output}')


if __name__ == '__main__':
    main()
