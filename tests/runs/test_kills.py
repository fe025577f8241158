"""A run that is killed while it saves, at events that have a name: it goes on as if it had not been."""
from __future__ import annotations

import signal
import subprocess
from pathlib import Path

import pytest
from helpers.entry import write_options
from helpers.going_on import as_written, assert_equal, files, run
from helpers.warm import run_warm

# A call of a function of `os` is the last that the process does; for a set each is called for G, D and state.
KILLED = """
import os, signal, sys
left, call = COUNT, os.NAME
def counted(*arguments):
    global left
    left -= 1
    if not left:
        os.kill(os.getpid(), signal.SIGKILL)
    return call(*arguments)
os.NAME = counted
from basicsr_kd.train import main
main()
"""
TOTAL = 3


@pytest.fixture
def straight(tmp_path, kd_opt) -> dict:
    """A run that was not ended, and its options."""
    run(tmp_path, as_written(kd_opt, 'straight', TOTAL))
    return kd_opt


def start(folder: Path, script: str, opt: dict, *arguments: str) -> subprocess.CompletedProcess[str]:
    return run_warm('-c', script, *arguments, '-opt', write_options(folder / 'run.yml', opt), cwd=folder)


def test_a_run_that_is_killed_while_it_saves_goes_on_as_if_it_was_not(tmp_path, straight):
    opt = as_written(straight, 'ended', TOTAL)

    def sets() -> list[str]:
        return [path.name for path in (tmp_path / 'experiments/ended/training_states').glob('*.state')]

    # in the second set: D has its name; G is half written; all have theirs but the state
    for name, count, *argument in (('replace', 5), ('fsync', 1, '--auto_resume'), ('replace', 3, '--auto_resume')):
        done = start(tmp_path, KILLED.replace('COUNT', str(count)).replace('NAME', name), opt, *argument)
        assert done.returncode == -signal.SIGKILL, done.stdout + done.stderr
        assert sets() == ['1.state']
    run(tmp_path, opt, '--auto_resume')
    assert_equal(files(tmp_path, 'ended', TOTAL), files(tmp_path, 'straight', TOTAL))
    assert not list((tmp_path / 'experiments/ended').rglob('*.tmp'))
