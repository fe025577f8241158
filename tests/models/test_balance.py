"""GAN training that survives a strong discriminator, and stops when a loss is no number."""
from __future__ import annotations

import logging
import math

import pytest
import torch
from helpers.models import batch, same, start, train, weights

from basicsr_kd.errors import OptionsError, TrainingError
from basicsr_kd.models.training.balance import WINDOW, WinnerWatch, warm_up


@pytest.mark.parametrize('relativistic', [False, True])
def test_the_discriminator_pauses_below_the_threshold(kd_opt, relativistic):
    kd_opt['train'].update(adaptive_d=1000.0, relativistic=relativistic)
    model = start(kd_opt)
    before = [p.clone() for p in model.net_d.parameters()]
    train(model, 1, 1)
    assert all(torch.equal(a, b) for a, b in zip(before, model.net_d.parameters(), strict=True))
    assert model.get_current_log()['d_paused'] == 1.0
    model.opt['train']['adaptive_d'] = 1e-6
    train(model, 2, 2)
    assert not all(torch.equal(a, b) for a, b in zip(before, model.net_d.parameters(), strict=True))
    assert model.get_current_log()['d_paused'] == 0.0


def test_the_discriminator_warms_up_and_the_generator_does_not(kd_opt):
    kd_opt['train'].update(warmup_iter_d=4, total_iter=8)
    kd_opt['train']['optim_d']['lr'] = 1e-4
    kd_opt['train']['scheduler']['milestones'] = [6]
    model = start(kd_opt)
    rates = []
    for iteration in range(1, 9):
        model.update_learning_rate(iteration, warmup_iter=-1)
        rates.append((model.optimizer_d.param_groups[0]['lr'], model.optimizer_g.param_groups[0]['lr']))
    rising = [0.25e-4, 0.5e-4, 0.75e-4, 1e-4]
    assert [d for d, _ in rates[:4]] == pytest.approx(rising)
    assert rates[4][0] == pytest.approx(1e-4) and rates[7][0] == pytest.approx(0.5e-4)
    assert rates[0][1] == pytest.approx(1e-3)


def test_no_warm_up_leaves_the_rate_alone():
    optimizer = torch.optim.Adam([torch.zeros(1, requires_grad=True)], lr=1e-3)
    torch.optim.lr_scheduler.MultiStepLR(optimizer, [1])
    warm_up(optimizer, 1, 0)
    assert optimizer.param_groups[0]['lr'] == 1e-3


def test_a_discriminator_that_wins_is_told_once(caplog):
    watch = WinnerWatch(1.39)
    with caplog.at_level(logging.WARNING, 'basicsr'):
        for iteration in range(WINDOW - 1):
            watch.see(0.01, iteration)
        assert not caplog.records
        for iteration in range(WINDOW, 2 * WINDOW):
            watch.see(0.01, iteration)
    (record,) = caplog.records
    assert 'The discriminator wins: its loss was 0.01 on average' in record.message
    assert '1.39 would be even' in record.message and 'adaptive_d: 0.49 (it pauses below; ' in record.message
    assert 'TecoGANModel, which goes by the logits, takes 0.4' in record.message


def test_a_discriminator_that_wins_again_is_told_again(caplog):
    watch = WinnerWatch(1.0)
    with caplog.at_level(logging.WARNING, 'basicsr'):
        for loss in (0.0, 1.0, 0.0):
            for iteration in range(WINDOW):
                watch.see(loss, iteration)
    assert len(caplog.records) == 2


def test_wasserstein_losses_tell_nothing(caplog):
    watch = WinnerWatch(0.0)
    for iteration in range(2 * WINDOW):
        watch.see(0.0, iteration)
    assert not caplog.records


@pytest.mark.parametrize(('net', 'weight', 'iteration', 'words'), [
    ('net_g', 'conv_body.weight', 3, 'conv_body.weight of the generator is no longer finite at iteration 3'),
    ('net_d', 'linear1.bias', -1, 'linear1.bias of the discriminator is no longer finite at the end'),
])
def test_weights_that_are_no_numbers_are_not_saved(kd_opt, tmp_path, net, weight, iteration, words):
    model = start(kd_opt)
    getattr(model, net).get_parameter(weight).data.fill_(math.inf)
    with pytest.raises(TrainingError, match=words):
        model.save(0, iteration)
    assert not list((tmp_path / 'run' / 'models').iterdir())


@pytest.mark.parametrize(('gan_type', 'relativistic', 'even'), [
    ('vanilla', False, 2 * math.log(2)), ('vanilla', True, math.log(2)), ('lsgan', False, 1.0), ('hinge', False, 2.0),
    ('wgan', False, 0.0)])
def test_what_is_even_depends_on_the_loss(kd_opt, gan_type, relativistic, even):
    kd_opt['train']['gan_opt']['gan_type'] = gan_type
    kd_opt['train']['relativistic'] = relativistic
    assert start(kd_opt).winner_watch._even == pytest.approx(even)


def test_a_head_start_is_not_a_win(kd_opt):
    kd_opt['train'].update(net_d_init_iters=2)
    model = start(kd_opt)
    seen = []
    model.winner_watch.see = lambda loss, iteration: seen.append(iteration)
    train(model, 1, 3)
    assert seen == [3]


@pytest.mark.parametrize(('change', 'message'), [
    ({'net_d_init_iters': 4}, 'net_d_init_iters: found 4, expected less than train.total_iter .*never learn'),
    ({'warmup_iter_d': 5}, 'warmup_iter_d: found 5, expected less than'),
    ({'warmup_iter_d': 2, 'warmup_iter': 3}, 'warmup_iter_d: found 2, expected more than train.warmup_iter'),
    ({'adaptive_d': 0.5, 'gan_opt': {'type': 'GANLoss', 'gan_type': 'wgan'}}, 'adaptive_d: the loss of gan_type: wgan'),
])
def test_a_pace_that_stops_one_side_is_told(kd_opt, change, message):
    kd_opt['train'].update(change)
    with pytest.raises(OptionsError, match=message):
        start(kd_opt)


def test_a_loss_that_is_no_number_stops_the_run_and_keeps_the_checkpoint(kd_opt, tmp_path):
    model = start(kd_opt)
    train(model, 1, 1)
    model.save(0, 1)
    kept = torch.load(tmp_path / 'run' / 'models' / 'net_g_1.pth')['params']
    data = batch(2)
    data['gt'][0, 0, 0, 0] = math.nan
    model.feed_data(data)
    with pytest.raises(TrainingError, match=r'l_g_pix is nan at iteration 2; .*models; go on from them'):
        model.optimize_parameters(2)
    assert same(torch.load(tmp_path / 'run' / 'models' / 'net_g_1.pth')['params'], kept)
    assert all(torch.isfinite(tensor).all() for tensor in kept.values())
    assert weights(model.net_g).keys() == kept.keys()
