"""TecoGANModel with pruning and distillation: blocks and widths go, features of all frames are compared, resume."""
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.archs import build_network
from helpers.models import same, start, start_and_save, train_on_and_resume, weights
from helpers.video import FRAMES, FRNET, clip_batch, train

from basicsr_kd.archs.frnet_arch import FRNet
from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.data.tecogan_degradation import gaussian_downsample
from basicsr_kd.distillation.taps import FeatureTaps
from basicsr_kd.errors import OptionsError

BLOCKS = {'target': 'srnet', 'layout': 'blocks', 'keep': 2, 'select': 'last'}
WIDTH = {'target': 'fnet', 'layout': 'width', 'ratio': 0.5, 'importance': 'l2'}


@pytest.fixture(scope='module')
def trained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny FRNet as a public checkpoint has it: the bare state dict."""
    torch.manual_seed(1)
    path = tmp_path_factory.mktemp('trained') / 'frnet.pth'
    torch.save(build_network(FRNET).state_dict(), path)
    return path


@pytest.fixture
def prune_opt(frvsr_opt: dict[str, Any], trained: Path) -> dict[str, Any]:
    frvsr_opt['prune'] = dict(BLOCKS)
    frvsr_opt['path']['pretrain_network_g'] = str(trained)
    return frvsr_opt


@pytest.fixture
def distil_opt(prune_opt: dict[str, Any], trained: Path) -> dict[str, Any]:
    """A student that is the pruned network, and learns from the whole one."""
    prune_opt['teacher'] = {'path': str(trained)}
    prune_opt['train']['distill_opt'] = {
        'type': 'FeatureDistillLoss', 'layers': ['srnet.resblocks.*', 'fnet.flow'], 'depth_match': 'even',
        'loss_weight': 0.1}
    return prune_opt


def test_the_last_blocks_go_as_if_they_gave_nothing(prune_opt, trained):
    model = start(prune_opt)
    assert isinstance(model.net_g, FRNet) and len(model.net_g.srnet.resblocks) == 2
    whole = build_from_file(str(trained))
    for parameter in whole.srnet.resblocks[2].conv[2].parameters():
        parameter.data.zero_()  # the block adds nothing to what it gets
    lq = gaussian_downsample(clip_batch(1)['gt'])
    torch.testing.assert_close(model.net_g(lq), whole(lq), rtol=0, atol=1e-6)
    train(model, 1, 2)


def test_the_block_that_does_least_goes_first(prune_opt, clips, tmp_path):
    net = build_network(FRNET)
    for parameter in net.srnet.resblocks[0].conv[2].parameters():
        parameter.data.zero_()
    torch.save({'params': net.state_dict()}, tmp_path / 'idle.pth')
    prune_opt['path']['pretrain_network_g'] = str(tmp_path / 'idle.pth')
    prune_opt['prune'].update(select='least', calibration={'dataroot': str(clips / 'walk'), 'num': 2, 'size': 32})
    blocks = start(prune_opt).net_g.srnet.resblocks
    assert same(weights(blocks), weights(torch.nn.Sequential(*list(net.srnet.resblocks)[1:])))


def test_blocks_and_the_flows_widths_go_in_two_steps(prune_opt, trained, tmp_path):
    prune_opt['prune'] = [dict(BLOCKS), dict(WIDTH)]
    model = start(prune_opt)
    before, after = (sum(p.numel() for p in net.fnet.parameters()) for net in (build_from_file(str(trained)),
                                                                              model.net_g))
    assert after == pytest.approx(0.5 * before, rel=0.1) and len(model.net_g.srnet.resblocks) == 2
    train(model, 1, 1)
    model.save(0, -1)
    saved = tmp_path / 'run' / 'models' / 'net_g_latest.pth'
    again = build_from_file(str(saved))
    assert same(weights(again), weights(model.net_g_ema))
    prune_opt.update(is_train=False)
    prune_opt['path'].update(pretrain_network_g=str(saved), param_key_g='params_ema')
    assert same(weights(start(prune_opt).net_g), weights(model.net_g_ema))


def test_a_pruned_run_resumes_without_pruning_again(prune_opt, tmp_path):
    prune_opt['prune'] = [dict(BLOCKS), dict(WIDTH)]
    model = start(prune_opt)
    train(model, 1, 2)
    model.save(0, 2)
    train(model, 3, 4)
    (tmp_path / 'run' / 'models' / 'net_g_pruned.pth').unlink()
    again = start({**prune_opt, 'auto_resume': True})
    train(again, 3, 4)
    for net in ('net_g', 'net_g_ema'):
        assert same(weights(getattr(again, net)), weights(getattr(model, net))), net


def test_blocks_go_in_stages(prune_opt):
    prune_opt['prune'] = {**BLOCKS, 'keep': 1, 'steps': 2, 'every': 2}
    model = start(prune_opt)
    assert len(model.net_g.srnet.resblocks) == 2
    train(model, 1, 2)
    model.save(0, 2)
    train(model, 3, 4)
    assert len(model.net_g.srnet.resblocks) == len(model.net_g_ema.srnet.resblocks) == 1
    again = start({**prune_opt, 'auto_resume': True})
    assert len(again.net_g.srnet.resblocks) == 2
    train(again, 3, 4)
    assert same(weights(again.net_g), weights(model.net_g))


def test_the_features_of_all_frames_are_compared(distil_opt):
    """The distillation loss is recomputed by running the networks once more, with hooks of its own."""
    model = start(distil_opt)
    student, teacher = copy.deepcopy(model.net_g), copy.deepcopy(model.net_teacher)
    adapters = copy.deepcopy(model.distiller.adapters)
    train(model, 1, 1)
    lq = gaussian_downsample(clip_batch(1)['gt'])
    runs = []
    for net in (student, teacher):
        runs.append({})
        for name, module in net.named_modules():
            module._forward_hooks.clear()  # copied taps
            module.register_forward_hook(
                lambda module, args, output, name=name, run=runs[-1]: run.setdefault(name, []).append(output))
        net(lq)
    expected = 0.0
    for own, theirs in (('srnet.resblocks.0', 'srnet.resblocks.1'), ('srnet.resblocks.1', 'srnet.resblocks.2')):
        assert len(runs[0][own]) == FRAMES
        pairs = zip(runs[0][own], runs[1][theirs], strict=True)
        expected += sum((adapters.of(f'0.{own}')(s) - t).square().mean() for s, t in pairs).item() / FRAMES
    (flow,), (wanted,) = runs[0]['fnet.flow'], runs[1]['fnet.flow']
    expected += (adapters.of('0.fnet.flow')(flow) - wanted).square().mean().item()
    assert model.get_current_log()['l_g_distill_FeatureDistillLoss'] == pytest.approx(0.1 * expected, rel=1e-3)


def test_outputs_are_compared_frame_by_frame(distil_opt):
    distil_opt['train']['distill_opt'] = {'type': 'ResponseDistillLoss', 'loss_weight': 2.0}
    distil_opt['teacher']['amp'] = 'fp32'
    model = start(distil_opt)
    student = copy.deepcopy(model.net_g)
    train(model, 1, 1)
    lq = gaussian_downsample(clip_batch(1)['gt'])
    expected = 2 * (student(lq) - model.net_teacher(lq)).abs().mean()
    assert model.get_current_log()['l_g_distill'] == pytest.approx(expected.item(), rel=1e-4)


def test_taps_put_the_frames_of_a_clip_together():
    net = FRNet(nf=8, nb=1)
    taps = FeatureTaps(net, ['srnet.conv_out', ''])
    clip = torch.rand(2, 3, 3, 8, 8)
    with taps:
        output = net(clip)
    features = taps.take()
    assert features['srnet.conv_out'].shape == (6, 3, 32, 32)
    assert torch.equal(features[''], output.flatten(0, 1))
    with taps:
        net(clip, with_flow=True)
    assert torch.equal(taps.take()[''], output.flatten(0, 1))


def test_a_pruned_student_with_discriminator_resumes_with_its_adapters(distil_opt, teco_opt):
    opt = {**teco_opt, **{key: distil_opt[key] for key in ('prune', 'teacher', 'path')},
           'train': {**teco_opt['train'], 'distill_opt': distil_opt['train']['distill_opt']}}
    model = start_and_save(opt, 2, train)
    again = train_on_and_resume(model, opt, 3, 4, train)
    assert same(weights(again.distiller.adapters), weights(model.distiller.adapters))
    for net in ('net_g', 'net_g_ema', 'net_d'):
        assert same(weights(getattr(again, net)), weights(getattr(model, net))), net


def test_the_flow_triplets_need_is_no_feature_of_the_student(distil_opt, teco_opt):
    """Without ping-pong FNet runs once more, for the discriminator only."""
    opt = {**teco_opt, **{key: distil_opt[key] for key in ('prune', 'teacher', 'path')},
           'train': {**teco_opt['train'], 'distill_opt': distil_opt['train']['distill_opt']}}
    opt['train'].pop('pingpong_opt')
    model = start(opt)
    train(model, 1, 1)
    assert model.get_current_log()['l_g_distill'] > 0


def test_a_student_of_other_shapes_starts_as_its_teacher(frvsr_opt, trained):
    frvsr_opt['network_g'] = {**FRNET, 'nb': 2}
    frvsr_opt['teacher'] = {'path': str(trained)}
    frvsr_opt['student'] = {'init': 'teacher', 'importance': 'l2'}
    state = read_state_dict(str(trained))
    model = start(frvsr_opt)
    assert torch.equal(model.net_g.fnet.flow[0].weight, state['fnet.flow.0.weight'])
    assert torch.equal(model.net_g.srnet.resblocks[1].conv[0].weight, state['srnet.resblocks.2.conv.0.weight'])
    train(model, 1, 1)


@pytest.mark.parametrize(('change', 'message'), [
    ({'prune': {**BLOCKS, 'keep': 4}}, r'prune: keep is 4, and there are 3 blocks\. Expected 1 to 3'),
    ({'prune': {**BLOCKS, 'target': 'sr_net'}}, "did you mean 'srnet'"),
    ({'prune': {**BLOCKS, 'select': 'least', 'calibration': {'dataroot': 'gone'}}},
     r'prune\.calibration\.dataroot: gone does not exist'),
    ({'network_g': {**FRNET, 'nb': 2}}, 'nb is 3 in the file, 2 in the network'),
])
def test_what_cannot_be_pruned_is_told_before_anything_starts(prune_opt, change, message):
    prune_opt.update(change)
    with pytest.raises(OptionsError, match=message):
        start(prune_opt)


def test_stages_and_distillation_exclude_each_other(distil_opt):
    distil_opt['prune'].update(steps=2, every=2)
    with pytest.raises(OptionsError, match=r'prune\.steps: a network that is pruned in stages cannot be distilled'):
        start(distil_opt)


def test_a_teacher_of_images_is_refused(distil_opt, teacher_file):
    distil_opt['teacher'] = {'path': str(teacher_file)}
    with pytest.raises(OptionsError, match='teacher: found RRDBNet, expected FRNet'):
        start(distil_opt)
