"""TecoGANModel's training: both stages against plain re-computations, the discriminator's rule, resume."""
from __future__ import annotations

import copy
import random
from typing import Any

import pytest
import torch
import torch.nn.functional as F
from basicsr.data import build_dataset
from helpers.models import first_logs, same, start, start_and_save, train_on_and_resume, weights
from helpers.video import FRAMES, SIDE, clip_batch, train
from torch import Tensor, nn
from torch.utils.data import default_collate

from basicsr_kd.archs.warp import backward_warp
from basicsr_kd.data.tecogan_degradation import gaussian_downsample
from basicsr_kd.errors import BackboneError, TrainingError
from basicsr_kd.models.tecogan_triplets import mirrored, mirrored_flow, teco_triplets
from basicsr_kd.runs import signals


def charbonnier(found: Tensor, expected: Tensor) -> Tensor:
    return ((found - expected)**2 + 1e-6).sqrt().mean()


def degraded(seed: int) -> tuple[Tensor, Tensor]:
    """Low resolution and ground truth of a batch."""
    gt = clip_batch(seed)['gt']
    return gaussian_downsample(gt), gt[..., 4:-4, 4:-4]


def content_loss(net: Any, lq: Tensor, gt: Tensor) -> tuple[dict[str, Tensor], Tensor]:
    """A clip's forward pass; its pixel loss and its warp loss together."""
    found = net.forward_sequence(lq)
    warped = [backward_warp(lq[:, i], found['lr_flow'][:, i]) for i in range(lq.shape[1] - 1)]
    return found, charbonnier(found['hr'], gt) + charbonnier(torch.stack(warped, 1), lq[:, 1:])


def same_gradients(found: nn.Module, expected: nn.Module) -> None:
    for (name, left), right in zip(found.named_parameters(), expected.parameters(), strict=True):
        scale = right.grad.abs().max().item()
        assert (left.grad - right.grad).abs().max().item() <= 1e-3 * scale + 1e-9, name


def triplets_of(net: Any, clip: Tensor, lq: Tensor, flow: Tensor) -> Tensor:
    """The discriminator's input for a mirrored clip."""
    upsampled = torch.stack([net.upsample_func(lq[:, i]) for i in range(lq.shape[1])], 1)
    return teco_triplets(clip, upsampled, mirrored_flow(flow))


def test_frvsrs_loss_is_that_of_pixels_and_of_warped_frames(frvsr_opt):
    model = start(frvsr_opt)
    plain = copy.deepcopy(model.net_g)
    train(model, 1, 1)
    _, loss = content_loss(plain, *degraded(1))
    loss.backward()
    same_gradients(model.net_g, plain)
    assert set(model.get_current_log()) == {'l_g_pix', 'l_g_warp'}
    assert sum(model.get_current_log().values()) == pytest.approx(loss.item(), rel=1e-4)


def test_tecogan_steps_the_discriminator_and_then_the_generator_against_it(teco_opt):
    teco_opt['train']['adaptive_d'] = 1000.0
    model = start(teco_opt)
    net_g, net_d = copy.deepcopy(model.net_g), copy.deepcopy(model.net_d)
    optimizer_d = torch.optim.Adam(net_d.parameters(), lr=1e-3)
    train(model, 1, 1)

    lq, gt = (mirrored(clip) for clip in degraded(1))
    found, loss = content_loss(net_g, lq, gt)
    real = net_d(triplets_of(net_g, gt, lq, found['hr_flow']))
    fake = net_d(triplets_of(net_g, found['hr'].detach(), lq, found['hr_flow']))
    before = 0.01 * F.softplus(-fake).mean().item()
    loss_d = F.softplus(-real).mean() + F.softplus(fake).mean()
    loss_d.backward()
    same_gradients(model.net_d, net_d)
    optimizer_d.step()

    back_and_forth = charbonnier(found['hr'][:, :FRAMES - 1], found['hr'][:, FRAMES:].flip(1))
    fake = net_d(triplets_of(net_g, found['hr'], lq, found['hr_flow']))
    (loss + 0.5 * back_and_forth + 0.01 * F.softplus(-fake).mean()).backward()
    same_gradients(model.net_g, net_g)
    log = model.get_current_log()
    assert abs(log['l_g_gan'] - before) > 0.1 * before  # by the discriminator before its step
    assert log['l_g_pingpong'] == pytest.approx(0.5 * back_and_forth.item(), rel=1e-3)
    assert log['l_d_real'] + log['l_d_fake'] == pytest.approx(loss_d.item(), rel=1e-3)
    assert log['l_g_gan'] == pytest.approx(0.01 * F.softplus(-fake).mean().item(), rel=1e-3)
    assert log['d_paused'] == 0


@pytest.mark.parametrize(('real', 'fake', 'pauses'), [(1.0, 0.2, False), (1.0, -0.5, True), (-3.0, -3.2, False)])
def test_the_discriminator_learns_only_below_tecogans_threshold(teco_opt, real, fake, pauses):
    """log σ(1.0) = -0.313; log σ(0.2) = -0.598, log σ(-0.5) = -0.974."""
    model = start(teco_opt)
    logits = [torch.tensor([[value - 0.01], [value + 0.01]]) for value in (real, fake)]
    assert model.discriminator_pauses(*logits, torch.tensor(0.0)) is pauses
    model.opt['train']['adaptive_d'] = None
    assert model.discriminator_pauses(*logits, torch.tensor(0.0)) is False


def test_a_paused_discriminator_keeps_its_weights_and_the_generator_learns(teco_opt, monkeypatch):
    model = start(teco_opt)
    monkeypatch.setattr(model, 'discriminator_pauses', lambda *logits: True)
    before, generator = [p.clone() for p in model.net_d.parameters()], weights(model.net_g)
    train(model, 1, 1)
    assert all(torch.equal(old, new) for old, new in zip(before, model.net_d.parameters(), strict=True))
    assert not same(generator, weights(model.net_g)) and model.get_current_log()['d_paused'] == 1


def test_without_ping_pong_the_forward_flow_is_that_of_fnet(teco_opt):
    teco_opt['train'].pop('pingpong_opt')
    model = start(teco_opt)
    net = copy.deepcopy(model.net_g)
    train(model, 1, 1)
    lq, _ = degraded(1)
    with torch.no_grad():
        flows = [4 * net.upsample_func(net.fnet(lq[:, 1], lq[:, other])) for other in (0, 2)]
    assert model.flow.shape[:3] == (2, 1, 3) and not model.flow[:, :, 1].any()
    torch.testing.assert_close(model.flow[:, 0, 0], flows[0], rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(model.flow[:, 0, 2], flows[1], rtol=1e-3, atol=1e-4)
    assert 'l_g_pingpong' not in model.get_current_log()


def test_it_learns(teco_opt):
    random.seed(3)  # which crops are taken by
    model = start(teco_opt)
    data = default_collate([build_dataset(teco_opt['datasets']['train'])[index] for index in (0, 9)])
    losses = []
    for iteration in range(1, 21):
        model.feed_data(data)
        model.optimize_parameters(iteration)
        losses.append(model.get_current_log()['l_g_pix'])
    assert losses[-1] < 0.95 * losses[0]


def test_given_low_resolution_is_taken_as_it_is(frvsr_opt):
    model = start(frvsr_opt)
    lq, gt = torch.rand(1, FRAMES, 3, 8, 8), torch.rand(1, FRAMES, 3, SIDE, SIDE)
    model.feed_data({'lq': lq, 'gt': gt})
    assert torch.equal(model.lq, lq) and torch.equal(model.gt, gt)


def test_the_blur_is_that_of_the_options(frvsr_opt):
    frvsr_opt['degradation'] = {'sigma': 0.8}
    model = start(frvsr_opt)
    model.feed_data(clip_batch(1))
    assert model.lq.shape == (2, FRAMES, 3, 8, 8) and model.gt.shape == (2, FRAMES, 3, SIDE, SIDE)
    assert torch.equal(model.lq, gaussian_downsample(clip_batch(1)['gt'], sigma=0.8))


def test_the_average_follows_the_weights(teco_opt):
    model = start(teco_opt)
    before = weights(model.net_g_ema)
    train(model, 1, 1)
    for name, average in model.net_g_ema.named_parameters():
        expected = 0.9 * before[name] + 0.1 * dict(model.net_g.named_parameters())[name]
        torch.testing.assert_close(average, expected)


@pytest.mark.parametrize('stage', ['frvsr', 'tecogan'])
def test_a_resumed_run_goes_on_as_if_it_had_not_stopped(request, stage):
    opt = request.getfixturevalue('teco_opt' if stage == 'tecogan' else 'frvsr_opt')
    model = start_and_save(opt, 2, train)
    again = train_on_and_resume(model, opt, 3, 4, train)
    for net in ('net_g', 'net_g_ema', *(['net_d'] if stage == 'tecogan' else [])):
        assert same(weights(getattr(again, net)), weights(getattr(model, net))), net


def test_tecogan_starts_from_frvsr(frvsr_opt, teco_opt, tmp_path):
    model = start(frvsr_opt)
    train(model, 1, 1)
    model.save(0, -1)
    teco_opt['path'].update(pretrain_network_g=str(tmp_path / 'run' / 'models' / 'net_g_latest.pth'),
                            param_key_g='params_ema', experiments_root=str(tmp_path / 'second'))
    second = start(teco_opt)
    assert same(weights(second.net_g), weights(model.net_g_ema)) and second.net_d_init_iters == 0


@pytest.mark.parametrize('switch', [{'channels_last': True}, {'amp': 'bf16', 'channels_last': True}])
def test_memory_format_and_bf16_leave_the_losses_about_the_same(teco_opt, switch, monkeypatch):
    monkeypatch.setattr('basicsr_kd.models.training.acceleration.fast_formats', lambda device: ['fp32', 'bf16'])
    logs = first_logs(teco_opt, {'channels_last': False}, switch, steps=train)
    for name, value in logs[0].items():
        assert logs[1][name] == pytest.approx(value, rel=5e-2, abs=5e-2 if 'amp' in switch else 1e-4), name


def test_the_perceptual_loss_sees_every_frame(teco_opt, monkeypatch):
    seen = []

    class Seen(nn.Module):

        def forward(self, output: Tensor, gt: Tensor) -> tuple[Tensor, None]:
            seen.append((output.shape, gt.shape))
            return (output - gt).square().mean(), None

    monkeypatch.setattr('basicsr_kd.models.tecogan_model.build_loss', lambda section: Seen() if
                        section['type'] == 'CosinePerceptualLoss' else nn.L1Loss())
    teco_opt['train']['perceptual_opt'] = {'type': 'CosinePerceptualLoss', 'loss_weight': 0.2}
    model = start(teco_opt)
    train(model, 1, 1)
    frames = 2 * (2 * FRAMES - 1)
    assert seen == [((frames, 3, SIDE, SIDE), (frames, 3, SIDE, SIDE))]
    assert model.get_current_log()['l_g_percep'] == pytest.approx((model.output - model.gt).square().mean().item())


def test_without_vggs_weights_the_perceptual_loss_is_left_out_with_one_warning(teco_opt, monkeypatch, log):

    def missing(*args, **kwargs):
        raise BackboneError('the weights of VGG19 are not on this machine')

    monkeypatch.setattr('basicsr_kd.losses.CosinePerceptualLoss.__init__', missing)
    teco_opt['train']['perceptual_opt'] = {'type': 'CosinePerceptualLoss'}
    model = start(teco_opt)
    train(model, 1, 1)
    assert 'l_g_percep' not in model.get_current_log()
    told = [line for line in log if 'VGG19' in line]
    assert told == ['train.perceptual_opt: left out, since the weights of VGG19 are not on this machine']


def test_motion_that_is_not_finite_ends_the_run_before_its_backward_pass(frvsr_opt):
    model = start(frvsr_opt)
    train(model, 1, 1)
    next(model.net_g.fnet.parameters()).data.fill_(torch.nan)
    with pytest.raises(TrainingError, match=r'motion between frames is not finite at iteration 2; training stops'):
        train(model, 2, 2)


def test_a_broken_frame_too_many_ends_the_run(frvsr_opt, monkeypatch):
    monkeypatch.setattr(signals, '_asked', None)
    frvsr_opt['datasets']['train']['max_bad_images'] = 1
    model = start(frvsr_opt)
    for iteration, broken in enumerate((['a.png', ''], ['', 'a.png']), start=1):
        model.feed_data({**clip_batch(iteration), 'broken': broken})
        model.optimize_parameters(iteration)
    model.feed_data({**clip_batch(3), 'broken': ['b.png', '']})
    with pytest.raises(TrainingError, match=r'b.png cannot be read, like 1 before it'):
        model.optimize_parameters(3)
