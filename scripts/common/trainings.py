"""Trainings of a script: each an options file of its own, run by train.py with a progress bar, gone on with where
stopped.
"""
import re
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from tqdm import tqdm

from basicsr_kd.errors import BasicSRKDError

ROOT = Path(__file__).resolve().parents[2]

ITERATION = re.compile(r'\[epoch:\s*\d+, iter:\s*([\d,]+), lr:')
BAR = '{desc} {bar} {n_fmt}/{total_fmt} {elapsed}'
SAVING_SECONDS = 30  # of a run that is asked to end
SHOWN_LINES = 15
"""How much of a failed run's log goes on screen."""


@dataclass(frozen=True)
class Run:
    """One training."""

    name: str
    """Of its experiment and of its row."""
    options: dict[str, Any]
    about: dict[str, Any]
    """The report's tags."""

    @property
    def iterations(self) -> int:
        return int(self.options['train']['total_iter'])

    @property
    def weights(self) -> Path:
        """What it leaves, the average of its last iterations."""
        return Path('experiments', self.options['name'], 'models', 'net_g_latest.pth')


class PlanError(BasicSRKDError):
    """The trainings cannot start or go on; the message says what to do."""


def write_options(runs: Sequence[Run], folder: Path) -> dict[str, Path]:
    """Write the options file of every run.

    Raises:
        PlanError: an earlier run of the name had other options.
    """
    files = {run.name: folder / f'{run.name}.yml' for run in runs}
    texts = {run.name: yaml.safe_dump(run.options, sort_keys=False) for run in runs}
    for run in runs:
        file = files[run.name]
        if run.weights.parents[1].exists() and file.exists() and file.read_text() != texts[run.name]:
            raise PlanError(f'{run.weights.parents[1]} comes from other options than those of now ({file}). Remove '
                            'both, or give the options that it was made with.')
    folder.mkdir(parents=True, exist_ok=True)
    for name, file in files.items():
        file.write_text(texts[name])
    return files


def train(run: Run, options: Path, title: str, gpus: int) -> None:
    """Train one network, from where it was stopped if it was."""
    if run.weights.exists():  # BasicSR writes it at the very end
        print(f'{title}: done before')
        return
    launcher = [sys.executable]
    if gpus > 1:
        launcher += ['-m', 'torch.distributed.run', f'--nproc_per_node={gpus}']
    command = [*launcher, 'basicsr/train.py', '-opt', str(options), '--auto_resume']
    if gpus > 1:
        command += ['--launcher', 'pytorch']
    run_logged(command, options.with_suffix('.log'), title, run.iterations)


def run_script(name: str, work: Callable[[], None]) -> None:
    """Do the work of a script, from the repository's root; what goes wrong ends it with one line."""
    if Path.cwd() != ROOT:
        sys.exit(f"{name}: run it from the repository's root: cd {ROOT} && python scripts/{name}.py")
    try:
        work()
    except (BasicSRKDError, FileNotFoundError) as error:
        sys.exit(f'{name}: {error}')
    except KeyboardInterrupt:
        sys.exit(f'{name}: stopped. The same command goes on from here.')


class RunError(BasicSRKDError):
    """A run ended with an error; the message ends with the last lines of its log."""


def iteration(line: str) -> int | None:
    """The iteration a line of BasicSR's training log speaks of, None in any other line.

    Example:
        >>> iteration('INFO: [demo_..][epoch:  0, iter:   1,100, lr:(1.000e-04,)] [eta: 0:01:23] l_g_pix: 3.1e-02')
        1100
    """
    found = ITERATION.search(line)
    return int(found[1].replace(',', '')) if found else None


def total_iterations(options: Path) -> int:
    """`train: total_iter` of a training options file."""
    # YAML reads 1e5 as text, hence float.
    return int(float(yaml.safe_load(options.read_text())['train']['total_iter']))


def run_logged(command: list[str], log: Path, title: str, total: int = 1) -> None:
    """Run `command`, its output in `log`, with a bar that goes to `total` iterations.

    Args:
        total: iterations of a training run; 1 for a run that logs none.

    Raises:
        RunError: it ended with an error.
    """
    last: deque[str] = deque(maxlen=SHOWN_LINES)
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open('w') as file, tqdm(total=total, desc=title, bar_format=BAR) as bar, subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace') as run:
        try:
            assert run.stdout is not None
            for line in run.stdout:
                file.write(line)
                file.flush()
                last.append(line)
                bar.update((iteration(line) or bar.n) - bar.n)
        except KeyboardInterrupt:  # the run has it as well, and saves; a second one would end it at once
            try:
                run.communicate(timeout=SAVING_SECONDS)
            except subprocess.TimeoutExpired:
                run.kill()
            raise
        except BaseException:
            run.kill()
            raise
        if run.wait() == 0:
            bar.update(total - bar.n)
    if run.returncode:
        raise RunError(f'`{" ".join(command)}` ended with code {run.returncode}. Its log is {log}; the last lines:\n\n'
                       + ''.join(last))
