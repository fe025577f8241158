"""A run that was ended and goes on, by BasicSR's own `train.py`, against one that was not: every number is the same."""
from __future__ import annotations

import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from helpers.going_on import as_written, assert_equal, files, run
from helpers.realesrgan import photo_options, write_photos

TOTAL = 7  # iterations; epochs have 3


def ended_at(folder: Path, iteration: int) -> None:
    """Make `ended` of the run `straight`: what that had when an iteration was saved, and scores of later ones."""
    ended = folder / 'experiments/ended'
    shutil.copytree(folder / 'experiments/straight', ended)
    for path in (*ended.glob('models/net_*'), *ended.glob('training_states/*')):
        if int(path.stem.rpartition('_')[2].replace('latest', '99').replace('pruned', '0')) > iteration:
            path.unlink()


@pytest.fixture
def kind(request, tmp_path) -> dict[str, Any]:
    """Options of each kind of training."""
    return {
        'distillation': lambda: request.getfixturevalue('kd_opt'),
        'pruning in stages': lambda: {**(opt := request.getfixturevalue('prune_opt')),
                                      'prune': {**opt['prune'], 'steps': 3, 'every': 2}},
        'TecoGAN': lambda: request.getfixturevalue('teco_opt'),
        'Real-ESRGAN': lambda: photo_options(request.getfixturevalue('kd_opt'), write_photos(tmp_path / 'photos'),
                                             'KDRealESRGANModel'),
    }[request.param]()


COSINE = {'scheduler': {'type': 'CosineAnnealingRestartLR', 'periods': [20], 'restart_weights': [1], 'eta_min': 1e-7}}


@pytest.mark.parametrize(('kind', 'last', 'workers', 'train', 'processes'), [
    ('distillation', 4, 0, {'warmup_iter': 6}, 1), ('distillation', 3, 2, COSINE, 1), ('distillation', 4, 1, {}, 2),
    ('pruning in stages', 4, 1, {}, 1), ('TecoGAN', 5, 0, {}, 1)], indirect=['kind'])
def test_a_run_that_goes_on_equals_one_that_did_not_end(tmp_path, kind, last, workers, train, processes):
    changes = {'num_worker_per_gpu': workers, 'dataset_enlarge_ratio': 2, 'train': train}
    run(tmp_path, as_written(kind, 'straight', TOTAL, **changes), processes=processes)
    ended_at(tmp_path, last)
    said = run(tmp_path, as_written(kind, 'ended', TOTAL, **changes), '--auto_resume', processes=processes)
    assert f'iter: {last}.' in said and 'not bit for bit' not in said and 'this run was saved' not in said
    expected = files(tmp_path, 'straight', TOTAL)
    assert len(expected) == (4 if 'GAN' in kind['model_type'] else 3)
    assert f'"iteration": {TOTAL}' in expected['scores'].splitlines()[-1]
    assert_equal(files(tmp_path, 'ended', TOTAL), expected)


@pytest.mark.parametrize('kind', ['Real-ESRGAN'], indirect=True)
def test_the_pool_of_real_esrgan_goes_on_beside_the_newest_state(tmp_path, kind):
    changes = {'num_worker_per_gpu': 2, 'dataset_enlarge_ratio': 2}
    run(tmp_path, as_written(kind, 'straight', TOTAL, **changes))
    run(tmp_path, as_written(kind, 'ended', 4, **changes))  # a run that had its end is made longer
    said = run(tmp_path, as_written(kind, 'ended', TOTAL, **changes), '--auto_resume')
    assert 'not bit for bit' not in said
    found, expected = files(tmp_path, 'ended', TOTAL), files(tmp_path, 'straight', TOTAL)
    assert '"iteration": 4' in found.pop('scores') and expected.pop('scores')  # at its end it was validated as well
    assert_equal(found, expected)
    (tmp_path / f'experiments/ended/training_states/{TOTAL}.state').unlink()
    said = run(tmp_path, as_written(kind, 'ended', TOTAL, **changes), '--auto_resume')
    assert 'The pool of pairs (queue_size) was not saved with this state and is filled anew' in said


@pytest.mark.parametrize('ratio', [1, 3])
def test_a_run_has_exactly_so_many_iterations_whatever_the_size_of_its_set(tmp_path, kd_opt, ratio):
    opt = as_written(kd_opt, 'run', 11, dataset_enlarge_ratio=ratio)  # 3 and 9 images, 2 in a batch
    run(tmp_path, opt)
    states = [int(path.stem) for path in (tmp_path / 'experiments/run/training_states').glob('*.state')]
    assert sorted(states) == list(range(1, 12))


def test_changed_options_are_told_and_count(tmp_path, kd_opt):
    first = as_written(kd_opt, 'run', 4)
    second = as_written(kd_opt, 'run', TOTAL, train={'optim_g': {'type': 'Adam', 'lr': 4e-3, 'betas': [0.5, 0.99]}})
    run(tmp_path, first)
    said = run(tmp_path, second, '--auto_resume')
    assert 'train.optim_g.lr: was 0.001 when this run was saved and is 0.004 now' in said
    assert f'train.total_iter: was 4 when this run was saved and is {TOTAL} now' in said
    (group,) = files(tmp_path, 'run', TOTAL)['state']['optimizers'][0]['param_groups'][:1]
    assert group['betas'] == (0.5, 0.99)
    assert group['lr'] == pytest.approx(4e-3 / 2)  # halved at the milestone, iteration 2
    assert 'train.optim_d' not in said and not re.search(r'(path|datasets)\.\S+: was', said)


def test_a_run_whose_batches_are_others_goes_on_and_says_that_it_is_not_the_same(tmp_path, kd_opt):
    first = as_written(kd_opt, 'run', 4, dataset_enlarge_ratio=1)
    second = as_written(kd_opt, 'run', TOTAL, batch_size_per_gpu=1, dataset_enlarge_ratio=1)
    run(tmp_path, first)
    said = run(tmp_path, second, '--auto_resume')
    assert 'not bit for bit as if it had not ended, since images in a batch: was 2, is 1' in said
    assert files(tmp_path, 'run', TOTAL)['state']['epoch'] == 2  # 3 iterations in one
