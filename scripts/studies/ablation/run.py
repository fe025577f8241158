"""One run of an ablation: BasicSR's train.py as a subprocess with its output in a file, and what it left."""
import os
import re
import shutil
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml
from common.trainings import SHOWN_LINES, RunError, iteration

from studies.ablation.plan import ROOT

_CHECKPOINT = re.compile(r'net_g_(\d+)\.pth')


class StoppedError(Exception):
    """The run was ended because the whole ablation is."""


class Trainings:
    """Starts trainings, in any thread, and can end all of them.

    Args:
        inherited: file descriptors that a training keeps open: the lock on the results, so that no second ablation
            starts beside a training that outlived a killed first one.
    """

    def __init__(self, inherited: Sequence[int] = ()) -> None:
        self.stopped = threading.Event()
        self._inherited = tuple(inherited)
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen] = set()

    def train(self, options: Path, log: Path, progress: Callable[[int], None]) -> None:
        """Run `python basicsr/train.py -opt <options>` on one CPU thread.

        Args:
            progress: called with every iteration that the log speaks of.

        Raises:
            RunError: it failed; the message has the last lines of its log.
            StoppedError: `stop` was called.
        """
        command = [sys.executable, 'basicsr/train.py', '-opt', str(options)]
        last: deque[str] = deque(maxlen=SHOWN_LINES)
        with self._lock:
            if self.stopped.is_set():
                raise StoppedError
            run = subprocess.Popen(command, cwd=ROOT, env=os.environ | {'OMP_NUM_THREADS': '1'},
                                   stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors='replace',
                                   pass_fds=self._inherited)
            self._running.add(run)
        with log.open('w') as file, run:
            assert run.stdout is not None
            for line in run.stdout:
                file.write(line)
                file.flush()
                last.append(line)
                reached = iteration(line)
                if reached is not None:
                    progress(reached)
        self._running.discard(run)
        if self.stopped.is_set():
            raise StoppedError
        if run.returncode:
            raise RunError(f'train.py ended with code {run.returncode}. Its log is {log}; the last lines:\n\n'
                           + ''.join(last))

    def stop(self) -> None:
        """End all trainings and start no other."""
        with self._lock:
            self.stopped.set()
        for run in list(self._running):
            run.kill()


def run_folder(name: str) -> Path:
    """Where BasicSR keeps a run of this name."""
    return ROOT / 'experiments' / name


def remove_run_folders(prefix: str) -> None:
    """Remove what earlier, unfinished runs left behind."""
    for folder in run_folder('').glob(f'{prefix}*'):
        shutil.rmtree(folder)


def write_run_options(path: Path, options: Mapping[str, Any], name: str) -> None:
    """Write a complete options file for train.py."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump({**options, 'name': name}, sort_keys=False))


def checkpoints(name: str, last: int) -> dict[int, Path]:
    """A finished run's generators by iteration; the one it ended with stands at iteration `last`."""
    models = run_folder(name) / 'models'
    found = {int(match[1]): path for path in models.iterdir() if (match := _CHECKPOINT.fullmatch(path.name))}
    return dict(sorted((found | {last: models / 'net_g_latest.pth'}).items()))
