"""What becomes of a training that is asked to end: by Slurm, Ctrl-C, a terminal that is closed."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from helpers.entry import stock_options, write_images, write_options
from helpers.warm import start_warm

LIGHT = """
import os, signal, sys, time
from basicsr_kd.runs import signals
signals.watch()
if 'training' in sys.argv:
    signals.begun()
number = getattr(signal, sys.argv[1])
os.kill(os.getpid(), number)
print(signals.asked(), signals.stop_after(7), flush=True)
os.kill(os.getpid(), number)
time.sleep(10)
"""


def light(name: str, *arguments: str, ignored: bool = False) -> subprocess.CompletedProcess[str]:
    def before() -> None:
        for one in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(one, signal.SIG_DFL)
        if ignored:
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    return subprocess.run([sys.executable, '-c', LIGHT, name, *arguments], text=True, capture_output=True, timeout=60,
                          preexec_fn=before)


NAMES = ['SIGTERM', 'SIGINT', 'SIGHUP']


@pytest.mark.parametrize('name', NAMES)
def test_the_first_is_remembered_and_a_second_has_its_way(name):
    done = light(name, 'training')
    number = getattr(signal, name)
    assert done.stdout == f'{int(number)} {int(number)}\n'
    assert 'KeyboardInterrupt' in done.stderr if name == 'SIGINT' else done.returncode == -number


@pytest.mark.parametrize('name', NAMES)
def test_before_the_first_iteration_it_ends_the_process(name):
    done = light(name)
    assert done.returncode == 128 + getattr(signal, name) and done.stdout == ''


def test_before_the_first_iteration_it_ends_the_process_even_where_python_ignores_exceptions():
    """As where a worker is forked, with logging's hooks around."""
    code = """
import os, signal
from basicsr_kd.runs import signals
signals.watch()
os.register_at_fork(before=lambda: os.kill(os.getpid(), signal.SIGTERM))
if not os.fork():
    os._exit(0)
print('went on', flush=True)
signals.begun()
print('training')
"""
    done = subprocess.run([sys.executable, '-c', code], text=True, capture_output=True, timeout=60)
    assert done.stdout == 'went on\n' and 'Exception ignored' in done.stderr
    assert done.returncode == 128 + signal.SIGTERM


def test_what_the_shell_has_the_process_ignore_stays_ignored():
    with pytest.raises(subprocess.TimeoutExpired):  # it sleeps on, as under nohup
        subprocess.run([sys.executable, '-c', LIGHT, 'SIGHUP', 'training'], capture_output=True, timeout=3,
                       preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_IGN))


@pytest.fixture
def options(tmp_path) -> dict[str, Any]:
    """A plain training of ours, slow enough to be met on its way, with workers."""
    write_images(tmp_path / 'data', count=4)
    found = stock_options('run', tmp_path / 'data', iterations=2000)
    found.update(model_type='KDGANModel')
    found['datasets']['train']['num_worker_per_gpu'] = 1
    found['logger'].update(use_tb_logger=False, save_checkpoint_freq=1000)
    found['val'].update(val_freq=1000, save_img=False)
    return found


class Training:
    """One that runs, in a session of its own."""

    def __init__(self, folder: Path, options: Path, *arguments: str) -> None:
        self._said = folder / f'{len(arguments)}.txt'
        self._process = start_warm('-m', 'basicsr_kd.train', '-opt', options, *arguments, cwd=folder,
                                   output=[self._said])
        self.pid = self._process.pid

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 120
        while not (self._said.exists() and text in self._said.read_text()):
            assert self._process.is_alive() and time.monotonic() < deadline, text
            time.sleep(0.01)

    def end(self) -> tuple[int, str]:
        """Its exit status and all that it said."""
        self._process.join(60)
        assert self._process.exitcode is not None
        return self._process.exitcode, self._said.read_text()

    def kill(self) -> None:
        self._process.kill()
        self._process.join()


@pytest.fixture
def training(tmp_path, options) -> Iterator[Callable[..., Training]]:
    started: list[Training] = []

    def start(*arguments: str) -> Training:
        started.append(Training(tmp_path, write_options(tmp_path / 'run.yml', options), *arguments))
        return started[-1]

    yield start
    for process in started:
        process.kill()


def saved(root: Path) -> list[int]:
    return sorted(int(path.stem) for path in (root / 'experiments/run/training_states').glob('*.state'))


@pytest.mark.parametrize('name', NAMES)
def test_a_training_saves_and_ends_with_the_status_of_the_signal_and_goes_on(tmp_path, training, options, name):
    process = training()
    process.wait_for('iter:       5')
    os.kill(process.pid, getattr(signal, name))
    status, output = process.end()
    assert status == 128 + getattr(signal, name), output
    (iteration,) = saved(tmp_path)
    assert f'Ending at iteration {iteration:,} for {name}' in output and 'Traceback' not in output
    state = torch.load(tmp_path / f'experiments/run/training_states/{iteration}.state', weights_only=True)
    assert state['iter'] == iteration and state['networks'] == [f'net_g_{iteration}.pth']
    assert 'KDGANModel' in state['options']
    if name == 'SIGTERM':
        options['train']['total_iter'] = iteration + 2
        status, output = training('--auto_resume').end()
        assert status == 0 and f'iter: {iteration}.' in output


def test_workers_that_are_sent_it_as_well_work_until_the_run_has_saved(tmp_path, training):
    process = training()
    process.wait_for('iter:       5')
    os.killpg(process.pid, signal.SIGTERM)  # as torchrun and Slurm do
    started = time.monotonic()
    status, output = process.end()
    assert status == 128 + signal.SIGTERM and saved(tmp_path), output
    assert time.monotonic() - started < 20  # the run does not wait for workers


def test_a_validation_is_left_and_records_no_score(tmp_path, training, options):
    options['val']['val_freq'] = 2
    write_images(tmp_path / 'many', count=200, lq_size=128)  # seconds of work, also on fast machines
    options['datasets']['val'].update(dataroot_gt=str(tmp_path / 'many/gt'), dataroot_lq=str(tmp_path / 'many/lq'))
    process = training()
    process.wait_for('iter:       2')
    time.sleep(1)
    os.kill(process.pid, signal.SIGTERM)
    status, output = process.end()
    assert status == 128 + signal.SIGTERM and saved(tmp_path) == [2]
    assert 'Validation pairs' not in output


def test_a_start_is_undone(tmp_path, training):
    run = tmp_path / 'experiments/run'
    run.mkdir(parents=True)
    (run / 'good').touch()
    process = training()
    process.wait_for('Network')
    os.kill(process.pid, signal.SIGTERM)
    assert process.end()[0] == 128 + signal.SIGTERM
    assert [path.name for path in run.iterdir()] == ['good'] and (tmp_path / 'experiments/run_failed.log').exists()
