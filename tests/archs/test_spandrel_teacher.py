"""Teachers of other families than the student: opened by spandrel from their file alone, or by BasicSR."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import spandrel
import torch
from basicsr.archs import build_network
from helpers.models import same, start, train, weights
from helpers.realesrgan import photo_options, write_photos
from safetensors.torch import save_file
from spandrel.architectures.DnCNN import DnCNN
from spandrel.architectures.IPT import IPT
from spandrel.architectures.OmniSR import OmniSR
from spandrel.architectures.PLKSR import PLKSR
from spandrel.architectures.RCAN import RCAN
from spandrel.architectures.SAFMN import SAFMN
from torch import nn

from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.archs.spandrel_net import as_module, open_with_spandrel
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.errors import CheckpointError, OptionsError

COMPACT = {'type': 'SRVGGNetCompact', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_conv': 2, 'upscale': 4}
MSRRESNET = {'type': 'MSRResNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 1, 'upscale': 4}
RRDBNET = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 2, 'num_grow_ch': 4}


def plksr(upscaling_factor: int = 4) -> nn.Module:
    return PLKSR(dim=8, n_blocks=2, upscaling_factor=upscaling_factor)


def rcan(scale: int = 4, n_colors: int = 3) -> nn.Module:
    return RCAN(scale=scale, n_resgroups=1, n_resblocks=1, n_feats=8, reduction=4, n_colors=n_colors)


def saved(net: nn.Module, path: Path) -> str:
    torch.save({'params': net.state_dict()}, path)
    return str(path)


def assert_it_learns(model: Any) -> None:
    """Two iterations, after which student and adapters have moved by finite losses, and the teacher has not."""
    nets = {'student': model.net_g, 'adapters': model.distiller.adapters, 'teacher': model.net_teacher}
    before = {name: weights(net) for name, net in nets.items()}
    train(model, 1, 2)
    assert {name for name, net in nets.items() if not same(before[name], weights(net))} == {'student', 'adapters'}
    assert all(p.grad is None and not p.requires_grad for p in model.net_teacher.parameters())
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.distiller.adapters.parameters())
    log = model.get_current_log()
    assert log['l_g_distill'] > 0 and all(torch.tensor(value).isfinite() for value in log.values()), log


@pytest.mark.parametrize('form', ['pth', 'safetensors'])
def test_a_network_that_only_spandrel_knows_teaches_from_its_file_alone(kd_opt, tmp_path, form):
    net = plksr()
    if form == 'pth':
        path = saved(net, tmp_path / 'plksr.pth')
    else:  # as such files are spread: half precision
        path = str(tmp_path / 'plksr.safetensors')
        save_file({name: tensor.half() for name, tensor in net.state_dict().items()}, path)
    kd_opt.update(teacher={'path': path}, network_g=COMPACT)
    kd_opt['train']['distill_opt'] = [
        {'type': 'FeatureDistillLoss', 'layers': {'body.0': 'feats.0', 'body.3': 'feats.1', 'body.5': 'feats.2'}},
        {'type': 'ResponseDistillLoss'}]
    model = start(kd_opt)
    assert type(model.net_teacher).__name__ == 'PLKSR'
    assert same(weights(model.net_teacher), read_state_dict(path))
    assert_it_learns(model)


@pytest.mark.parametrize(('make', 'path'), [
    (plksr, 'feats.1'),
    (rcan, 'body.0'),  # writes into its input
    (lambda: DnCNN(in_nc=4, out_nc=3, nc=8, nb=4, mode='FDnCNN'), 'model.model.0'),  # also takes a map of the noise
])
def test_it_gives_what_spandrel_gives_without_the_clamp(make, path):
    net = make()
    for parameter in net.parameters():
        parameter.data.mul_(2).add_(0.01)  # so that the output leaves [0, 1]
    opened = open_with_spandrel(net.state_dict())
    module, image = as_module(opened), torch.rand(1, 3, 12, 10)
    given = image.clone()
    with torch.no_grad():
        output = module(given)
    assert torch.equal(given, image)
    assert output.min() < 0 or output.max() > 1
    torch.testing.assert_close(output.clamp(0, 1), opened(image.clone()), rtol=0, atol=1e-6)
    assert not output.is_inference()  # a loss can keep it for its backward pass
    assert path in dict(module.named_modules())


@pytest.mark.parametrize(('teacher', 'student', 'layers', 'depth_match'), [
    (RRDBNET, COMPACT, {'body.1': 'conv_first', 'body.5': 'conv_body'}, 'exact'),
    (RRDBNET, MSRRESNET, {'conv_first': 'conv_first', 'body.*': 'body.*'}, 'even'),
    ({**COMPACT, 'num_feat': 8, 'num_conv': 4}, COMPACT, {'body.1': 'body.1', 'body.5': 'body.9'}, 'exact'),
])
def test_a_teacher_of_another_family_or_size(kd_opt, tmp_path, teacher, student, layers, depth_match):
    kd_opt.update(teacher={'path': saved(build_network(teacher), tmp_path / 'teacher.pth')}, network_g=student)
    kd_opt['train']['distill_opt'].update(layers=layers, depth_match=depth_match)
    model = start(kd_opt)
    assert [type(net).__name__ for net in (model.net_teacher, model.net_g)] == [teacher['type'], student['type']]
    assert_it_learns(model)


def test_the_real_compact_network_teaches_a_smaller_one(kd_opt, data_root):
    kd_opt.update(teacher={'path': str(data_root / 'weights' / 'realesr-general-x4v3.pth')}, network_g=COMPACT)
    kd_opt['train']['distill_opt']['layers'] = {'body.1': 'body.1', 'body.5': 'body.65'}
    model = start(kd_opt)
    assert sum(p.numel() for p in model.net_teacher.parameters()) == 1_213_296
    assert_it_learns(model)


@pytest.mark.parametrize(('make', 'words'), [
    (lambda: plksr(2), 'teacher: enlarges 2 times, but scale: is 4 .found 64x64 for .* 32x32, expected 128x128'),
    (lambda: build_network({**COMPACT, 'upscale': 2}), 'teacher: enlarges 2 times, but scale: is 4 .found 64x64'),
    (lambda: build_network({**COMPACT, 'num_in_ch': 1, 'num_out_ch': 1}),
     'teacher: found a network that takes images of 1 channels, expected 3 as network_g takes'),
    (lambda: rcan(n_colors=1), 'teacher: found a network that takes images of 1 channels, expected 3 as network_g'),
    (lambda: build_network({**RRDBNET, 'num_out_ch': 1}),
     'teacher: found images of 1 channels as its output, expected 3 as network_g gives'),
    (lambda: IPT(patch_size=12, n_feats=8, num_layers=1, num_heads=2, scale=[4]),
     'teacher: IPT cannot be run on two patches of 32x32'),
])
def test_a_teacher_of_other_images(kd_opt, tmp_path, make, words):
    kd_opt['teacher'] = {'path': saved(make(), tmp_path / 'teacher.pth')}
    with pytest.raises(OptionsError, match=words):
        start(kd_opt)


@pytest.mark.parametrize(('gt_size', 'make', 'needs'), [
    (100, lambda: SAFMN(dim=8, n_blocks=1, upscaling_factor=4), 'at least 0, in multiples of 8, for SAFMN'),
    (32, lambda: OmniSR(num_feat=16, res_num=1, up_scale=4), 'at least 16, in multiples of 1, for OmniSR'),
])
def test_patches_that_the_teacher_would_pad(kd_opt, tmp_path, gt_size, make, needs):
    kd_opt['teacher'] = {'path': saved(make(), tmp_path / 'teacher.pth')}
    kd_opt['train'].pop('gan_opt')  # VGGStyleDiscriminator takes 128 only
    kd_opt['datasets']['train']['gt_size'] = gt_size
    found = f'teacher: found patches of {gt_size // 4}x{gt_size // 4}'
    with pytest.raises(OptionsError, match=rf'{found} \(datasets.train.gt_size / scale\), .*{needs}'):
        start(kd_opt)
    photos = photo_options(kd_opt, write_photos(tmp_path / 'photos', side=128), 'KDRealESRGANModel')
    photos['gt_size'] = gt_size
    photos['datasets']['train']['crop_size'] = 128
    with pytest.raises(OptionsError, match=rf'{found} \(gt_size / scale\), .*{needs}'):
        start(photos)


def test_what_needs_a_network_of_basicsr(kd_opt, tmp_path):
    kd_opt['teacher'] = {'path': saved(plksr(), tmp_path / 'plksr.pth'), 'prune': {'ratio': 0.3}}
    with pytest.raises(OptionsError, match='teacher.prune: .*plksr.pth is a network that only spandrel opens .PLKSR.'):
        start(kd_opt)
    del kd_opt['teacher']['prune']
    kd_opt.update(network_g=COMPACT, student={'init': 'teacher', 'importance': 'l2'})
    kd_opt['train']['distill_opt']['layers'] = {'body.0': 'feats.0'}
    with pytest.raises(OptionsError, match='student.init: teacher'):
        start(kd_opt)


def test_layers_of_it_are_found_before_training(kd_opt, tmp_path):
    kd_opt.update(teacher={'path': saved(plksr(), tmp_path / 'plksr.pth')}, network_g=COMPACT)
    kd_opt['train']['distill_opt']['layers'] = {'body.0': 'feat.0'}
    with pytest.raises(OptionsError, match="train.distill_opt: layer 'feat.0' matches no module of the teacher "
                                           "[(]PLKSR[)]; the closest are feats.0"):
        start(kd_opt)


@pytest.mark.parametrize(('state', 'words'), [
    ({'weight': torch.zeros(3)}, 'does not know it either'),
    ({'body.0.weight': torch.zeros(8, 3, 3, 3), 'body.1.weight': torch.zeros(8)}, 'cannot open it either: '),
])
def test_a_file_that_neither_knows(tmp_path, state, words):
    torch.save(state, tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match=f'odd.pth is no RRDBNet, .*teacher.network in .*; spandrel .* {words}'):
        build_from_file(str(tmp_path / 'odd.pth'))


@pytest.mark.parametrize('purpose', ['Inpainting', 'FaceSR'])
def test_a_network_for_something_else(tmp_path, monkeypatch, purpose):
    """The real ones (LaMa, GFPGAN) have only one, large size."""
    arch = next(iter(spandrel.MAIN_REGISTRY)).architecture
    kind, more = ((spandrel.MaskedImageModelDescriptor, {}) if purpose == 'Inpainting' else
                  (spandrel.ImageModelDescriptor, {'scale': 4}))
    monkeypatch.setattr(spandrel.ModelLoader, 'load_from_state_dict', lambda self, state: kind(
        nn.Conv2d(3, 3, 1), state, arch, purpose, [], True, True, input_channels=3, output_channels=3, **more))
    path = saved(nn.Conv2d(3, 3, 1), tmp_path / 'odd.pth')
    with pytest.raises(CheckpointError, match=f'odd.pth is no RRDBNet.*spandrel takes it for {arch.name}, a network '
                                              f'for {purpose}; expected one for SR or Restoration'):
        build_from_file(path)


def test_a_yml_that_cannot_be_read_is_not_passed_over(tmp_path):
    path = saved(plksr(), tmp_path / 'plksr.pth')
    (tmp_path / 'plksr.yml').write_text('network_g: {')
    with pytest.raises(CheckpointError, match='plksr.yml, which tells the architecture of .* cannot be read'):
        build_from_file(path)
