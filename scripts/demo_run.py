"""Run BasicSR's train.py or test.py as a subprocess: a progress bar on screen, everything else in a log file."""
import re
import subprocess
from collections import deque
from pathlib import Path

import yaml
from tqdm import tqdm

ITERATION = re.compile(r'\[epoch:\s*\d+, iter:\s*([\d,]+), lr:')
BAR = '{desc} {bar} {n_fmt}/{total_fmt} {elapsed}'
SHOWN_LINES = 15
"""How much of a failed run's log goes on screen."""


class RunError(Exception):
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
        except BaseException:
            run.kill()
            raise
        if run.wait() == 0:
            bar.update(total - bar.n)
    if run.returncode:
        raise RunError(f'`{" ".join(command)}` ended with code {run.returncode}. Its log is {log}; the last lines:\n\n'
                       + ''.join(last))
