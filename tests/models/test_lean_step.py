"""The GAN step with two passes through the discriminator: BasicSR's gradients, fewer passes."""
from __future__ import annotations

import copy
from collections.abc import Iterable
from typing import Any

import pytest
import torch
from basicsr.models import build_model
from helpers.models import start, train
from helpers.video import clip_batch
from helpers.video import train as train_on_clips
from torch import Tensor, nn


@pytest.fixture
def plain_opt(kd_opt: dict[str, Any]) -> dict[str, Any]:
    """Options that BasicSR's models take too."""
    kd_opt.pop('teacher')
    kd_opt['train'].pop('distill_opt')
    kd_opt['train']['channels_last'] = False
    return kd_opt


def without_batch_norm(net: nn.Module) -> None:
    for name, module in list(net.named_children()):
        if isinstance(module, nn.BatchNorm2d):
            setattr(net, name, nn.Identity())


def same_gradients(found: Iterable[nn.Parameter], expected: Iterable[nn.Parameter]) -> None:
    """To 1e-5 of the largest."""
    pairs = [(left.grad, right.grad) for left, right in zip(found, expected, strict=True) if right.grad is not None]
    assert pairs and all(left is not None for left, _ in pairs)
    largest = max(right.abs().max().item() for _, right in pairs)
    assert max((left - right).abs().max().item() for left, right in pairs) <= 1e-5 * largest


def passes(net: nn.Module) -> list[Tensor]:
    """What a network is given from now on."""
    seen: list[Tensor] = []
    net.register_forward_hook(lambda module, args, output: seen.append(args[0]))
    return seen


def by_a_pass_of_its_own(model: Any) -> nn.Module:
    """The generator with the gradient of all its terms together, by plain autograd."""
    model.feed_data(clip_batch(1))
    model.optimizer_g.zero_grad()
    model.output = model.run_generator(1, True)
    model._prepare_triplets()
    loss = model.cri_gan(model.discriminate(model.output), True, is_disc=False)
    (loss + torch.stack(list(model.generator_losses().values())).sum()).backward()
    return model.net_g


@pytest.mark.parametrize('batch_norm', [True, False])
@pytest.mark.parametrize('model_type', ['SRGANModel', 'ESRGANModel'])
def test_the_gradients_are_basicsrs(plain_opt, model_type, batch_norm):
    plain_opt['train']['relativistic'] = model_type == 'ESRGANModel'
    plain_opt['train']['gan_opt']['loss_weight'] = 1.0  # so that the adversarial part of the gradient is large
    torch.manual_seed(3)
    ours = start(plain_opt)
    torch.manual_seed(3)
    theirs = build_model({**copy.deepcopy(plain_opt), 'model_type': model_type})
    for model in (ours, theirs):
        if not batch_norm:
            without_batch_norm(model.net_d)
    seen, theirs_seen = passes(ours.net_d), passes(theirs.net_d)
    for model in (ours, theirs):
        train(model, 1, 1)
    same_gradients(ours.net_g.parameters(), theirs.net_g.parameters())
    same_gradients(ours.net_d.parameters(), theirs.net_d.parameters())
    assert len(seen) == 2 and len(theirs_seen) == (5 if model_type == 'ESRGANModel' else 3)
    log = theirs.get_current_log()
    assert ours.get_current_log() == {name: pytest.approx(value, rel=1e-4) for name, value in log.items()}


def test_no_weight_of_the_discriminator_gets_the_generators_gradient(plain_opt):
    """A paused discriminator has none at all, and keeps none that a later step would take in."""
    plain_opt['train']['adaptive_d'] = 1000.0
    model = start(plain_opt)
    before = [p.clone() for p in model.net_g.parameters()]
    seen = passes(model.net_d)
    train(model, 1, 1)
    assert all(parameter.grad is None and parameter.requires_grad for parameter in model.net_d.parameters())
    assert not any(torch.equal(old, new) for old, new in zip(before, model.net_g.parameters(), strict=True))
    assert len(seen) == 2 and model.get_current_log()['l_g_gan'] > 0


def test_the_discriminator_alone_makes_no_gradient_at_the_image(plain_opt):
    plain_opt['train'].update(net_d_init_iters=1)
    model = start(plain_opt)
    seen = passes(model.net_d)
    train(model, 1, 1)
    assert len(seen) == 2 and not any(image.requires_grad for image in seen)
    assert 'l_g_gan' not in model.get_current_log()


@pytest.mark.parametrize(('pauses', 'expected'), [(True, 2), (False, 3)])
def test_for_clips_a_third_pass_is_run_only_after_a_step_of_the_discriminator(teco_opt, monkeypatch, pauses, expected):
    model = start(teco_opt)
    monkeypatch.setattr(model, 'discriminator_pauses', lambda *logits: pauses)
    plain = copy.deepcopy(model)
    seen = passes(model.net_d)
    train_on_clips(model, 1, 1)
    assert len(seen) == expected
    if pauses:  # the generator's gradient is that of a pass of its own through a discriminator that has not changed
        same_gradients(model.net_g.parameters(), by_a_pass_of_its_own(plain).parameters())
