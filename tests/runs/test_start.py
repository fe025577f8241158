"""The start of a run: its folder is held, and a start that fails leaves all as it was."""
from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from basicsr_kd.errors import StartError
from basicsr_kd.runs.start import begin, undo

# What BasicSR does between parsing and the first iteration, by a process of its own, which ends as it is told.
START = """
import os, pathlib, signal, sys
from basicsr_kd.runs import signals, start
root, ends = pathlib.Path(sys.argv[1]), sys.argv[2]
run = root / 'experiments' / 'kd'
signals.watch()
start.begin({'rank': 0, 'auto_resume': False, 'path': {
    'experiments_root': str(run), 'models': str(run / 'models'), 'training_states': str(run / 'training_states')}})
for folder in (run, root / 'tb_logger' / 'kd'):
    if folder.exists():
        folder.rename(f'{folder}_archived_now')
    folder.mkdir(parents=True)
(run / 'train_kd.log').write_text('of the start that failed')
if ends == 'begins':
    start.begun(), signals.begun()
elif ends == 'kill':
    os.kill(os.getpid(), signal.SIGKILL)
elif ends == 'term':
    os.kill(os.getpid(), signal.SIGTERM)
elif ends == 'hold':
    start.begun()
    print('held', flush=True)
    sys.stdin.read()
elif ends != 'begins':
    raise RuntimeError('no such network')
"""


@pytest.fixture
def root(tmp_path) -> Path:
    """Where a run of the name has been before."""
    for name in ('experiments/kd/models/net_g_5.pth', 'tb_logger/kd/events'):
        (tmp_path / name).parent.mkdir(parents=True)
        (tmp_path / name).write_text('good')
    return tmp_path


def start(root: Path, ends: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, '-c', START, str(root), ends], text=True, capture_output=True, timeout=60)


def files(root: Path) -> dict[str, str]:
    return {str(path.relative_to(root)): path.read_text() for path in root.rglob('*')
            if path.is_file() and path.suffix != '.lock'}


GOOD = {'experiments/kd/models/net_g_5.pth': 'good', 'tb_logger/kd/events': 'good'}
FAILED = GOOD | {'experiments/kd_failed.log': 'of the start that failed'}


@pytest.mark.parametrize(('ends', 'status'), [('error', 1), ('term', 128 + signal.SIGTERM)])
def test_a_start_that_fails_leaves_the_run_before_and_its_own_log(root, ends, status):
    assert start(root, ends).returncode == status
    assert files(root) == FAILED


def test_a_first_start_that_fails_leaves_no_folder(tmp_path):
    start(tmp_path, 'error')
    assert files(tmp_path) == {'experiments/kd_failed.log': 'of the start that failed'}
    assert not (tmp_path / 'experiments/kd').exists()


def test_after_a_kill_the_next_start_puts_things_back(root):
    assert start(root, 'kill').returncode == -signal.SIGKILL
    assert 'experiments/kd_archived_now/models/net_g_5.pth' in files(root)
    start(root, 'error')
    assert files(root) == FAILED


def test_a_run_that_has_begun_keeps_what_it_has(root):
    assert start(root, 'begins').returncode == 0
    assert files(root) == {'experiments/kd/train_kd.log': 'of the start that failed',
                           'experiments/kd_archived_now/models/net_g_5.pth': 'good',
                           'tb_logger/kd_archived_now/events': 'good'}


def test_a_folder_with_a_network_that_was_trained_is_never_removed(root):
    undo({str(root / 'experiments/kd'): None})
    assert files(root) == GOOD


def test_a_second_process_is_told_who_trains_there(root):
    command = [sys.executable, '-c', START, str(root), 'hold']
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as first:
        assert first.stdout.readline() == 'held\n'
        before = files(root)
        second = start(root, 'begins')
        assert f'kd is in use by process {first.pid} on ' in second.stderr and files(root) == before
        first.communicate('', timeout=30)
    assert 'is in use' not in start(root, 'error').stderr


def test_temporary_files_of_killed_runs_go(root):
    left = root / 'experiments/kd/models/.net_g_6.pth.123.tmp'
    left.write_text('half')
    start(root, 'kill')
    assert not list(root.rglob('*.tmp'))


@pytest.mark.parametrize(('kind', 'said'), [('file', 'is a file. Expected a folder'),
                                            ('link', 'is a link to .*gone, which is not there'),
                                            ('read-only', 'cannot be written to')])
def test_a_place_where_no_run_can_be_is_one_line(tmp_path, kind, said):
    experiments = tmp_path / 'experiments'
    if kind == 'file':
        experiments.touch()
    elif kind == 'link':
        experiments.symlink_to(tmp_path / 'gone')
    else:
        experiments.mkdir(mode=0o555)
        if os.access(experiments, os.W_OK):
            pytest.skip('root may write everywhere')
    with pytest.raises(StartError, match=said):
        begin({'rank': 0, 'auto_resume': False, 'path': {
            'experiments_root': str(experiments / 'kd'), 'models': str(experiments / 'kd/models'),
            'training_states': str(experiments / 'kd/training_states')}})


def test_a_link_to_another_disk_is_fine(tmp_path):
    (tmp_path / 'disk').mkdir()
    (tmp_path / 'experiments').symlink_to(tmp_path / 'disk')
    assert start(tmp_path, 'begins').returncode == 0
    assert (tmp_path / 'disk/kd/train_kd.log').exists()
