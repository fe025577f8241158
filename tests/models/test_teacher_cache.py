"""`teacher: cache: outputs`: what it keeps, what a step takes of it, and what is refused."""
from __future__ import annotations

import random
import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataset
from helpers.models import start
from helpers.realesrgan import photo_options, write_photos
from torch.utils.data import default_collate

from basicsr_kd import options, preflight
from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.errors import OptionsError
from basicsr_kd.utils.arrays import as_tensor


@pytest.fixture
def opt(kd_opt, image_pairs, tmp_path) -> dict[str, Any]:
    """A run that distils the outputs, on images of its own."""
    shutil.copytree(image_pairs, tmp_path / 'pairs')
    train = kd_opt['datasets']['train']
    train.update(dataroot_gt=str(tmp_path / 'pairs/HR'), dataroot_lq=str(tmp_path / 'pairs/LRx4'), gt_size=96)
    kd_opt['train'].update(distill_opt={'type': 'ResponseDistillLoss'}, ema_decay=0)
    kd_opt['train'].pop('gan_opt')
    kd_opt['teacher'].update(cache='outputs', cache_path=str(tmp_path / 'cache'), amp='fp32')
    return kd_opt


def checked(opt: dict[str, Any]) -> dict[str, Any]:
    options.validate(opt, True)
    preflight.check(opt)
    return opt


def data_set(opt: dict[str, Any]) -> Any:
    """The training set of a run that has begun."""
    return build_dataset(start(opt).opt['datasets']['train'])


def kept(opt: dict[str, Any]) -> list[Path]:
    return sorted(Path(opt['teacher']['cache_path']).rglob('*.npy'))


@pytest.mark.parametrize('cache', [None, 'ram'])
def test_crops_of_low_resolution_truth_and_teacher_move_together(opt, teacher_file, cache):
    opt['datasets']['train']['cache'] = cache
    plain = build_dataset({key: value for key, value in opt['datasets']['train'].items() if key != 'cache'})
    taught = data_set(opt)
    net = build_from_file(str(teacher_file)).eval()
    turned = set()
    for seed in range(12):
        samples = []
        for one in (plain, taught):
            random.seed(seed)
            samples.append(one[seed % 3])
        assert torch.equal(samples[0]['lq'], samples[1]['lq']) and torch.equal(samples[0]['gt'], samples[1]['gt'])
        lq = cv2.imread(samples[1]['lq_path'])
        with torch.no_grad():
            whole = net(as_tensor(lq))[0]
        # where the crop came from, and how it was turned, by the truth
        gt = as_tensor(cv2.imread(samples[1]['gt_path']))[0]
        views = [(turn, flip) for turn in range(4) for flip in (False, True)]
        found = [(turn, flip, top, left) for turn, flip in views for top in range(0, 49, 4) for left in range(0, 49, 4)
                 if torch.equal(moved(gt[:, top:top + 96, left:left + 96], turn, flip), samples[1]['gt'])]
        (turn, flip, top, left), = found
        expected = moved(whole[:, top:top + 96, left:left + 96], turn, flip)
        assert torch.allclose(samples[1]['teacher'], expected, atol=2e-3)  # fp16
        turned.add((turn, flip))
    assert len(turned) > 3


def moved(image: torch.Tensor, turn: int, flip: bool) -> torch.Tensor:
    image = torch.rot90(image, turn, (1, 2))
    return image.flip(2) if flip else image


def step(opt: dict[str, Any]) -> tuple[Any, float]:
    """One step on a batch of whole images; the model and its loss of distillation."""
    torch.manual_seed(0)
    opt['datasets']['train'].update(gt_size=144, use_hflip=False, use_rot=False)
    model = start(opt)
    images = build_dataset(model.opt['datasets']['train'])
    model.feed_data(default_collate([images[index] for index in range(2)]))
    model.optimize_parameters(1)
    return model, float(model.get_current_log()['l_g_distill'])


def test_on_whole_images_the_loss_is_that_of_a_teacher_that_runs_in_each_step(opt):
    opt['teacher']['cache_border'] = 0
    _, found = step(opt)
    opt['teacher'].update(cache=None)
    _, expected = step(opt)
    assert found == pytest.approx(expected, rel=1e-3)


def test_a_step_runs_no_teacher_and_looks_at_no_border(opt):
    model, inside = step(opt)
    passes = []
    model.net_teacher.net.register_forward_hook(lambda *_: passes.append(1))
    outputs = [torch.rand(2, 3, 144, 144)] * 2
    outputs[1] = outputs[0].clone()
    border = 4 * 8
    outputs[1][..., :border, :] = 5
    outputs[1][..., -border:] = 5
    data = {'lq': torch.rand(2, 3, 36, 36), 'gt': torch.rand(2, 3, 144, 144)}
    losses = []
    for taught in outputs:
        model.feed_data({**data, 'teacher': taught})
        with torch.no_grad(), model.distiller.teacher:
            model.net_teacher.outputs = model.taught
            model.net_teacher(model.lq)
        with model.distiller.student:
            model.net_g(model.lq)
        losses.append(float(model.distiller.loss_terms()[0]))
    assert not passes and inside > 0 and losses[0] == losses[1] > 0
    model.net_teacher(data['lq'])
    assert passes  # for pictures at a validation


def test_outputs_are_made_once_and_anew_for_another_image_or_teacher(opt, log, teacher_file):
    start(opt)
    first = kept(opt)
    assert len(first) == 3 and any("Teacher's outputs: 3 made, 0 were there" in line for line in log)
    start(opt)
    assert kept(opt) == first and any("Teacher's outputs: 0 made, 3 were there" in line for line in log)
    damaged, content = first[0], first[0].read_bytes()
    damaged.write_bytes(content[:1000])
    start(opt)
    assert damaged.read_bytes() == content
    photo = next(Path(opt['datasets']['train']['dataroot_lq']).iterdir())
    cv2.imwrite(str(photo), 255 - cv2.imread(str(photo)))
    start(opt)
    assert len(kept(opt)) == 4
    opt['teacher']['amp'] = 'bf16'
    start(opt)
    assert len(kept(opt)) == 7 and len({path.parent for path in kept(opt)}) == 2
    assert np.load(first[0]).dtype == np.float16 and not list(first[0].parent.glob('*.tmp'))


@pytest.mark.parametrize(('change', 'said'), [
    (lambda opt: opt['train'].update(distill_opt=[{'type': 'ResponseDistillLoss'}, {'type': 'FeatureDistillLoss'}]),
     'FeatureDistillLoss of train.distill_opt compares what is inside the networks'),
    (lambda opt: opt['datasets']['train'].update(gt_size=64), 'Expected a gt_size above 64'),
    (lambda opt: opt['datasets']['train'].update(mean=[0, 0, 0]), 'does not go together with datasets.train.mean'),
    (lambda opt: opt['teacher'].update(cache='features'), "teacher.cache: found 'features'"),
    (lambda opt: opt['teacher'].update(cache_border=-1), 'teacher.cache_border')])
def test_what_does_not_go_is_refused(opt, change, said):
    change(opt)
    with pytest.raises(OptionsError, match=said):
        checked(opt)
    assert not kept(opt)


def test_degradation_that_is_random_is_refused_with_what_to_do(kd_opt, tmp_path):
    opt = photo_options(kd_opt, write_photos(tmp_path / 'photos'), 'KDRealESRGANModel')
    opt['train']['distill_opt'] = {'type': 'ResponseDistillLoss'}
    opt['teacher'].update(cache='outputs')
    with pytest.raises(OptionsError, match=r'makes it anew each time. Store some variants of each photo '
                                           r'\(scripts/degrade_images.py'):
        checked(opt)


def test_a_disk_that_is_too_small_is_told_with_what_is_needed(opt, monkeypatch):
    monkeypatch.setattr('basicsr_kd.data.teacher_outputs.shutil.disk_usage', lambda path: SimpleNamespace(free=1))
    with pytest.raises(OptionsError, match=r'the outputs for 3 images take 0.4 MiB, and 0.0 MiB are free in '):
        checked(opt)
