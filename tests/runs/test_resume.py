"""From which state a run goes on, and what it says where it cannot."""
from collections import Counter

import pytest
import torch

from basicsr_kd.runs.resume import load_resume_state, resumes


def resume_options(folder, auto_resume=True, resume_state=None) -> dict:
    """The part of BasicSR's options that resuming reads; `folder` is the experiment's."""
    return {'auto_resume': auto_resume, 'network_g': {'type': 'MSRResNet'},
            'path': {'training_states': str(folder / 'training_states'), 'models': str(folder / 'models'),
                     'experiments_root': str(folder), 'resume_state': resume_state}}


@pytest.fixture
def experiment(tmp_path):
    """Two checkpoints, 9 and 10, and a file of a write that was cut off."""
    for name in ('training_states', 'models'):
        (tmp_path / name).mkdir()
    for iteration in (9, 10):
        state = {'iter': iteration, 'epoch': 0, 'optimizers': [], 'schedulers': [{'milestones': Counter([5])}]}
        torch.save(state, tmp_path / 'training_states' / f'{iteration}.state')
        torch.save({}, tmp_path / 'models' / f'net_g_{iteration}.pth')
    (tmp_path / 'training_states' / 'half.state').write_bytes(b'')
    return tmp_path


def stopped_with(opt, capsys) -> str:
    with pytest.raises(SystemExit) as stop:
        load_resume_state(opt)
    assert stop.value.code == 2
    return capsys.readouterr().err


def test_auto_resume_takes_the_highest_iteration_wherever_the_process_runs(experiment, tmp_path_factory, monkeypatch):
    monkeypatch.chdir(tmp_path_factory.mktemp('elsewhere'))
    opt = resume_options(experiment)
    state = load_resume_state(opt)
    assert state['iter'] == 10 and state['schedulers'] == [{'milestones': Counter([5])}]
    assert opt['path']['pretrain_network_g'] == str(experiment / 'models' / 'net_g_10.pth')


def test_auto_resume_of_a_first_run_starts_anew(tmp_path):
    assert load_resume_state(resume_options(tmp_path)) is None


def test_a_missing_state_file_is_named(experiment, capsys):
    missing = str(experiment / '11.state')
    assert missing in stopped_with(resume_options(experiment, False, missing), capsys)


@pytest.mark.parametrize('damaged', ['training_states/10.state', 'models/net_g_10.pth'])
def test_auto_resume_falls_back_to_the_set_before_a_damaged_one_and_says_why(experiment, capsys, damaged):
    path = experiment / damaged
    path.write_bytes(path.read_bytes()[:100])
    opt = resume_options(experiment)
    assert load_resume_state(opt)['iter'] == 9
    assert opt['path']['pretrain_network_g'] == str(experiment / 'models' / 'net_g_9.pth')
    said = capsys.readouterr().err
    assert str(path) in said and 'damaged' in said and 'So this run goes on from iteration 9' in said


def test_a_state_that_is_named_is_not_replaced_by_an_earlier_one(experiment, capsys):
    path = experiment / 'training_states' / '10.state'
    path.write_bytes(path.read_bytes()[:100])
    assert f'{path} is damaged' in stopped_with(resume_options(experiment, False, str(path)), capsys)


def test_where_all_sets_are_damaged_one_line_says_what_to_do(experiment, capsys):
    for path in (experiment / 'training_states').iterdir():
        path.write_bytes(path.read_bytes()[:100])
    error = stopped_with(resume_options(experiment), capsys)
    assert '10.state is damaged or no training state' in error and f'move {experiment} away' in error


def test_a_set_without_its_generator_is_none(experiment):
    (experiment / 'models' / 'net_g_10.pth').unlink()
    assert load_resume_state(resume_options(experiment))['iter'] == 9
    (experiment / 'models' / 'net_g_9.pth').rename(experiment / 'models' / 'net_g_latest.pth')
    opt = resume_options(experiment)
    assert not resumes(opt) and load_resume_state(opt) is None


def test_a_state_that_is_named_and_whose_network_is_gone_is_told(experiment, capsys):
    (experiment / 'models' / 'net_g_10.pth').unlink()
    error = stopped_with(resume_options(experiment, False, str(experiment / 'training_states' / '10.state')), capsys)
    assert 'net_g_10.pth is not there (path.pretrain_network_g)' in error


def test_networks_without_a_state_are_told_with_both_ways_on(experiment, capsys):
    for path in (experiment / 'training_states').iterdir():
        path.unlink()
    error = stopped_with(resume_options(experiment), capsys)
    assert 'no state to go on from' in error
    assert 'path.pretrain_network_g' in error and 'leave --auto_resume out' in error and error.count('\n') == 1
