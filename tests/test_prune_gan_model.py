"""PruneGANModel: prunes once, trains, resumes without pruning."""
from __future__ import annotations

import os

import pytest
import torch
from model_helpers import batch, same, start, train, weights

from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.checkpoint import read_state_dict


def parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def test_generator_and_ema_start_as_the_pruned_file(prune_opt, tmp_path):
    model = start(prune_opt)
    pruned = read_state_dict(tmp_path / 'run' / 'models' / 'net_g_pruned.pth')
    assert same(weights(model.net_g), pruned) and same(weights(model.net_g_ema), pruned)
    full = sum(tensor.numel() for tensor in read_state_dict(prune_opt['path']['pretrain_network_g']).values())
    assert parameters(model.net_g) == pytest.approx(0.7 * full, rel=0.02)


def test_it_trains_with_esrgans_relativistic_loss(prune_opt):
    model = start(prune_opt)
    before = weights(model.net_g)
    train(model, 1, 1)
    assert model.relativistic
    assert set(model.get_current_log()) == {'l_g_pix', 'l_g_gan', 'l_d_real', 'l_d_fake', 'out_d_real', 'out_d_fake'}
    assert not same(before, weights(model.net_g))


def test_steps_are_applied_in_order(prune_opt):
    prune_opt['prune'] = [{'ratio': 0.2, 'round_to': 1}, {'ratio': 0.2, 'round_to': 1}]
    full = sum(tensor.numel() for tensor in read_state_dict(prune_opt['path']['pretrain_network_g']).values())
    assert parameters(start(prune_opt).net_g) == pytest.approx(0.64 * full, rel=0.03)


def test_resume_prunes_nothing_and_goes_on(prune_opt, tmp_path):
    model = start(prune_opt)
    train(model, 1, 2)
    model.save(0, 2)
    train(model, 3, 4)
    os.remove(tmp_path / 'run' / 'models' / 'net_g_pruned.pth')
    prune_opt['auto_resume'] = True
    again = start(prune_opt)
    train(again, 3, 4)
    for net in ('net_g', 'net_g_ema', 'net_d'):
        assert same(weights(getattr(again, net)), weights(getattr(model, net))), net
    assert not (tmp_path / 'run' / 'models' / 'net_g_pruned.pth').exists()


def test_resume_with_another_budget_keeps_the_network_and_warns(prune_opt, caplog):
    model = start(prune_opt)
    train(model, 1, 2)
    model.save(0, 2)
    prune_opt.update(auto_resume=True, prune={'ratio': 0.5, 'round_to': 1})
    again = start(prune_opt)
    assert parameters(again.net_g) == parameters(model.net_g)
    assert any('prune: was' in message and '0.5' in message for message in caplog.messages)


def test_its_result_is_a_teacher_for_distillation(prune_opt, kd_opt, tmp_path):
    model = start(prune_opt)
    model.save(0, -1)
    teacher = build_from_file(str(tmp_path / 'run' / 'models' / 'net_g_latest.pth'))
    lq = batch(1)['lq']
    torch.testing.assert_close(teacher(lq), model.net_g_ema(lq), rtol=1e-4, atol=1e-5)
