"""The layers that are distilled where an options file names none."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest
import torch
import torch.nn.functional as F
from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srresnet_arch import MSRResNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.archs.swinir_arch import SwinIR
from helpers.models import same, start, weights
from spandrel.architectures.ESRGAN.__arch.RRDB import RRDBNet as OldRRDBNet
from torch import Tensor, nn

from basicsr_kd.archs import PrunedRRDBNet, SlimRRDBNet
from basicsr_kd.archs.from_file import build_from_file, write_network_file
from basicsr_kd.distillation.distiller import Distiller, DistillTerm
from basicsr_kd.distillation.inheritance import inherit
from basicsr_kd.distillation.layers import default_pairs
from basicsr_kd.errors import LayerError
from basicsr_kd.losses import AttentionTransferLoss, DiscriminatorFeatureLoss, FeatureDistillLoss
from basicsr_kd.pruning import prune

IMAGE = torch.rand(2, 3, 16, 16)


def rrdb(feat: int = 8, blocks: int = 3, scale: int = 4) -> RRDBNet:
    return RRDBNet(3, 3, scale, feat, blocks, 4)


def compact(feat: int = 4, convs: int = 3, scale: int = 4) -> SRVGGNetCompact:
    return SRVGGNetCompact(3, 3, feat, convs, scale)


def names(*pairs: str) -> list[tuple[str, ...]]:
    return [tuple(pair.split()) for pair in pairs]


@pytest.mark.parametrize(('student', 'teacher', 'expected'), [
    (lambda: SlimRRDBNet(num_feat=4, num_block=2), rrdb,
     names('conv_first conv_first', 'body.0 body.1', 'body.1 body.2', 'conv_body conv_body')),
    (lambda: rrdb(blocks=3), lambda: rrdb(blocks=1),  # the deeper student learns at one block
     names('conv_first conv_first', 'body.2 body.0', 'conv_body conv_body')),
    (lambda: PrunedRRDBNet(num_feat=4, num_block=1, num_grow_ch=[0, 1, 2, 3] * 3), lambda: rrdb(blocks=1),
     names('conv_first conv_first', 'body.0 body.0', 'conv_body conv_body')),
    (lambda: compact(convs=2), lambda: compact(convs=4),
     names('body.1 body.1', 'body.3 body.5', 'body.5 body.9')),
    (lambda: compact(convs=2), lambda: rrdb(blocks=3),  # four stages behind conv_first: three blocks and conv_body
     names('body.1 conv_first', 'body.3 body.1', 'body.5 conv_body')),
    (lambda: rrdb(blocks=1), lambda: compact(convs=6),
     names('conv_first body.1', 'body.0 body.7', 'conv_body body.13')),
    (lambda: MSRResNet(3, 3, 4, 2, 4), lambda: rrdb(blocks=3),
     names('conv_first conv_first', 'body.0 body.1', 'body.1 conv_body')),
    (lambda: rrdb(blocks=2), lambda: EDSR(3, 3, 4, 2, 4),
     names('conv_first conv_first', 'body.0 body.0', 'body.1 body.1', 'conv_body conv_after_body')),
    (lambda: rrdb(blocks=2, scale=2), lambda: OldRRDBNet(num_filters=4, num_blocks=2, scale=2),
     names('conv_first model.0', 'body.0 model.1.sub.0', 'body.1 model.1.sub.1', 'conv_body model.1.sub.2')),
])
def test_stages_are_paired_at_the_same_share_of_depth(student, teacher, expected):
    assert default_pairs(student(), teacher()) == expected


def test_real_esrgan_of_23_blocks_and_the_compact_network_of_32_convolutions():
    with torch.device('meta'):
        big, small, free = (RRDBNet(3, 3, 4, 64, 23), SlimRRDBNet(num_feat=16, num_block=6),
                            SRVGGNetCompact(3, 3, 64, 32, 4))
    assert [teacher for _, teacher in default_pairs(small, big)] == [
        'conv_first', 'body.3', 'body.7', 'body.11', 'body.14', 'body.18', 'body.22', 'conv_body']
    pairs = default_pairs(free, big)
    assert len(pairs) == len({student for student, _ in pairs}) == 25
    assert [pairs[0], pairs[-1]] == [('body.1', 'conv_first'), ('body.65', 'conv_body')]


@pytest.mark.parametrize('known', [True, False])
def test_a_network_of_no_known_family_asks_for_layers(known):
    swin = SwinIR(img_size=16, window_size=8, depths=[2], num_heads=[2], embed_dim=8, mlp_ratio=2, upscale=4)
    networks = (rrdb(), swin) if known else (swin, rrdb())
    side = 'teacher' if known else 'student'
    with pytest.raises(LayerError, match=f'the {side} is SwinIR: name its layers, layers: .* conv_first, patch_embed'):
        default_pairs(*networks)


def test_a_loss_whose_layers_are_dear_compares_the_last_pair():
    distiller = Distiller(rrdb(4), rrdb(), [DistillTerm(DiscriminatorFeatureLoss())], IMAGE)
    assert distiller.pairs == [[('conv_body', 'conv_body')]]


def features(net: nn.Module, path: str) -> Tensor:
    found: list[Tensor] = []
    handle = net.get_submodule(path).register_forward_hook(lambda module, args, output: found.append(output.clone()))
    net(IMAGE)
    handle.remove()
    return found[0]


@pytest.mark.parametrize('fit', [False, True])
@pytest.mark.parametrize('swapped', [False, True])
def test_the_larger_of_two_maps_is_averaged(swapped, fit):
    """A network of scale 2 that starts with a pixel unshuffle, and one that does not, each as the teacher."""
    student, teacher = (rrdb(scale=2), compact(scale=2)) if swapped else (compact(scale=2), rrdb(scale=2))
    path, other = 'conv_body' if swapped else 'body.7', 'body.7' if swapped else 'conv_body'
    terms = [DistillTerm(FeatureDistillLoss(), {path: other}, fit_adapters=fit),
             DistillTerm(AttentionTransferLoss(), {path: other})]
    distiller = Distiller(student, teacher, terms, IMAGE)
    with torch.no_grad(), distiller.teacher:
        teacher(IMAGE)
    with distiller.student:
        student(IMAGE)
    adapted, attention = distiller.loss_terms()
    own, theirs = (F.adaptive_avg_pool2d(features(net, name), (8, 8)) for net, name in ((student, path),
                                                                                      (teacher, other)))
    torch.testing.assert_close(adapted, F.mse_loss(distiller.adapters.of(f'0.{path}')(own), theirs))
    torch.testing.assert_close(attention, AttentionTransferLoss()([own], [theirs]))
    (adapted + attention).backward()
    assert any(parameter.grad is not None for parameter in student.parameters())


FAMILIES = {
    'RRDBNet': {'type': 'SlimRRDBNet', 'num_feat': 4, 'num_block': 1, 'num_grow_ch': 4},
    'SRVGGNetCompact': {'type': 'SRVGGNetCompact', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_conv': 2},
}


@pytest.mark.parametrize(('scale', 'teacher', 'student'), [
    (4, rrdb, 'SRVGGNetCompact'), (4, compact, 'RRDBNet'), (2, lambda: rrdb(scale=2), 'RRDBNet'),
    (2, lambda: rrdb(scale=2), 'SRVGGNetCompact'), (2, lambda: OldRRDBNet(num_filters=32, num_blocks=1, scale=2),
                                                    'SRVGGNetCompact'),
])
def test_a_student_learns_across_families_with_no_layers_named(kd_opt, tmp_path, log, scale, teacher, student):
    torch.save({'params_ema': teacher().state_dict()}, tmp_path / 'net.pth')
    kd_opt.update(scale=scale, teacher={'path': str(tmp_path / 'net.pth')}, network_g=dict(FAMILIES[student]))
    kd_opt['network_g']['scale' if student == 'RRDBNet' else 'upscale'] = scale
    kd_opt['datasets'].pop('val')
    kd_opt['datasets']['train'].update(scale=scale, gt_size=32, dataroot_lq=str(tmp_path / 'LR'))
    (tmp_path / 'LR').mkdir()
    for path in Path(kd_opt['datasets']['train']['dataroot_gt']).iterdir():
        low = cv2.resize(cv2.imread(str(path)), None, fx=1 / scale, fy=1 / scale)
        cv2.imwrite(str(tmp_path / 'LR' / path.name), low)
    kd_opt['train'].update(pixel_opt={**kd_opt['train']['pixel_opt'], 'loss_weight': 0.0},
                           distill_opt=[{'type': 'FeatureDistillLoss'}, {'type': 'FeatureAffinityLoss'}])
    for key in ('gan_opt', 'optim_d'):
        kd_opt['train'].pop(key)
    model = start(kd_opt)
    before = [weights(net) for net in (model.net_g, model.distiller.adapters)]
    model.feed_data({'lq': torch.rand(2, 3, 32 // scale, 32 // scale), 'gt': torch.rand(2, 3, 32, 32)})
    model.optimize_parameters(1)
    assert not any(same(old, weights(net)) for old, net in zip(before, (model.net_g, model.distiller.adapters),
                                                               strict=True))
    ends = {'RRDBNet': ('conv_first', 'conv_body'), 'SRVGGNetCompact': ('body.1', 'body.5')}[student]
    (line,) = [line for line in log if line.startswith('Loss [FeatureDistillLoss] is created.')]
    assert f' 3 layers: {ends[0]} with ' in line and f' … {ends[1]} with ' in line, line


def test_a_pruned_compact_network_teaches_and_learns(kd_opt, tmp_path):
    """Its PReLUs have widths of their own."""
    for name, convs, ratio in (('teacher', 4, 0.3), ('student', 2, 0.5)):
        state = prune(compact(16, convs), ratio=ratio, round_to=1).network.state_dict()
        write_network_file(tmp_path / f'{name}.pth', state)
    base: dict[str, Any] = {**FAMILIES['SRVGGNetCompact'], 'num_feat': 16, 'upscale': 4}
    like = str(tmp_path / 'student.pth')
    kd_opt.update(teacher={'path': str(tmp_path / 'teacher.pth'), 'prune': {'ratio': 0.2, 'round_to': 1,
                                                                            'importance': 'l2'}},
                  network_g={'type': 'PrunedNet', 'base': base, 'like': like})
    kd_opt['path']['pretrain_network_g'] = like
    model = start(kd_opt)
    widths = [module.weight.numel() for module in model.net_teacher.modules() if isinstance(module, nn.PReLU)]
    assert len(set(widths)) > 1 and model.distiller.pairs == [[('body.1', 'body.1'), ('body.3', 'body.5'),
                                                               ('body.5', 'body.9')]]
    before = weights(model.net_g)
    model.feed_data({'lq': torch.rand(2, 3, 32, 32), 'gt': torch.rand(2, 3, 128, 128)})
    model.optimize_parameters(1)
    assert not same(before, weights(model.net_g))


def test_a_compact_student_of_half_the_depth_inherits_from_the_real_one(data_root):
    """That of kd_realesrgan_compact.yml, from two crops; before any training its picture is nearer than a new one's."""
    teacher = build_from_file(str(data_root / 'weights' / 'realesr-general-x4v3.pth'))
    photos = [torch.tensor(cv2.imread(str(data_root / 'Set5' / 'LR' / f'img_00{index}.png'))[:48, :48, ::-1] / 255)
              for index in (1, 2, 3)]
    *calibration, held_out = torch.stack(photos).permute(0, 3, 1, 2).float().split(1)
    new, student = compact(64, 16), compact(64, 16)
    inherit(student, teacher, calibration=torch.cat(calibration), reconstruct=True)
    with torch.no_grad():
        wanted, *found = (net(held_out).clamp(0, 1) for net in (teacher, new, student))
    assert F.mse_loss(found[1], wanted) < 0.5 * F.mse_loss(found[0], wanted)
