"""The shims for BasicSR on today's stack; those for its runners are tested as commands in test_entry_points.py."""

from collections import Counter

import pytest
import torch

from basicsr_kd.runs.resume import load_resume_state


def resume_options(folder, auto_resume=True, resume_state=None) -> dict:
    """The part of BasicSR's options that resuming reads; `folder` is the experiment's."""
    return {'auto_resume': auto_resume, 'network_g': {'type': 'MSRResNet'},
            'path': {'training_states': str(folder / 'training_states'), 'models': str(folder / 'models'),
                     'resume_state': resume_state}}


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


def test_a_state_file_that_was_cut_off_is_named_with_what_to_do(experiment, capsys):
    path = experiment / 'training_states' / '10.state'
    path.write_bytes(path.read_bytes()[:100])
    error = stopped_with(resume_options(experiment), capsys)
    assert f'{path} is damaged or no training state' in error and 'move it away' in error


def test_a_state_whose_network_is_gone_is_named(experiment, capsys):
    (experiment / 'models' / 'net_g_10.pth').unlink()
    error = stopped_with(resume_options(experiment), capsys)
    assert 'net_g_10.pth is not there (path.pretrain_network_g)' in error


def test_the_stand_in_for_torchvision_holds_what_basicsr_imports():
    from basicsr.data import degradations
    gray = degradations.rgb_to_grayscale(torch.ones(1, 3, 2, 2))
    assert gray.shape == (1, 1, 2, 2)
