"""PruneGANModel: prunes once or in stages, trains, resumes without pruning again."""
from __future__ import annotations

import os
import shutil

import pytest
import torch
import yaml
from basicsr.archs import build_network
from basicsr.archs.rrdbnet_arch import RRDBNet
from common.ncnn_files import write_ncnn
from helpers.models import batch, same, start, start_and_save, train, train_on_and_resume, weights
from helpers.networks import TINY

from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.pruning import PruningError

EDSR = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 3, 'upscale': 4, 'res_scale': 0.5}


def parameters(net: torch.nn.Module) -> int:
    return sum(p.numel() for p in net.parameters())


def whole(opt) -> int:
    """Parameters before pruning."""
    return sum(tensor.numel() for tensor in read_state_dict(opt['path']['pretrain_network_g']).values())


def zeros(net: torch.nn.Module) -> dict[str, torch.Tensor]:
    return {name: parameter == 0 for name, parameter in net.named_parameters()}


def nonzeros(net: torch.nn.Module) -> int:
    return sum(int(torch.count_nonzero(parameter)) for parameter in net.parameters())


def test_generator_and_ema_start_as_the_pruned_file(prune_opt, tmp_path):
    model = start(prune_opt)
    pruned = read_state_dict(tmp_path / 'run' / 'models' / 'net_g_pruned.pth')
    assert same(weights(model.net_g), pruned) and same(weights(model.net_g_ema), pruned)
    assert parameters(model.net_g) == pytest.approx(0.7 * whole(prune_opt), rel=0.02)


def test_a_network_of_ncnn_is_pruned_as_its_checkpoint_is(prune_opt, tmp_path):
    expected = weights(start(prune_opt).net_g)
    shutil.rmtree(tmp_path / 'run')
    param = write_ncnn(build_from_file(prune_opt['path']['pretrain_network_g']), tmp_path / 'net')
    prune_opt['path']['pretrain_network_g'] = str(param)
    assert same(weights(start(prune_opt).net_g), expected)


def test_it_trains_with_esrgans_relativistic_loss(prune_opt):
    model = start(prune_opt)
    before = weights(model.net_g)
    train(model, 1, 1)
    assert model.relativistic
    assert set(model.get_current_log()) == {'l_g_pix', 'l_g_gan', 'l_d_real', 'l_d_fake', 'out_d_real', 'out_d_fake'}
    assert not same(before, weights(model.net_g))


def test_steps_are_applied_in_order(prune_opt):
    prune_opt['prune'] = [{'ratio': 0.2, 'round_to': 1}, {'ratio': 0.2, 'round_to': 1}]
    assert parameters(start(prune_opt).net_g) == pytest.approx(0.64 * whole(prune_opt), rel=0.03)


def test_resume_prunes_nothing_and_goes_on(prune_opt, tmp_path):
    model = start_and_save(prune_opt, 2)
    train(model, 3, 4)
    os.remove(tmp_path / 'run' / 'models' / 'net_g_pruned.pth')
    prune_opt['auto_resume'] = True
    again = start(prune_opt)
    train(again, 3, 4)
    for net in ('net_g', 'net_g_ema', 'net_d'):
        assert same(weights(getattr(again, net)), weights(getattr(model, net))), net
    assert not (tmp_path / 'run' / 'models' / 'net_g_pruned.pth').exists()


def test_resume_with_another_budget_keeps_the_network_and_warns(prune_opt, caplog):
    model = start_and_save(prune_opt, 2)
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


def test_blocks_leave_a_plain_rrdbnet(prune_opt, tmp_path):
    """The images to choose by are those of the training set."""
    prune_opt['prune'] = {'layout': 'blocks', 'keep': 1, 'calibration': {'num': 2}}
    model = start(prune_opt)
    train(model, 1, 1)
    model.save(0, -1)
    RRDBNet(3, 3, num_feat=8, num_block=1, num_grow_ch=4).load_state_dict(weights(model.net_g))
    section = yaml.safe_load((tmp_path / 'run' / 'models' / 'net_g_latest.yml').read_text())
    assert section['network_g'] == {**TINY, 'num_block': 1, 'scale': 4}


def test_what_is_zero_stays_zero_also_after_resume(prune_opt):
    prune_opt['prune'] = {'ratio': 0.4, 'layout': 'unstructured'}
    model = start(prune_opt)
    first = zeros(model.net_g)
    assert sum(int(mask.sum()) for mask in first.values()) == pytest.approx(0.4 * whole(prune_opt), rel=0.02)
    train(model, 1, 2)
    model.save(0, 2)
    again = train_on_and_resume(model, prune_opt, 3, 3)
    assert same(weights(again.net_g), weights(model.net_g))
    for net in (model.net_g, model.net_g_ema, again.net_g, again.net_g_ema):
        for name, mask in zeros(net).items():
            if name.endswith('.weight'):
                assert torch.equal(mask, first[name]), name


@pytest.mark.parametrize(('prune', 'left'), [
    ({'ratio': 0.5, 'round_to': 1}, [0.5**0.5, 0.5]),
    ({'ratio': 0.5, 'round_to': 1, 'layout': 'balanced', 'importance': 'taylor', 'calibration': {'num': 2}},
     [0.5**0.5, 0.5]),
])
def test_in_stages(prune_opt, prune, left):
    prune_opt['prune'] = {**prune, 'steps': 2, 'every': 2}
    model = start(prune_opt)
    optimizer, scheduler = model.optimizer_g, model.schedulers[0]
    assert parameters(model.net_g) == pytest.approx(left[0] * whole(prune_opt), rel=0.05)
    train(model, 1, 2)
    assert parameters(model.net_g) == pytest.approx(left[0] * whole(prune_opt), rel=0.05)
    train(model, 3, 3)
    assert parameters(model.net_g) == pytest.approx(left[1] * whole(prune_opt), rel=0.05)
    assert parameters(model.net_g_ema) == parameters(model.net_g) and model.net_g.training
    assert not model.net_g_ema.training
    assert model.optimizer_g is optimizer and scheduler.optimizer is optimizer and model.optimizers[0] is optimizer
    assert optimizer.param_groups[0]['params'] == list(model.net_g.parameters())
    assert {int(state['step']) for state in optimizer.state.values()} == {3}
    before = weights(model.net_g)
    train(model, 4, 4)
    assert all(not torch.equal(before[name], tensor) for name, tensor in model.net_g.named_parameters()
               if name.endswith('weight'))
    assert optimizer.param_groups[0]['lr'] == pytest.approx(5e-4)  # the scheduler's step at iteration 2


@pytest.mark.parametrize(('prune', 'saved'), [
    ({'ratio': 0.5, 'round_to': 1}, 1), ({'ratio': 0.5, 'round_to': 1}, 2), ({'ratio': 0.5, 'round_to': 1}, 3),
    ({'ratio': 0.5, 'layout': 'unstructured'}, 2), ({'keep': 1, 'layout': 'blocks', 'select': 'last'}, 2),
    ({'ratio': 0.3, 'round_to': 1, 'reconstruct': True}, 2),
])
def test_a_run_in_stages_resumes_before_at_and_after_a_stage(prune_opt, prune, saved):
    prune_opt['network_g']['num_block'] = 3
    prune_opt['path']['pretrain_network_g'] = prune_opt['path']['experiments_root'] + '.pth'
    torch.save({'params': build_network(prune_opt['network_g']).state_dict()}, prune_opt['path']['pretrain_network_g'])
    prune_opt['prune'] = {**prune, 'steps': 2, 'every': 2, 'calibration': {'num': 2}}
    model = start_and_save(prune_opt, saved)
    again = train_on_and_resume(model, prune_opt, saved + 1, 4)
    for one in ('net_g', 'net_g_ema', 'net_d'):
        assert same(weights(getattr(again, one)), weights(getattr(model, one))), one


def test_a_stage_that_other_options_would_skip_is_done_after_resume(prune_opt):
    prune_opt['prune'] = {'ratio': 0.5, 'round_to': 1, 'steps': 2, 'every': 3}
    start_and_save(prune_opt, 2)
    prune_opt['auto_resume'] = True
    prune_opt['prune']['every'] = 1
    again = start(prune_opt)
    train(again, 3, 3)
    assert parameters(again.net_g) == pytest.approx(0.5 * whole(prune_opt), rel=0.05)


def test_zeros_of_the_trained_network_are_remembered(prune_opt, tmp_path):
    net = build_network(prune_opt['network_g'])
    for name, parameter in net.named_parameters():
        torch.nn.init.uniform_(parameter, -0.1, 0.1)
        if name.startswith('body.0.') and name.endswith('weight'):
            torch.nn.init.zeros_(parameter)
    torch.save({'params': net.state_dict()}, tmp_path / 'sparse.pth')
    before = nonzeros(net)
    prune_opt['path']['pretrain_network_g'] = str(tmp_path / 'sparse.pth')
    prune_opt['prune'] = {'ratio': 0.5, 'layout': 'unstructured', 'importance': 'l2', 'steps': 2, 'every': 2}
    model = start(prune_opt)
    assert nonzeros(model.net_g) == pytest.approx(0.5**0.5 * before, rel=0.02)
    train(model, 1, 2)
    model.save(0, 2)
    again = start({**prune_opt, 'auto_resume': True})
    train(again, 3, 3)
    assert nonzeros(again.net_g) == pytest.approx(0.5 * before, rel=0.02)


@pytest.mark.parametrize('network', [EDSR, None])
def test_resume_without_the_section_goes_on_with_the_pruned_network(prune_opt, tmp_path, network):
    if network:
        torch.save({'params': build_network(network).state_dict()}, tmp_path / 'edsr.pth')
        prune_opt['network_g'] = network
        prune_opt['path']['pretrain_network_g'] = str(tmp_path / 'edsr.pth')
    model = start_and_save(prune_opt, 2)
    del prune_opt['prune']
    prune_opt['auto_resume'] = True
    again = start(prune_opt)
    assert same(weights(again.net_g), weights(model.net_g))
    train(again, 3, 4)
    again.save(0, 4)
    assert same(weights(build_from_file(str(tmp_path / 'run' / 'models' / 'net_g_4.pth'))), weights(again.net_g_ema))


def test_a_network_of_grey_images(prune_opt, tmp_path):
    grey = {'type': 'MSRResNet', 'num_in_ch': 1, 'num_out_ch': 1, 'num_feat': 8, 'num_block': 2, 'upscale': 4}
    torch.save({'params': build_network(grey).state_dict()}, tmp_path / 'grey.pth')
    del prune_opt['train']['gan_opt']
    prune_opt.update(network_g=grey, prune={'ratio': 0.25, 'round_to': 1, 'calibration': {'num': 2}})
    prune_opt['path']['pretrain_network_g'] = str(tmp_path / 'grey.pth')
    for dataset in prune_opt['datasets'].values():
        dataset['color'] = 'y'
    assert parameters(start(prune_opt).net_g) == pytest.approx(0.75 * whole(prune_opt), rel=0.05)


def test_a_stage_cuts_the_average_as_it_cuts_the_weights(prune_opt):
    prune_opt['prune'] = {'keep': 1, 'layout': 'blocks', 'select': 'last', 'steps': 2, 'every': 2}
    prune_opt['network_g']['num_block'] = 2
    model = start(prune_opt)
    train(model, 1, 2)
    before, average = weights(model.net_g), weights(model.net_g_ema)
    model._prune_further(2)
    kept = [name for name in before if not name.startswith('body.1.')]
    assert same(weights(model.net_g), {name: before[name] for name in kept})
    assert same(weights(model.net_g_ema), {name: average[name] for name in kept})


def test_after_a_reconstruction_the_average_starts_anew(prune_opt):
    prune_opt['prune'] = {'ratio': 0.4, 'round_to': 1, 'reconstruct': True, 'calibration': {'num': 2}, 'steps': 2,
                          'every': 2}
    model = start(prune_opt)
    train(model, 1, 2)
    model._prune_further(2)
    assert same(weights(model.net_g), weights(model.net_g_ema))


def test_a_network_that_its_tensors_do_not_tell(prune_opt, tmp_path):
    """EDSR's res_scale comes from `network_g` in training and from the .yml beside the file afterwards."""
    torch.save({'params': build_network(EDSR).state_dict()}, tmp_path / 'edsr.pth')
    prune_opt.update(network_g=EDSR, prune={'ratio': 0.25, 'round_to': 1, 'steps': 2, 'every': 1})
    prune_opt['path']['pretrain_network_g'] = str(tmp_path / 'edsr.pth')
    model = start(prune_opt)
    train(model, 1, 2)
    assert parameters(model.net_g) == pytest.approx(0.75 * whole(prune_opt), rel=0.05)
    model.save(0, 2)
    train(model, 3, 3)
    again = start({**prune_opt, 'auto_resume': True})
    train(again, 3, 3)
    assert same(weights(again.net_g), weights(model.net_g))
    saved = str(tmp_path / 'run' / 'models' / 'net_g_2.pth')
    assert build_from_file(saved).body[0].res_scale == 0.5

    prune_opt.update(is_train=False, network_g=EDSR)
    prune_opt['path'].update(pretrain_network_g=saved, param_key_g='params_ema')
    assert same(weights(start(prune_opt).net_g), read_state_dict(saved, 'params_ema'))
    os.remove(tmp_path / 'run' / 'models' / 'net_g_2.yml')
    assert same(weights(start(prune_opt).net_g), read_state_dict(saved, 'params_ema'))


def test_weights_that_went_astray_end_the_run_at_the_next_stage(prune_opt):
    prune_opt['prune'] = {'ratio': 0.4, 'round_to': 1, 'steps': 2, 'every': 1}
    model = start(prune_opt)
    torch.nn.init.constant_(model.net_g.conv_last.bias, float('nan'))
    with pytest.raises(PruningError, match='conv_last.bias'):
        train(model, 2, 2)
