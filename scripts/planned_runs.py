"""Trainings that belong together: each an options file of its own, run by train.py, gone on with where stopped."""
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml
from demo_run import RunError, run_logged
from measure import MEASURE_ERRORS
from photo_pairs import PrepareError

ROOT = Path(__file__).resolve().parents[1]


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


class PlanError(Exception):
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
    except (PlanError, PrepareError, RunError, FileNotFoundError, *MEASURE_ERRORS) as error:
        sys.exit(f'{name}: {error}')
    except KeyboardInterrupt:
        sys.exit(f'{name}: stopped. The same command goes on from here.')
