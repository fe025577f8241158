"""KDRealESRGANModel and PruneRealESRGANModel: training on images that are made, sharpened targets, validation."""
from __future__ import annotations

import copy
from typing import Any

import pytest
import torch
from basicsr.archs import build_network
from basicsr.data import build_dataloader, build_dataset
from basicsr.models import build_model
from basicsr.utils import USMSharp
from helpers.models import batch, same, start, weights
from helpers.models import train as train_on_pairs
from helpers.realesrgan import photo_batch, photo_options, train_on_photos, write_photos

from basicsr_kd import options, preflight


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp('photos'), side=128)


@pytest.fixture
def kd_photo_opt(kd_opt, photos):
    return photo_options(kd_opt, photos, 'KDRealESRGANModel')


def plain(opt: dict[str, Any]) -> dict[str, Any]:
    """Without distillation."""
    opt.pop('teacher')
    opt['train'].pop('distill_opt')
    return opt


def test_student_and_discriminator_learn_on_made_images_and_go_on_after_a_stop(kd_photo_opt):
    model = start(kd_photo_opt)
    before = {net: weights(getattr(model, net)) for net in ('net_g', 'net_d', 'net_teacher')}
    train_on_photos(model, 1, 3)
    assert {net for net in before if not same(before[net], weights(getattr(model, net)))} == {'net_g', 'net_d'}
    log = model.get_current_log()
    assert {'l_g_pix', 'l_g_gan', 'l_g_distill', 'l_d_real', 'l_d_fake'} <= set(log)
    assert all(torch.tensor(value).isfinite() for value in log.values())
    assert model.lq.shape == (2, 3, 8, 8) and model.gt.shape == (2, 3, 32, 32)
    model.save(0, 3)
    again = start({**kd_photo_opt, 'auto_resume': True})
    assert all(same(weights(getattr(again, net)), weights(getattr(model, net))) for net in before)
    train_on_photos(again, 4, 4)


def test_a_network_is_pruned_by_images_that_are_made_and_then_trains(prune_opt, photos, log):
    opt = photo_options(prune_opt, photos, 'PruneRealESRGANModel')
    opt['prune'].update(importance='taylor', reconstruct=True, calibration={'num': 2, 'size': 16})
    model = start(opt)
    assert not model.relativistic
    full = sum(tensor.numel() for tensor in torch.load(opt['path']['pretrain_network_g'])['params'].values())
    assert sum(p.numel() for p in model.net_g.parameters()) == pytest.approx(0.7 * full, rel=0.02)
    before = weights(model.net_g)
    train_on_photos(model, 1, 3)
    assert not same(before, weights(model.net_g))


def test_without_distillation_the_weights_are_those_of_basicsr(kd_opt, photos, monkeypatch):
    """VGG's discriminator has no power iterations, of which ours makes fewer; sharpening is tested by itself."""
    opt = plain(photo_options(kd_opt, photos, 'KDRealESRGANModel'))
    opt.update(gt_size=128, network_d=kd_opt['network_d'], l1_gt_usm=True, percep_gt_usm=True, gan_gt_usm=False)
    opt['datasets']['train']['crop_size'] = 128
    opt['train'].update(channels_last=False, ldl_opt={'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'})
    torch.manual_seed(3)
    ours = start(opt)
    ours.degradation.usm_sharpener = USMSharp()
    options.validate(opt, True)
    preflight.check(opt)
    for kind in (torch.Tensor, torch.nn.Module):
        monkeypatch.setattr(kind, 'cuda', lambda self: self)
    torch.manual_seed(3)
    theirs = build_model({**copy.deepcopy(opt), 'model_type': 'RealESRGANModel'})
    theirs.jpeger.register_forward_hook(lambda module, args, image: image.contiguous())  # else it needs a GPU
    for model in (ours, theirs):
        train_on_photos(model, 1, 4)
    assert ours.get_current_log()['l_g_ldl'] > 0
    for net in ('net_g', 'net_d', 'net_g_ema'):
        for left, right in zip(getattr(ours, net).parameters(), getattr(theirs, net).parameters(), strict=True):
            torch.testing.assert_close(left, right, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize('sharp', [(True, False), (False, True), (True, True)])
def test_each_loss_has_the_target_that_the_options_say(kd_photo_opt, monkeypatch, sharp):
    kd_photo_opt.update(l1_gt_usm=sharp[0], gan_gt_usm=sharp[1])
    model = start(plain(kd_photo_opt))
    seen = []
    discriminate = model.discriminate
    monkeypatch.setattr(model, 'discriminate', lambda image: seen.append(image) or discriminate(image))
    train_on_photos(model, 1, 1)
    assert not torch.equal(model.gt, model.gt_usm)
    l1, gan = (model.gt_usm if usm else model.gt for usm in sharp)
    assert model.get_current_log()['l_g_pix'] == pytest.approx((model.output - l1).abs().mean().item(), rel=1e-5)
    assert torch.equal(seen[0], gan)
    assert model.target('percep') is model.gt_usm  # sharpened is what BasicSR does where nothing is said


def test_validation_between_iterations_makes_no_low_resolution(kd_photo_opt):
    model = start(kd_photo_opt)
    train_on_photos(model, 1, 1)
    queue = model.degradation.queue_ptr
    loader = build_dataloader(build_dataset(model.opt['datasets']['val']), model.opt['datasets']['val'])
    state = torch.get_rng_state()
    model.validation(loader, 1, None, False)
    assert torch.equal(torch.get_rng_state(), state) and model.degradation.queue_ptr == queue == 2
    assert 0 < model.metric_results['psnr'] < 60
    train_on_photos(model, 2, 2)


def test_a_set_with_low_resolution_trains_without_synthesis(kd_opt):
    kd_opt.update(model_type='KDRealESRGANModel', high_order_degradation=False, l1_gt_usm=True, gan_gt_usm=False)
    model = start(kd_opt)
    train_on_pairs(model, 1, 2)
    assert torch.equal(model.lq, batch(2)['lq']) and torch.equal(model.target('gan'), batch(2)['gt'])
    torch.testing.assert_close(model.target('l1'), model.degradation.usm_sharpener(batch(2)['gt']))
    assert not hasattr(model.degradation, 'queue_lr')


def test_in_test_pairs_are_enlarged_without_anything_of_training(kd_photo_opt, tmp_path):
    torch.save({'params': build_network(dict(kd_photo_opt['network_g'])).state_dict()}, tmp_path / 'net.pth')
    kd_photo_opt['is_train'] = False
    kd_photo_opt['datasets'].pop('train')
    kd_photo_opt['path']['pretrain_network_g'] = str(tmp_path / 'net.pth')
    model = start(kd_photo_opt)
    model.feed_data(batch(1))
    model.test()
    assert model.output.shape == model.gt.shape == (2, 3, 128, 128)


def test_an_options_file_of_real_esrgan_needs_no_other_change(kd_photo_opt, photos, tmp_path):
    """It has a list of files, keys that nothing reads, no validation."""
    opt = plain(kd_photo_opt)
    (tmp_path / 'list.txt').write_text(''.join(f'{name} (128,128,3)\n' for name in ('0.png', '1.png')))
    opt['datasets']['train'].update(meta_info=str(tmp_path / 'list.txt'), gt_size=32, use_shuffle=True)
    opt['datasets']['train'].pop('crop_size')
    opt['datasets'].pop('val')
    opt.pop('val')
    model = start(opt)
    train_on_photos(model, 1, 1)
    assert model.get_current_log()['l_g_pix'] > 0


def test_without_gan_it_is_real_esrnet(kd_photo_opt):
    kd_photo_opt['train'].pop('gan_opt')
    model = start(plain(kd_photo_opt))
    train_on_photos(model, 1, 2)
    assert set(model.get_current_log()) == {'l_g_pix'} and not hasattr(model, 'net_d')


def test_the_pool_mixes_batches(kd_photo_opt):
    model = start(plain(kd_photo_opt))
    dataset = build_dataset(model.opt['datasets']['train'])
    seen = []
    for number in range(6):  # the pool of 4 pairs is full after two batches of 2
        model.feed_data(photo_batch(dataset, number))
        seen += list(model.gt)
    before = [any(torch.equal(image, earlier) for earlier in seen[:index]) for index, image in enumerate(seen)]
    assert before[:4] == [False] * 4 and any(before[4:])
