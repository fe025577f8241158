"""Values that PyTorch, the machine or the images tell wrong, before anything is created."""
from __future__ import annotations

import importlib.util
from typing import Any
from urllib.error import URLError

import pytest
from basicsr.archs.rrdbnet_arch import RRDBNet

from basicsr_kd import options, preflight
from basicsr_kd.errors import OptionsError
from basicsr_kd.preflight.input_sizes import check_image_sizes


def put(opt: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split('.')
    for key in parents:
        opt = opt[key]
    opt[last] = value


def check(opt: dict[str, Any]) -> None:
    options.validate(opt, opt['is_train'])
    preflight.check(opt)


@pytest.mark.parametrize(('path', 'value', 'message'), [
    ('train.optim_g.lr', -1e-3, r'train.optim_g: Adam cannot be made .*learning rate'),
    ('train.optim_d.weight_decay', True, r'train.optim_d: Adam cannot make a step .*Boolean'),
    ('path.pretrain_network_g', '', r"path.pretrain_network_g: found ''"),
    ('train.optim_d.betas', [0.9], r'train.optim_d: Adam cannot be made'),
    ('train.pixel_opt.reduction', 'average', r'train.pixel_opt: L1Loss cannot be made .*average'),
    ('train.pixel_opt', {'type': 'CharbonnierLoss', 'eps': -0.5}, r'train.pixel_opt: CharbonnierLoss .* not finite'),
    ('train.pixel_opt', {'type': 'CharbonnierLoss', 'eps': 0}, r'train.pixel_opt: CharbonnierLoss .* its gradient is'),
    ('network_g.num_block', -2, r'network_g.num_block: found -2, expected at least 0'),
    ('logger.wandb', {'project': ''}, r"logger.wandb.project: found ''"),
    ('train.gan_opt.gan_type', 'good', r'train.gan_opt: GANLoss cannot be made .*good'),
    ('train.gan_opt.real_label_val', 'x', r'train.gan_opt: GANLoss cannot be computed'),
    ('network_g.num_block', 1_000_000, r'network_g.num_block: found 1000000, expected at most 10,000'),
    ('network_g.num_in_ch', [], r'network_g.num_in_ch: found \[\], expected a whole number of at least 1'),
    ('network_d.num_in_ch', '3', r"network_d.num_in_ch: found '3', expected a whole number"),
    ('network_g.type', ['RRDBNet'], r"network_g.type: found \['RRDBNet'\], expected a name"),
    ('datasets.train.prefetch_mode', 'cuda', r'prefetch_mode: cuda needs a GPU, and num_gpu is 0'),
    ('logger.wandb', {'project': 'x'}, r'logger.wandb: .*Set logger.use_tb_logger: true'),
    ('val.metrics.psnr.crop_border', 72, r'val.metrics.psnr.crop_border: 72 pixels at each side leave nothing of .*g'),
    ('train.pixel_opt', {}, r'train.pixel_opt: found \{\}, expected a section with type:'),
    ('train.gan_opt', {}, r'train.gan_opt: found \{\}, expected a section with type:'),
])
def test_one_line_that_names_the_key(kd_opt, path, value, message):
    put(kd_opt, path, value)
    with pytest.raises(OptionsError, match=message):
        check(kd_opt)


def test_packages_of_the_log(kd_opt, monkeypatch):
    monkeypatch.setattr(importlib.util, 'find_spec', lambda name: None)
    kd_opt['logger']['use_tb_logger'] = True
    with pytest.raises(OptionsError, match='logger.use_tb_logger needs tensorboard, which is not installed'):
        check(kd_opt)


def test_weights_that_cannot_be_had_are_told_before_anything_is_calibrated(prune_opt, monkeypatch):
    def unreachable(*args, **kwargs):
        raise URLError('no network')
    monkeypatch.setattr('torch.hub.load_state_dict_from_url', unreachable)
    prune_opt['train']['perceptual_opt'] = {'type': 'PerceptualLoss', 'layer_weights': {'conv5_4': 1}}
    with pytest.raises(OptionsError, match=r'could not be downloaded \(no network\).*vgg19-.*perceptual_opt: ~'):
        check(prune_opt)


def test_pieces_that_the_network_does_not_take():
    net = RRDBNet(3, 3, scale=2, num_feat=8, num_block=1, num_grow_ch=4)
    opt = {'network_g': {'num_in_ch': 3}, 'datasets': {}, 'val': {'tile': 33, 'tile_overlap': 16}}
    with pytest.raises(OptionsError, match='val.tile: 33 pixels .* are 65, .* multiples of 2 only. Expected .* 34'):
        check_image_sizes(opt, net)
    check_image_sizes({**opt, 'val': {'tile': 34, 'tile_overlap': 16}}, net)
