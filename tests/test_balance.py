"""GAN training that survives a strong discriminator, and stops when a loss is no number."""
from __future__ import annotations

import logging
import math

import pytest
import torch
from model_helpers import batch, same, start, train, weights

from basicsr_kd.models.balance import WINDOW, WinnerWatch, warm_up
from basicsr_kd.models.gan_trainer import TrainingError


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
    watch = WinnerWatch('vanilla')
    with caplog.at_level(logging.WARNING, 'basicsr'):
        for iteration in range(WINDOW - 1):
            watch.see(0.01, iteration)
        assert not caplog.records
        for iteration in range(WINDOW, 2 * WINDOW):
            watch.see(0.01, iteration)
    (record,) = caplog.records
    assert 'The discriminator wins: its loss was 0.01 on average' in record.message and 'adaptive_d' in record.message


def test_a_discriminator_that_wins_again_is_told_again(caplog):
    watch = WinnerWatch('lsgan')
    with caplog.at_level(logging.WARNING, 'basicsr'):
        for loss in (0.0, 1.0, 0.0):
            for iteration in range(WINDOW):
                watch.see(loss, iteration)
    assert len(caplog.records) == 2


def test_wasserstein_losses_tell_nothing(caplog):
    watch = WinnerWatch('wgan_softplus')
    for iteration in range(2 * WINDOW):
        watch.see(0.0, iteration)
    assert not caplog.records


def test_weights_that_are_no_numbers_are_not_saved(kd_opt, tmp_path):
    model = start(kd_opt)
    model.net_g.conv_body.weight.data[0, 0, 0, 0] = math.inf
    with pytest.raises(TrainingError, match='conv_body.weight of the generator is no longer finite at iteration 3'):
        model.save(0, 3)
    assert not list((tmp_path / 'run' / 'models').iterdir())


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
