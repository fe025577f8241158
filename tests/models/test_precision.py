"""Number formats of training: fp16 with its scale, the teacher's and validation's own, and machines without them."""
from __future__ import annotations

import copy
from collections.abc import Iterator
from typing import Any

import pytest
import torch
from helpers.models import batch, start, start_and_save, train, weights
from helpers.validation import loader
from torch import Tensor, nn

from basicsr_kd.errors import OptionsError
from basicsr_kd.utils import modes


def settings() -> list[bool]:
    """What NVIDIA GPUs make of fp32, and whether cuDNN tries all convolutions for a new size."""
    return [torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark]


@pytest.fixture
def fast_settings() -> Iterator[None]:
    before = settings()
    _set([True, True, True])
    yield
    _set(before)


def _set(values: list[bool]) -> None:  # they are no plain attributes, which monkeypatch could put back
    torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.benchmark = values


def test_validation_is_in_full_fp32_as_evaluate_and_tunes_nothing(kd_opt, fast_settings):
    kd_opt['train']['ema_decay'] = 0
    model = start(kd_opt)
    seen: list[list[bool]] = []
    model.net_g.register_forward_hook(lambda *_: seen.append(settings()))
    model.validation(loader(kd_opt), 1, None, False)
    assert seen and all(one == [False, False, False] for one in seen)
    assert settings() == [True, True, True]


@pytest.fixture
def fp16(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU counts as one that computes in fp16; PyTorch can on any, if slowly."""
    monkeypatch.setattr('basicsr_kd.preflight.devices.cpu_has_fp16', lambda: True)


def formats_of(net: nn.Module, layer: str) -> list[torch.dtype]:
    """The formats of what a layer gives from now on."""
    seen: list[torch.dtype] = []
    net.get_submodule(layer).register_forward_hook(lambda module, args, output: seen.append(output.dtype))
    return seen


@pytest.mark.parametrize('section', ['train', 'teacher'])
def test_fp16_on_a_cpu_that_does_not_compute_in_it_is_told(kd_opt, monkeypatch, section):
    monkeypatch.setattr('basicsr_kd.preflight.devices.cpu_has_fp16', lambda: False)
    kd_opt[section]['amp'] = 'fp16'
    with pytest.raises(OptionsError, match=rf'^{section}\.amp: found fp16, .* use bf16 or fp32$'):
        start(kd_opt)


@pytest.mark.parametrize('section', ['train', 'teacher'])
def test_without_fast_bf16_it_is_fp32_and_one_line_says_so(kd_opt, monkeypatch, log, section):
    monkeypatch.setattr('basicsr_kd.models.training.acceleration.fast_formats', lambda device: ['fp32'])
    kd_opt['teacher']['amp'] = 'fp32'
    kd_opt[section]['amp'] = 'bf16'
    model = start(kd_opt)
    assert model.amp is model.teacher_amp is None
    assert [line for line in log if 'no fast bf16' in line] == [
        f'{section}.amp: PyTorch has no fast bf16 on this CPU (it wants AVX-512); it is fp32.']


@pytest.mark.parametrize('amp', ['fp32', 'bf16', 'fp16'])
def test_the_teacher_runs_in_its_own_format_and_without_gradient(kd_opt, fp16, monkeypatch, amp):
    monkeypatch.setattr('basicsr_kd.models.training.acceleration.fast_formats', lambda device: ['fp32', 'bf16'])
    kd_opt['teacher']['amp'] = amp
    kd_opt['train']['amp'] = 'bf16' if amp == 'fp32' else 'fp32'  # another one
    model = start(kd_opt)
    theirs, ours = formats_of(model.net_teacher, 'conv_body'), formats_of(model.net_g, 'conv_body')
    features: list[Tensor] = []
    model.net_teacher.conv_body.register_forward_hook(lambda module, args, output: features.append(output))
    train(model, 1, 1)
    half = {'fp32': torch.float32, 'bf16': torch.bfloat16, 'fp16': torch.float16}
    assert theirs == [half[amp]] and ours == [torch.bfloat16 if amp == 'fp32' else torch.float32]
    assert not features[0].requires_grad and model.get_current_log()['l_g_distill'] > 0


@pytest.mark.skipif(not modes.cpu_has_bf16(), reason='this CPU has no fast bf16')
@pytest.mark.parametrize('loss', ['FeatureDistillLoss', 'ResponseDistillLoss', 'AttentionTransferLoss'])
def test_a_teacher_in_bf16_pulls_the_student_the_same_way(kd_opt, loss):
    """Only distillation counts here; the direction of its gradient is within a hundredth."""
    kd_opt['train']['distill_opt'] = {'type': loss, 'loss_weight': 1.0}
    kd_opt['train']['pixel_opt']['loss_weight'] = 0.0
    kd_opt['train'].pop('gan_opt')
    gradients = []
    for amp in ('fp32', 'bf16'):
        torch.manual_seed(3)
        opt = copy.deepcopy(kd_opt)
        opt['teacher']['amp'] = amp
        model = start(opt)
        train(model, 1, 1)
        gradients.append(torch.cat([parameter.grad.flatten() for parameter in model.net_g.parameters()]))
    difference = (gradients[1] - gradients[0]).norm() / gradients[0].norm()
    assert 0 < difference < 0.01


def test_fp16_learns_what_fp32_learns(kd_opt, fp16):
    gradients = []
    for amp in ('fp32', 'fp16'):
        torch.manual_seed(3)
        opt = copy.deepcopy(kd_opt)
        opt['train'].update(amp=amp)
        model = start(opt)
        model.scaler = torch.amp.GradScaler('cpu', init_scale=1024.0, enabled=amp == 'fp16')
        train(model, 1, 1)
        gradients.append([[parameter.grad for parameter in net.parameters()]
                          for net in (model.net_g, model.net_d, model.distiller.adapters)])
    for expected, found in zip(*gradients, strict=True):  # unscaled by the step
        expected, found = (torch.cat([gradient.flatten() for gradient in one]) for one in (expected, found))
        assert (found - expected).norm() < 0.2 * expected.norm()  # two images are few for BatchNorm


def test_a_step_that_fp16_cannot_hold_is_left_out_and_the_scale_comes_down(kd_opt, fp16):
    kd_opt['train']['amp'] = 'fp16'
    model = start(kd_opt)
    train(model, 1, 1)
    nets = {'student': model.net_g, 'discriminator': model.net_d, 'adapters': model.distiller.adapters}
    before = {name: [weight.detach().clone() for weight in net.parameters()] for name, net in nets.items()}
    model.scaler.load_state_dict({**model.scaler.state_dict(), 'scale': 2.0**60})  # gradients become infinite
    train(model, 2, 2)
    assert all(torch.equal(old, new) for name, net in nets.items()
               for old, new in zip(before[name], net.parameters(), strict=True))
    assert model.scaler.get_scale() == 2.0**59


def test_the_scale_is_saved_and_resumed(kd_opt, fp16):
    kd_opt['train']['amp'] = 'fp16'
    model = start(kd_opt)
    model.scaler.load_state_dict({**model.scaler.state_dict(), 'scale': 512.0})
    train(model, 1, 2)
    model.save(0, 2)
    again = start({**kd_opt, 'auto_resume': True})
    assert again.scaler.state_dict() == model.scaler.state_dict() and again.scaler.get_scale() == 512.0
    kd_opt['train']['amp'] = 'fp32'
    assert not start({**kd_opt, 'auto_resume': True}).scaler.is_enabled()


def test_an_iteration_without_any_step_leaves_the_scale_alone(kd_opt, fp16):
    kd_opt['train'].update(amp='fp16', adaptive_d=1000.0, net_d_iters=2)
    model = start(kd_opt)
    train(model, 1, 1)
    assert model.get_current_log()['d_paused'] == 1.0 and model.scaler.state_dict()['_growth_tracker'] == 0


@pytest.mark.parametrize('prune', [{'ratio': 0.5, 'layout': 'unstructured'}, {'ratio': 0.5, 'round_to': 1}])
def test_pruning_in_stages_goes_with_the_scale(prune_opt, fp16, prune):
    prune_opt['prune'] = {**prune, 'steps': 2, 'every': 2}
    prune_opt['train']['amp'] = 'fp16'
    model = start(prune_opt)
    train(model, 1, 4)
    assert model.optimizer_g.state[next(model.net_g.parameters())]['step'] == 4
    if model.zeros:
        state = weights(model.net_g)
        zero = sum((tensor == 0).sum().item() for name, tensor in state.items() if tensor.dim() > 1)
        assert zero > 0.4 * sum(tensor.numel() for tensor in state.values())


@pytest.mark.parametrize(('amp', 'expected'), [('fp32', torch.float32), ('same', torch.bfloat16)])
def test_validation_has_a_format_of_its_own(kd_opt, monkeypatch, amp, expected):
    monkeypatch.setattr('basicsr_kd.models.training.acceleration.fast_formats', lambda device: ['fp32', 'bf16'])
    kd_opt['train']['amp'] = 'bf16'
    kd_opt['val']['amp'] = amp
    model = start(kd_opt)
    seen = formats_of(model.net_g_ema, 'conv_body')
    model.validation(loader(kd_opt), 1, None, False)
    assert set(seen) == {expected} and model.metric_results['psnr'] > 0


def test_where_nothing_trains_the_format_of_validation_is_fp32(kd_opt, tmp_path):
    start_and_save(kd_opt, 1)
    opt: dict[str, Any] = {**kd_opt, 'is_train': False}
    opt['path']['pretrain_network_g'] = str(tmp_path / 'run' / 'models' / 'net_g_1.pth')
    opt['val']['amp'] = 'same'
    model = start(opt)
    model.feed_data({'lq': batch(1)['lq']})
    model.test()
    assert model.output.dtype is torch.float32
