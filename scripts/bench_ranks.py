"""Throughput of a distributed training step on one CPU: several gloo processes against one with as many threads.

  python scripts/bench_ranks.py                      two processes of a thread against one of two, about 4 minutes

The step is that of bench_train.py: KDGANModel, the 16-feature student, the 16.7 M teacher, random weights. Both sides
train on the same number of images: the processes on `--batch` each, the single one on all. Every turn runs both in an
order drawn anew; a ratio is taken within a turn. The side that does not run waits without taking CPU time.
"""
import argparse
import json
import multiprocessing
import tempfile
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch.distributed as dist
from bench.networks import QUARTILES, machine
from bench.steps import (
    BF16,
    DEFAULT,
    FP32_CHANNELS_LAST,
    OPTIONS,
    Setting,
    Step,
    TrainingStep,
    read_options,
    write_teachers,
)
from bench_train import step_times

from basicsr_kd.report import markdown_table
from basicsr_kd.utils.modes import fast_formats


class Ranks(AbstractContextManager['Ranks']):
    """Processes that take training steps together, each on a share of the batch, when called.

    Args:
        count: How many.
        step: What they train.
        setting: That of one of them.
        folder: Where they meet.
    """

    def __init__(self, count: int, step: Step, setting: Setting, folder: Path) -> None:
        context = multiprocessing.get_context('spawn')
        pipes = [context.Pipe() for _ in range(count)]
        self._ends = [ours for ours, _ in pipes]
        self._processes = [context.Process(target=_serve, args=(rank, count, step, setting, folder, theirs),
                                           daemon=True) for rank, (_, theirs) in enumerate(pipes)]
        for process in self._processes:
            process.start()

    def __call__(self) -> None:
        self._tell(True)
        for end in self._ends:
            end.recv()

    def __exit__(self, *_: Any) -> None:
        self._tell(False)
        for process in self._processes:
            process.join()

    def _tell(self, go_on: bool) -> None:
        for end in self._ends:
            end.send(go_on)


def _serve(rank: int, count: int, step: Step, setting: Setting, folder: Path, pipe: Connection) -> None:
    dist.init_process_group('gloo', init_method=f'file://{folder / "meeting"}', rank=rank, world_size=count)
    run = TrainingStep(step, replace(setting, options=setting.options | {'dist': True, 'rank': rank,
                                                                        'world_size': count}))
    while pipe.recv():
        run()
        pipe.send(None)
    dist.destroy_process_group()


def measure(step: Step, setting: Setting, ranks: int, turns: int) -> np.ndarray:
    """Seconds, (turns, 2): a step of the single process, and one of all ranks together.

    Args:
        step: What is trained.
        setting: That of the single process.
        ranks: Over how many processes its threads and its batch are shared out.
        turns: How often each is timed.
    """
    share = replace(setting, threads=setting.threads // ranks, batch=setting.batch // ranks)
    with tempfile.TemporaryDirectory() as folder, Ranks(ranks, step, share, Path(folder)) as together:
        runs: list[Callable[[], None]] = [TrainingStep(step, setting), together]
        return step_times(runs, setting.device, turns)


def parse_args(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--ranks', type=int, default=2, help='processes, each with one thread (default: 2)')
    parser.add_argument('--batch', type=int, default=4, help='images of each process (default: 4)')
    parser.add_argument('--lr-size', type=int, choices=[32, 64], default=32,
                        help='side of the low-resolution images; the discriminator takes 4 times this (default: 32)')
    parser.add_argument('--turns', type=int, default=9, help='how often each side is timed (default: 9)')
    parser.add_argument('--output', type=Path, default=Path('results/bench_ranks'),
                        help='folder for table.md and results.json (default: results/bench_ranks)')
    args = parser.parse_args(argv)
    if min(args.turns, args.batch) < 1 or args.ranks < 2:
        parser.error('--turns and --batch must be 1 or more, --ranks 2 or more')
    return args


def main(argv: Sequence[str] | None = None, options: Path = OPTIONS, teacher: str | None = None) -> None:
    """
    Args:
        argv: The command line.
        options: A KDGANModel's options file, of which networks and losses are taken.
        teacher: The file of an RRDBNet instead of the random one.
    """
    args = parse_args(argv)
    rows: list[dict[str, Any]] = []
    formats = set(fast_formats('cpu'))
    with tempfile.TemporaryDirectory() as folder:
        teachers, _ = write_teachers(teacher, Path(folder))
        setting = Setting(read_options(options, 'cpu', args.lr_size, Path(folder)), teachers, 'cpu', args.ranks,
                          args.ranks * args.batch, args.lr_size)
        for step in (FP32_CHANNELS_LAST, DEFAULT, BF16):
            if not {step.amp, step.teacher_amp} <= formats:
                continue
            taken = measure(step, setting, args.ranks, args.turns)
            rows.append({'name': step.name, 'seconds': np.median(taken, axis=0).tolist(),
                         'throughput_ratio': np.quantile(taken[:, 0] / taken[:, 1], QUARTILES).tolist()})
    text = '\n\n'.join([
        markdown_table(['training step', 'one process, seconds', f'{args.ranks} processes', 'ratio of throughput'],
                       [[row['name'], *(f'{seconds:.3f}' for seconds in row['seconds']),
                         '{1:.3f} ({0:.3f}-{2:.3f})'.format(*row['throughput_ratio'])] for row in rows]),
        f'Networks and losses of {options.name}, {args.ranks * args.batch} images of 3x{args.lr_size}x{args.lr_size} a '
        f'step on both sides; gloo on one machine; {machine("cpu")}; median (quartiles) of {args.turns} turns.'])
    args.output.mkdir(parents=True, exist_ok=True)
    (args.output / 'table.md').write_text(f'{text}\n')
    (args.output / 'results.json').write_text(json.dumps({'steps': rows, 'protocol': vars(args)}, indent=2,
                                                         default=str) + '\n')
    print(f'\n{text}\n\nWritten to {args.output}')


if __name__ == '__main__':
    main()
