"""The sets of networks and state that a run leaves: what they say of themselves, which stay, and full disks."""
from __future__ import annotations

import errno
import json
import resource
import signal
import sys
from pathlib import Path
from typing import Any

import basicsr  # noqa: F401  (its import registers the plugin, also in the processes that are started here)
import pytest
import torch
import torch.distributed as dist
from helpers.models import batch, start, train
from helpers.warm import run_processes

from basicsr_kd.errors import OptionsError, TrainingError
from basicsr_kd.options import validate
from basicsr_kd.runs import signals
from basicsr_kd.runs.distributed import leave_process_group


def names(run: Path) -> set[str]:
    return {path.name for folder in ('models', 'training_states') for path in (run / folder).iterdir()}


def test_a_state_names_its_networks_and_holds_the_options(kd_opt, tmp_path):
    model = start(kd_opt)
    train(model, 1, 1)
    model.save(0, 1)
    state = torch.load(tmp_path / 'run/training_states/1.state', weights_only=True)
    assert state['networks'] == ['net_d_1.pth', 'net_g_1.pth']
    assert json.loads(state['options'])['train']['distill_opt']['type'] == 'FeatureDistillLoss'


def test_older_sets_go_when_a_new_one_is_complete(prune_opt, tmp_path):
    prune_opt['logger']['keep_last'] = 2
    model = start(prune_opt)
    for iteration in (1, 2, 3, 10):
        train(model, iteration, iteration)
        model.save(0, iteration)
    model.save(0, -1)
    assert {name for name in names(tmp_path / 'run') if name[0].isdigit()} == {'3.state', '10.state'}
    assert {name for name in names(tmp_path / 'run') if name.startswith('net_d')} == {
        'net_d_3.pth', 'net_d_10.pth', 'net_d_latest.pth'}
    assert {name for name in names(tmp_path / 'run') if name.startswith('net_g')} == {
        f'net_g_{which}.{kind}' for which in (3, 10, 'latest', 'pruned') for kind in ('pth', 'yml')}


@pytest.mark.parametrize('goes_on', [False, True])
def test_a_disk_that_is_full_is_one_line_and_the_last_good_set_stays(kd_opt, tmp_path, monkeypatch, log, goes_on):
    if goes_on:
        kd_opt['logger']['on_save_error'] = 'continue'
    kd_opt['logger']['keep_last'] = 1
    model = start(kd_opt)
    train(model, 1, 1)
    model.save(0, 1)
    before = names(tmp_path / 'run')

    def full(*args: Any, **kwargs: Any) -> None:
        raise OSError(errno.ENOSPC, 'No space left on device')

    monkeypatch.setattr('torch.save', full)
    if goes_on:
        model.save(0, 2)
        assert any('iteration 2 cannot be saved' in line and 'training goes on' in line for line in log)
    else:
        with pytest.raises(TrainingError, match='iteration 2 cannot be saved .*No space left.* --auto_resume'):
            model.save(0, 2)
    assert names(tmp_path / 'run') == before


def writes_too_much(rank: int, opt: dict[str, Any]) -> None:
    model = start(opt)
    train(model, 1, 1)
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (4096, 4096))
    try:
        model.save(0, 1)
    except TrainingError as error:
        sys.exit(7 if 'cannot be saved' in str(error) else 1)


def test_pytorchs_own_error_of_a_file_that_cannot_grow_is_understood(kd_opt, tmp_path):
    with pytest.raises(torch.multiprocessing.ProcessExitedException) as ended:
        run_processes(writes_too_much, (kd_opt,), 1)
    assert ended.value.exit_code == 7
    assert not [name for name in names(tmp_path / 'run') if name.endswith(('_1.pth', '.tmp', '.state'))]


@pytest.mark.parametrize(('section', 'said'), [
    ({'keep_last': 0}, 'logger.keep_last: found 0'), ({'keep_last': 'two'}, "logger.keep_last: found 'two'"),
    ({'on_save_error': 'ignore'}, "logger.on_save_error: found 'ignore'. Possible: stop, continue")])
def test_what_logger_cannot_say_is_told(kd_opt, section, said):
    kd_opt['logger'].update(section)
    with pytest.raises(OptionsError, match=said):
        validate(kd_opt, is_train=True)


@pytest.mark.parametrize('name', ['../../victim', 'a/b', '..', '', '/tmp'])
def test_the_name_of_a_run_is_that_of_a_folder(kd_opt, name):
    kd_opt['name'] = name
    with pytest.raises(OptionsError, match='^name: found .*, expected the name of a folder in experiments/, without /'):
        validate(kd_opt, is_train=True)


def one_of_two(rank: int, opt: dict[str, Any], folder: Path) -> None:
    dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    model = start({**opt, 'dist': True, 'rank': rank, 'world_size': 2})
    try:
        for iteration in range(1, 9):
            if rank == 1 and iteration == 3:
                signals._asked = signal.SIGTERM
            model.feed_data(batch(iteration))
            model.optimize_parameters(iteration)
    except SystemExit as stop:
        (folder / f'rank{rank}').write_text(f'{iteration} {stop.code}')
    leave_process_group()


def test_two_ranks_end_after_the_same_iteration(kd_opt, tmp_path):
    kd_opt['train'].pop('gan_opt')
    kd_opt['train']['total_iter'] = 8
    run_processes(one_of_two, (kd_opt, tmp_path), 2)
    assert [(tmp_path / f'rank{rank}').read_text() for rank in (0, 1)] == [f'5 {128 + signal.SIGTERM}'] * 2
    assert '5.state' in names(tmp_path / 'run')
