"""KDGANModel: losses, teacher, adapters, life cycle, resume."""
from __future__ import annotations

import copy
import os

import pytest
import torch
from basicsr.archs import build_network
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.models import build_model
from common.ncnn_files import write_ncnn
from helpers.models import batch, first_logs, same, start, start_and_save, train, weights

from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.errors import CheckpointError


def test_every_loss_term_is_in_the_log(kd_opt):
    model = start(kd_opt)
    train(model, 1, 1)
    log = model.get_current_log()
    assert set(log) == {'l_g_pix', 'l_g_gan', 'l_g_distill', 'l_g_distill_FeatureDistillLoss', 'l_d_real', 'l_d_fake',
                        'out_d_real', 'out_d_fake'}
    assert log['l_g_distill'] == log['l_g_distill_FeatureDistillLoss'] > 0


def test_student_adapters_and_discriminator_learn_and_the_teacher_does_not(kd_opt):
    model = start(kd_opt)
    nets = {'student': model.net_g, 'adapters': model.distiller.adapters, 'teacher': model.net_teacher,
            'discriminator': model.net_d}
    before = {name: weights(net) for name, net in nets.items()}
    train(model, 1, 2)
    changed = {name for name, net in nets.items() if not same(before[name], weights(net))}
    assert changed == {'student', 'adapters', 'discriminator'}
    optimised = {id(p) for optimizer in model.optimizers for group in optimizer.param_groups for p in group['params']}
    assert not optimised & {id(p) for p in model.net_teacher.parameters()}
    assert all(not p.requires_grad and p.grad is None for p in model.net_teacher.parameters())
    assert not model.net_teacher.training


def test_the_generators_gradient_is_that_of_the_three_part_loss(kd_opt):
    """L = L_GAN + λ_recon·L_recon + λ_distill·L_distill, recomputed here with plain autograd."""
    kd_opt['train']['channels_last'] = False
    kd_opt['teacher']['amp'] = 'fp32'
    model = start(kd_opt)
    student, adapters = copy.deepcopy(model.net_g), copy.deepcopy(model.distiller.adapters)
    discriminator, data = copy.deepcopy(model.net_d), batch(1)
    for net in (student, adapters):
        net.zero_grad()
    features: dict[str, torch.Tensor] = {}
    for side, net in (('s', student), ('t', model.net_teacher)):
        for name in ('conv_first', 'body.0', 'body.1', 'conv_body'):
            module = net.get_submodule(name)
            module._forward_hooks.clear()  # copied taps
            module.register_forward_hook(lambda m, a, out, key=side + name: features.__setitem__(key, out))
    with torch.no_grad():
        model.net_teacher(data['lq'])
    output = student(data['lq'])
    loss = (output - data['gt']).abs().mean()
    loss = loss + 5e-3 * torch.nn.functional.softplus(-discriminator(output)).mean()
    for name in ('conv_first', 'body.0', 'body.1', 'conv_body'):
        adapted = adapters.of(f'0.{name}')(features[f's{name}'])
        loss = loss + 1e-2 * (adapted - features[f't{name}']).square().mean()
    loss.backward()

    for name in ('conv_first', 'body.0', 'body.1', 'conv_body'):
        model.net_teacher.get_submodule(name)._forward_hooks.clear()
    again = start(kd_opt)
    again.net_g.load_state_dict(weights(student))
    again.distiller.adapters.load_state_dict(weights(adapters))
    again.net_d.load_state_dict(weights(model.net_d))
    train(again, 1, 1)
    for expected, found in zip((*student.parameters(), *adapters.parameters()),
                               (*again.net_g.parameters(), *again.distiller.adapters.parameters()), strict=True):
        torch.testing.assert_close(found.grad, expected.grad, rtol=1e-4, atol=1e-7)


def test_the_discriminator_starts_as_the_teachers(kd_opt, tmp_path):
    torch.manual_seed(5)
    teachers = build_network(kd_opt['network_d'])
    torch.save({'params': teachers.state_dict()}, tmp_path / 'net_d.pth')
    kd_opt['path']['pretrain_network_d'] = str(tmp_path / 'net_d.pth')
    assert same(weights(start(kd_opt).net_d), weights(teachers))


def test_a_fresh_discriminator_first_trains_alone(kd_opt):
    kd_opt['train'].pop('net_d_init_iters')
    kd_opt['train']['total_iter'] = 200
    model = start(kd_opt)
    assert model.net_d_init_iters == 2
    before = weights(model.net_g)
    train(model, 1, 2)
    assert same(before, weights(model.net_g))
    train(model, 3, 3)
    assert not same(before, weights(model.net_g))


def test_without_gan_there_is_no_discriminator(kd_opt, tmp_path):
    kd_opt['train'].pop('gan_opt')
    model = start_and_save(kd_opt, 1)
    assert set(model.get_current_log()) == {'l_g_pix', 'l_g_distill', 'l_g_distill_FeatureDistillLoss'}
    assert len(model.optimizers) == 1 and not hasattr(model, 'net_d')
    assert sorted(os.listdir(tmp_path / 'run' / 'models')) == ['net_g_1.pth']


def test_without_teacher_it_is_plain_training(kd_opt):
    kd_opt.pop('teacher')
    kd_opt['train'].pop('distill_opt')
    model = start(kd_opt)
    train(model, 1, 1)
    assert 'l_g_distill' not in model.get_current_log() and 'l_g_gan' in model.get_current_log()


@pytest.mark.parametrize('model_type', ['SRGANModel', 'ESRGANModel'])
def test_plain_training_gives_the_weights_that_basicsr_gives(kd_opt, model_type):
    kd_opt.pop('teacher')
    kd_opt['train'].pop('distill_opt')
    kd_opt['train'].update(channels_last=False, relativistic=model_type == 'ESRGANModel')
    torch.manual_seed(3)
    ours = start(kd_opt)
    torch.manual_seed(3)
    theirs = build_model({**copy.deepcopy(kd_opt), 'model_type': model_type})
    for model in (ours, theirs):
        train(model, 1, 3)
    for net in ('net_g', 'net_d', 'net_g_ema'):
        for left, right in zip(getattr(ours, net).parameters(), getattr(theirs, net).parameters(), strict=True):
            torch.testing.assert_close(left, right, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize('switch', [{'channels_last': True}, {'amp': 'bf16'}, {'amp': 'bf16', 'channels_last': False}])
def test_memory_format_and_bf16_leave_the_losses_about_the_same(kd_opt, switch):
    logs = first_logs(kd_opt, {'channels_last': False}, switch, steps=train)
    for name, value in logs[0].items():
        assert logs[1][name] == pytest.approx(value, rel=2e-2, abs=3e-2 if 'amp' in switch else 1e-4), name


@pytest.mark.parametrize('prune', [
    {'ratio': 0.4, 'round_to': 1},
    [{'ratio': 0.2, 'round_to': 1, 'importance': 'taylor', 'calibration': {'num': 2}}, {'ratio': 0.25, 'round_to': 1}],
])
def test_a_pruned_teacher_is_a_file_that_resume_loads(kd_opt, tmp_path, prune):
    kd_opt['teacher']['prune'] = prune
    model = start(kd_opt)
    full = sum(tensor.numel() for tensor in read_state_dict(kd_opt['teacher']['path']).values())
    left = sum(p.numel() for p in model.net_teacher.parameters())
    assert left == pytest.approx(0.6 * full, rel=0.02)
    train(model, 1, 2)
    model.save(0, 2)
    os.rename(kd_opt['teacher']['path'], kd_opt['teacher']['path'] + '.away')
    try:
        kd_opt['auto_resume'] = True
        again = start(kd_opt)
    finally:
        os.rename(kd_opt['teacher']['path'] + '.away', kd_opt['teacher']['path'])
    assert same(weights(again.net_teacher), weights(model.net_teacher))


@pytest.mark.parametrize('way', ['auto_resume', 'resume_state'])
def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(kd_opt, tmp_path, way):
    kd_opt['train']['distill_opt'].update(adapter_lr=2e-3, adapter_init='fit')
    model = start_and_save(kd_opt, 2)
    kept = weights(model.distiller.adapters)
    train(model, 3, 4)
    if way == 'auto_resume':
        kd_opt['auto_resume'] = True
    else:
        kd_opt['path']['resume_state'] = str(tmp_path / 'run' / 'training_states' / '2.state')
    torch.manual_seed(99)
    again = start(kd_opt)
    assert same(weights(again.distiller.adapters), kept)
    assert [group['initial_lr'] for group in again.optimizer_g.param_groups] == [1e-3, 2e-3]
    train(again, 3, 4)
    for net in ('net_g', 'net_g_ema', 'net_d'):
        assert same(weights(getattr(again, net)), weights(getattr(model, net))), net
    assert same(weights(again.distiller.adapters), weights(model.distiller.adapters))


def test_networks_of_other_families_are_teacher_and_student(kd_opt, tmp_path):
    teacher = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 2, 'upscale': 4}
    torch.save({'params': build_network(teacher).state_dict()}, tmp_path / 'edsr.pth')
    kd_opt['teacher'] = {'path': str(tmp_path / 'edsr.pth'), 'network': teacher}
    kd_opt['network_g'] = {'type': 'MSRResNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 2,
                           'upscale': 4}
    kd_opt['train']['distill_opt']['layers'] = {'conv_first': 'conv_first', 'body.*': 'body.*'}
    model = start(kd_opt)
    train(model, 1, 1)
    assert model.get_current_log()['l_g_distill'] > 0
    model.save(0, -1)
    kd_opt['is_train'] = False
    kd_opt['path']['pretrain_network_g'] = str(tmp_path / 'run' / 'models' / 'net_g_latest.pth')
    kd_opt['path']['param_key_g'] = 'params_ema'
    assert same(weights(start(kd_opt).net_g), weights(model.net_g_ema))


def test_resume_inside_the_discriminators_head_start_keeps_it(kd_opt):
    kd_opt['train'].pop('net_d_init_iters')
    kd_opt['train']['total_iter'] = 400
    start_and_save(kd_opt, 2)
    kd_opt['auto_resume'] = True
    assert start(kd_opt).net_d_init_iters == 4


def test_resume_trains_on_from_the_weights_and_not_from_their_average(kd_opt):
    kd_opt['path']['param_key_g'] = None
    model = start_and_save(kd_opt, 2)
    kd_opt['auto_resume'] = True
    again = start(kd_opt)
    assert same(weights(again.net_g), weights(model.net_g)) and same(weights(again.net_g_ema), weights(model.net_g_ema))


def test_resume_without_the_discriminator_it_had_is_told(kd_opt):
    start_and_save(kd_opt, 2)
    kd_opt['auto_resume'] = True
    kd_opt['train'].pop('gan_opt')
    with pytest.raises(CheckpointError, match='does not fit these options'):
        start(kd_opt)


def test_the_chosen_weights_of_a_teacher_file_are_taken(kd_opt, tmp_path):
    state = read_state_dict(kd_opt['teacher']['path'])
    other = {name: tensor + 1 for name, tensor in state.items()}
    torch.save({'params': other, 'params_ema': state}, tmp_path / 'both.pth')
    for key, expected in ((None, state), ('params_ema', state), ('params', other)):
        kd_opt['teacher'] = {'path': str(tmp_path / 'both.pth'), 'param_key': key}
        assert same(weights(start(kd_opt).net_teacher), expected)


def test_a_file_of_the_weights_alone_starts_generator_and_ema(kd_opt, tmp_path):
    from safetensors.torch import save_file
    student = build_network(kd_opt['network_g'])
    save_file(student.state_dict(), tmp_path / 'student.safetensors')
    kd_opt['path']['pretrain_network_g'] = str(tmp_path / 'student.safetensors')
    model = start(kd_opt)
    assert same(weights(model.net_g), weights(student)) and same(weights(model.net_g_ema), weights(student))


def test_the_distillation_loss_is_logged_only_where_it_was_computed(kd_opt):
    kd_opt['train']['net_d_iters'] = 2
    model = start(kd_opt)
    train(model, 1, 1)
    assert 'l_g_distill' not in model.get_current_log()
    train(model, 2, 2)
    assert 'l_g_distill' in model.get_current_log()
    train(model, 3, 3)
    assert 'l_g_distill' not in model.get_current_log()


def test_resume_with_other_layers_is_told(kd_opt):
    start_and_save(kd_opt, 2)
    kd_opt['auto_resume'] = True
    kd_opt['train']['distill_opt']['layers'] = ['conv_first']
    with pytest.raises(CheckpointError, match='other layers in train.distill_opt'):
        start(kd_opt)


def test_a_student_inherits_before_its_ema_is_made_and_not_on_resume(kd_opt, tmp_path):
    kd_opt['student'] = {'init': 'teacher'}
    model = start(kd_opt)
    assert same(weights(model.net_g), read_state_dict(tmp_path / 'run' / 'models' / 'net_g_init.pth'))
    assert same(weights(model.net_g), weights(model.net_g_ema))
    train(model, 1, 2)
    model.save(0, 2)
    os.remove(tmp_path / 'run' / 'models' / 'net_g_init.pth')
    kd_opt['auto_resume'] = True
    again = start(kd_opt)
    assert same(weights(again.net_g), weights(model.net_g))
    assert not (tmp_path / 'run' / 'models' / 'net_g_init.pth').exists()


def test_a_teacher_that_its_tensors_do_not_tell_is_pruned_all_the_same(kd_opt, tmp_path):
    edsr = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 2, 'upscale': 4}
    torch.save({'params': build_network(edsr).state_dict()}, tmp_path / 'edsr.pth')
    kd_opt['teacher'] = {'path': str(tmp_path / 'edsr.pth'), 'network': edsr, 'prune': {'ratio': 0.2, 'round_to': 1}}
    kd_opt['train']['distill_opt']['layers'] = {'conv_body': 'conv_after_body'}
    model = start(kd_opt)
    assert same(weights(model.net_teacher), read_state_dict(tmp_path / 'run' / 'models' / 'teacher.pth'))
    train(model, 1, 1)
    model.save(0, 1)
    os.remove(tmp_path / 'run' / 'models' / 'teacher.yml')
    assert same(weights(start({**kd_opt, 'auto_resume': True}).net_teacher), weights(model.net_teacher))


@pytest.mark.parametrize('form', ['safetensors', 'ncnn', 'params only', 'module', 'old ESRGAN', 'older ESRGAN'])
def test_teacher_files_of_every_kind(kd_opt, tmp_path, form):
    from safetensors.torch import save_file
    state = read_state_dict(kd_opt['teacher']['path'])
    path = tmp_path / {'safetensors': 't.safetensors', 'ncnn': 't.param'}.get(form, 't.pth')
    if form == 'safetensors':
        save_file(state, path)
    elif form == 'ncnn':
        write_ncnn(build_from_file(kd_opt['teacher']['path']), path)
    elif form == 'params only':
        torch.save({'params': state}, path)
    elif form == 'module':
        torch.save({'params_ema': {f'module.{name}': tensor for name, tensor in state.items()}}, path)
    else:
        torch.save({_esrgan_name(name, older=form == 'older ESRGAN'): tensor for name, tensor in state.items()}, path)
    kd_opt['teacher'] = {'path': str(path)}
    assert same(weights(start(kd_opt).net_teacher), state)


def _esrgan_name(name: str, older: bool) -> str:
    """BasicSR's RRDBNet key as ESRGAN's first repository (2018, `model.…`) or its second (2019) named it."""
    *module, kind = name.split('.')
    if module[0] == 'body':
        block, dense, conv = module[1], module[2][-1], module[3]
        return f'model.1.sub.{block}.RDB{dense}.{conv}.0.{kind}' if older else \
            f'RRDB_trunk.{block}.RDB{dense}.{conv}.{kind}'
    names = {'conv_first': ('model.0', 'conv_first'), 'conv_body': ('model.1.sub.2', 'trunk_conv'),
             'conv_up1': ('model.3', 'upconv1'), 'conv_up2': ('model.6', 'upconv2'), 'conv_hr': ('model.8', 'HRconv'),
             'conv_last': ('model.10', 'conv_last')}
    return f'{names[module[0]][0 if older else 1]}.{kind}'


def test_the_saved_student_opens_in_a_plain_rrdbnet(kd_opt, tmp_path):
    model = start(kd_opt)
    train(model, 1, 1)
    model.save(0, -1)
    saved = torch.load(tmp_path / 'run' / 'models' / 'net_g_latest.pth', weights_only=True)
    assert set(saved) == {'params', 'params_ema'}
    plain = RRDBNet(3, 3, num_feat=4, num_block=2, num_grow_ch=4)
    plain.load_state_dict(saved['params_ema'])
    lq = batch(1)['lq']
    torch.testing.assert_close(plain(lq), model.net_g_ema(lq), rtol=1e-4, atol=1e-5)


def test_in_test_no_teacher_is_needed_and_the_file_says_what_it_is(kd_opt, tmp_path):
    model = start(kd_opt)
    model.save(0, -1)
    kd_opt.update(is_train=False)
    kd_opt['teacher'] = {'path': 'gone.pth'}
    kd_opt['network_g'] = {'type': 'SlimRRDBNet', 'num_feat': 16}  # not what the file holds
    saved = tmp_path / 'run' / 'models' / 'net_g_latest.pth'
    kd_opt['path'].update(pretrain_network_g=str(saved), param_key_g='params_ema')
    tested = start(kd_opt)
    assert same(weights(tested.net_g), weights(model.net_g_ema))


@pytest.mark.parametrize(('asked', 'which', 'value'), [(None, 'params_ema', 2), ('params', 'params', 1)])
def test_a_test_takes_the_average_unless_it_is_told_otherwise(kd_opt, teacher_file, tmp_path, log, asked, which, value):
    """BasicSR's takes `params`, while its validation scores the average."""
    state = torch.load(teacher_file, weights_only=True)['params']
    torch.save({key: {name: torch.full_like(tensor, filled) for name, tensor in state.items()}
                for key, filled in (('params', 1), ('params_ema', 2))}, tmp_path / 'net.pth')
    kd_opt.update(is_train=False)
    kd_opt['path']['pretrain_network_g'] = str(tmp_path / 'net.pth')
    if asked:
        kd_opt['path']['param_key_g'] = asked
    for key in ('train', 'teacher', 'logger', 'network_d'):
        del kd_opt[key]
    kd_opt['datasets'] = {'test_1': {**kd_opt['datasets']['val'], 'phase': 'test'}}
    model = start(kd_opt)
    assert all((parameter == value).all() for parameter in model.net_g.parameters())
    assert any(line.endswith(f'net.pth, {which}.') for line in log)
