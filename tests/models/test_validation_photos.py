"""Photos without ground truth, BasicSR's SingleImageDataset: what is refused, and what validation makes of them."""
from __future__ import annotations

import copy
import shutil

import cv2
import numpy as np
import pytest
from basicsr.metrics import calculate_niqe
from helpers.models import start, train
from helpers.validation import Board, check, loader, without_teacher

from basicsr_kd.errors import OptionsError

PSNR = {'type': 'calculate_psnr', 'crop_border': 4}
SSIM = {'type': 'calculate_ssim', 'crop_border': 4}


@pytest.fixture
def opt(kd_opt):
    return without_teacher(kd_opt)


@pytest.fixture
def photos(opt):
    """A second set, which has no ground truth."""
    opt['datasets']['val_2'] = {'name': 'photos', 'type': 'SingleImageDataset', 'io_backend': {'type': 'disk'},
                                'dataroot_lq': opt['datasets']['val']['dataroot_lq'], 'phase': 'val', 'scale': 4}
    return opt['datasets']['val_2']


def test_a_metric_that_compares_needs_ground_truth_in_some_set(opt, photos):
    opt['val']['metrics'] = {'niqe': {'type': 'calculate_niqe', 'crop_border': 4}}
    for metric in ({'type': 'calculate_fid'}, {'type': 'calculate_lpips', 'crop_border': 4}, SSIM):
        opt['val']['metrics']['more'] = dict(metric)
        assert check(opt) == []
    del opt['datasets']['val']
    with pytest.raises(OptionsError, match=r'val.metrics.more: calculate_ssim compares with ground truth, which '
                                           r'datasets.val_2 \(SingleImageDataset\) does not have; remove the metric'):
        check(opt)
    del opt['val']['metrics']['more']
    assert check(opt) == []


@pytest.mark.parametrize(('change', 'words'), [
    ({'dataroot_lq': None}, ['datasets.val_2.dataroot_lq is missing']),
    ({'io_backend': None}, ['datasets.val_2.io_backend is missing']),
    ({'dataroot_lq': 'no/photos'}, ['datasets.val_2.dataroot_lq', 'no/photos does not exist']),
    ({'dataroot_lq': 'empty'}, ['datasets.val_2.dataroot_lq: no photos in empty']),
    ({'dataroot_lq': 'mixed'}, ['datasets.val_2.dataroot_lq: mixed/Thumbs.db cannot be read as an image', 'move it']),
])
def test_photos_that_could_not_be_validated_on_are_refused_before_training(opt, photos, image_pairs, tmp_path,
                                                                           monkeypatch, change, words):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'empty').mkdir()
    shutil.copytree(image_pairs / 'LRx4', 'mixed')
    (tmp_path / 'mixed' / 'Thumbs.db').write_bytes(b'no image')
    opt['val']['metrics'] = None
    photos.update(change)
    with pytest.raises(OptionsError) as caught:
        check(opt)
    assert all(word in str(caught.value) for word in words), str(caught.value)


def test_photos_without_ground_truth_have_the_metrics_that_need_none(opt, photos, log, tmp_path):
    folder = tmp_path / 'photos'
    folder.mkdir()
    rng = np.random.default_rng(0)
    for name, size in (('a', (56, 60, 3)), ('grey', (60, 56)), ('alpha', (56, 56, 4))):
        cv2.imwrite(str(folder / f'{name}.png'), rng.integers(0, 256, size, dtype=np.uint8))
    opt['val']['metrics'] = {'psnr': PSNR, 'niqe': {'type': 'calculate_niqe', 'crop_border': 4}, 'ssim': SSIM}
    photos['dataroot_lq'] = str(folder)
    model, board = start(opt), Board()
    for iteration in (2, 4):
        for changes in ({}, copy.deepcopy(photos)):
            model.validation(loader(opt, **changes), iteration, board, True)

    assert list(model.metric_results) == ['niqe']
    results = [cv2.imread(str(tmp_path / 'run' / 'visualization' / name / f'{name}_4.png'))
               for name in ('a', 'alpha', 'grey')]
    assert model.metric_results['niqe'] == pytest.approx(np.mean([calculate_niqe(image, 4) for image in results]))
    assert model.best_metric_results['photos']['niqe']['better'] == 'lower'
    assert set(board.scalars) == {'metrics/pairs/psnr', 'metrics/pairs/ssim', 'metrics/photos/niqe'}
    assert [line for line in log if 'ground truth' in line] == [
        'Validation photos: it has no ground truth, so psnr, ssim cannot be had there.']


def test_photos_without_ground_truth_are_enlarged_also_in_the_middle_of_training(opt, tmp_path):
    opt['val'].update(metrics=None, save_img=True)
    opt['datasets']['val']['type'] = 'SingleImageDataset'
    del opt['datasets']['val']['dataroot_gt']
    model = start(opt)
    train(model, 1, 1)  # leaves a batch's ground truth behind
    model.validation(loader(opt), 1, None, True)
    assert len(list((tmp_path / 'run').rglob('*.png'))) == 3 and model.metric_results == {}
    train(model, 2, 2)
