"""scripts/ablation.py: what is trained, kept and run again; and a real run of two tiny arms."""
import json
import signal
import threading
import time
from pathlib import Path

import ablation
import cv2
import numpy as np
import pytest
import torch
import yaml
from common.trainings import RunError
from studies.ablation import run
from studies.ablation.jobs import run_prefix
from studies.ablation.run import StoppedError, Trainings, run_folder

from basicsr_kd.archs.build import build
from basicsr_kd.checkpoint import read_state_dict, write_checkpoint

pytestmark = pytest.mark.usefixtures('no_lpips')


@pytest.fixture
def call(study_file, tmp_path):
    """Call the script; returns the content of results.json."""
    photos = tmp_path / 'photos'
    photos.mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        cv2.imwrite(str(photos / f'{index}.png'), cv2.resize(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8),
                                                              (208, 208), interpolation=cv2.INTER_CUBIC))

    def run(*arguments: str, **changes) -> dict:
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ablation.main([str(study_file(**changes)), '--photos', str(photos), '--data', str(tmp_path / 'data'),
                           '--output', str(tmp_path / 'out'), *arguments])
        finally:
            signal.signal(signal.SIGTERM, handler)
        return json.loads((tmp_path / 'out/results.json').read_text())
    return run


@pytest.fixture
def trained(monkeypatch) -> list[str]:
    """Trainings write an untrained student instead; the list has the runs that were trained."""
    done = []

    def train(self, options: Path, log: Path, progress) -> None:
        opt = yaml.safe_load(options.read_text())
        done.append(options.parent.name)
        log.write_text('')
        if opt['train']['optim_g']['lr'] == 666:
            raise RunError('the last lines: out of luck')
        progress(1)
        for name in ('1', 'latest'):
            write_checkpoint(run_folder(opt['name']) / f'models/net_g_{name}.pth', build(opt['network_g']).state_dict())
    monkeypatch.setattr(Trainings, 'train', train)
    return done


def test_what_is_finished_is_kept_and_what_changed_runs_again(call, trained, tmp_path, capsys):
    first = call('--jobs', '2')
    assert sorted(trained) == ['kd_s0', 'plain_s0'] and set(first['references']) == {'bicubic', 'the teacher itself'}
    assert not list(run_folder('').glob(f'{run_prefix(tmp_path / "out")}*'))

    changed = {'kd': {'set': {'train.optim_g.lr': 1.0}}, 'plain': {'set': {'teacher': None, 'train.distill_opt': None}}}
    second = call('--seeds', '0', '1', '--arms', 'kd', arms=changed)
    assert sorted(trained[2:]) == ['kd_s0', 'kd_s1']
    assert second['runs']['plain_s0'] == first['runs']['plain_s0'] != second['runs']['kd_s0']

    pairs = tmp_path / 'data/held_out'
    third = call('--sets', f'more={pairs / "HR"},{pairs / "LRx4"}', '--arms', 'kd', arms=changed)
    assert len(trained) == 4 and set(third['runs']['kd_s0']['sets']) == {'held_out', 'more'}
    assert third['runs']['kd_s0']['sets']['more'] == third['runs']['kd_s0']['sets']['held_out']

    call('--report')  # of the study as it was: kd is not that one any more
    assert len(trained) == 4
    assert 'Left out, since their options are others now: kd_s0, kd_s1.' in capsys.readouterr().out
    call('--again', '--arms', 'plain')
    assert trained[4:] == ['plain_s0']
    with pytest.raises(SystemExit, match='other settings .iterations: None before, 7 now'):
        call('--iterations', '7')


def test_a_failed_run_is_told_and_the_others_go_on(call, trained, tmp_path, capsys):
    with pytest.raises(SystemExit, match='1 failed'):
        call(arms={'kd': {'set': {'train.optim_g.lr': 666}}, 'plain': {}})

    assert 'kd_s0 failed: the last lines: out of luck' in capsys.readouterr().out
    assert set(json.loads((tmp_path / 'out/results.json').read_text())['runs']) == {'plain_s0'}
    assert '| plain ' in (tmp_path / 'out/table.md').read_text()


def test_two_ablations_do_not_share_a_folder(call, trained, tmp_path):
    call('--arms', 'plain')
    results = ablation.Results(tmp_path / 'out')
    lock = results.claim(results.settings, {})

    with pytest.raises(SystemExit, match='another ablation'):
        call('--arms', 'kd')
    assert lock >= 0 and trained == ['plain_s0']


def test_photos_that_changed_are_refused(call, trained, tmp_path):
    call('--arms', 'plain')
    (tmp_path / 'photos/0.png').unlink()

    with pytest.raises(SystemExit, match='was made from other photos'):
        call('--arms', 'plain')


@pytest.fixture
def fake_train(monkeypatch, tmp_path):
    """A `basicsr/train.py` of other content."""
    def write(code: str) -> Trainings:
        (tmp_path / 'basicsr').mkdir()
        (tmp_path / 'basicsr/train.py').write_text(code)
        monkeypatch.setattr(run, 'ROOT', tmp_path)
        return Trainings()
    return write


def test_a_training_that_fails_shows_the_end_of_its_log_and_its_iterations_are_counted(fake_train, tmp_path):
    trainings = fake_train('import os, sys\nfor i in range(30): print(f"[x][epoch:  0, iter:   {i}, lr:(1,)]")\n'
                           'sys.exit(f"out of luck with {os.environ[\'OMP_NUM_THREADS\']} thread")')
    reached = []

    with pytest.raises(RunError, match='(?s)code 1.*iter:   29, .*out of luck with 1 thread') as error:
        trainings.train(tmp_path / 'x.yml', tmp_path / 'x.log', reached.append)

    assert reached == list(range(30)) and 'iter:   9,' not in str(error.value)
    assert 'iter:   0,' in (tmp_path / 'x.log').read_text()


def test_trainings_are_ended_and_no_other_starts(fake_train, tmp_path):
    trainings = fake_train('import time; print("up", flush=True); time.sleep(60)')
    log, caught = tmp_path / 'x.log', []

    def train() -> None:
        try:
            trainings.train(tmp_path / 'x.yml', log, print)
        except StoppedError as error:
            caught.append(error)
    thread = threading.Thread(target=train)
    thread.start()
    while not (log.exists() and log.read_text()):
        time.sleep(0.02)
    trainings.stop()
    thread.join(10)

    assert caught and not thread.is_alive()
    with pytest.raises(StoppedError):
        trainings.train(tmp_path / 'x.yml', log, print)


def test_two_arms_train_for_real_and_the_second_call_trains_nothing(call, tmp_path, monkeypatch):
    result = call()

    assert set(result['runs']) == {'kd_s0', 'plain_s0'}
    for key, found in result['runs'].items():
        assert [at for at, _ in found['curve']] == [1, 2] and found['iterations'] == 2
        assert found['curve'][-1][1] == np.mean(list(found['sets']['held_out']['psnr_y'].values()))
        assert len(found['sets']['held_out']['ssim']) == 1
        assert 'l_g_distill' in (tmp_path / f'out/runs/{key}/train.log').read_text() or key == 'plain_s0'
        saved = torch.load(tmp_path / f'out/runs/{key}/net_g.pth', weights_only=True)
        assert set(saved) == {'params', 'params_ema'}
    start = [read_state_dict(tmp_path / f'out/runs/{key}/net_g.pth')['conv_first.weight'] for key in result['runs']]
    assert not torch.equal(*start) and (start[0] - start[1]).abs().max() < 0.01  # the same start, two steps later
    assert not list(run_folder('').glob(f'{run_prefix(tmp_path / "out")}*'))
    assert {path.name for path in (tmp_path / 'out').glob('*.png')} == {'curves.png', 'plane_held_out.png'}
    monkeypatch.setattr(Trainings, 'train', None)  # calling it would fail

    assert call() == result
