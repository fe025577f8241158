"""TecoGANModel's options: defaults, and what is refused before a run creates anything."""
from __future__ import annotations

import copy
from typing import Any

import pytest
from helpers.models import start
from helpers.video import FRNET

from basicsr_kd import options, preflight
from basicsr_kd.errors import OptionsError


def with_changes(opt: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Values by their paths, `train.adaptive_d`; None takes a key away."""
    opt = copy.deepcopy(opt)
    for path, value in changes.items():
        section = opt
        *outer, key = path.split('.')
        for name in outer:
            section = section[name]
        section[key] = copy.deepcopy(value)
        if value is None:
            section.pop(key)
    return opt


def test_defaults(teco_opt):
    assert options.validate(teco_opt, True) == []
    preflight.check(teco_opt)
    assert teco_opt['degradation'] == {'type': 'BD', 'sigma': 1.5}
    assert teco_opt['val']['protocol'] == 'official' and teco_opt['val']['metrics'] == {
        'psnr': {'type': 'calculate_psnr', 'better': 'higher'}, 'tof': {'type': 'calculate_tof', 'better': 'lower'}}
    assert teco_opt['train']['net_d_init_iters'] == 0


def test_keys_of_video_are_unknown_to_other_models(prune_opt):
    prune_opt['degradation'] = {'type': 'BD'}
    prune_opt['train']['warp_opt'] = {'type': 'CharbonnierLoss'}
    with pytest.raises(OptionsError, match='degradation: a key of TecoGANModel'):
        options.validate(prune_opt, True)
    del prune_opt['degradation']
    with pytest.raises(OptionsError, match='train.warp_opt: unknown key'):
        options.validate(prune_opt, True)


@pytest.mark.parametrize(('changes', 'message'), [
    ({'degradation': {'type': 'BX'}}, r"degradation\.type: found 'BX'. Possible: BD, BI"),
    ({'degradation': {'sigma': 0}}, r'degradation\.sigma: found 0'),
    ({'degradation': {'sigmas': 1.5}}, "degradation.sigmas: unknown key; did you mean 'sigma'"),
    ({'degradation': {'type': 'BI'}},
     "BI needs low-resolution frames in datasets.train, .* use BasicSR's REDSRecurrentDataset, or type: BD"),
    ({'network_g': {**FRNET, 'degradation': 'BI'}}, 'found an FRNet of degradation BI, expected BD'),
    ({'train.pixel_opt': None}, 'train.pixel_opt is missing'),
    ({'train.warp_opt': {'type': 'CharbonierLoss'}}, r"train\.warp_opt\.type: .* did you mean 'CharbonnierLoss'"),
    ({'train.pingpong_opts': {}}, "train.pingpong_opts: unknown key; did you mean 'pingpong_opt'"),
    ({'train.pingpong_opt': None, 'datasets.train.num_frame': 2}, 'found 2, expected at least 3'),
    ({'datasets.train.gt_size': 40}, r'gt_size: found 40, .* gt_size 32 or 64'),
    ({'datasets.train.gt_size': 96}, 'Set gt_size to 64 at most'),
    ({'datasets.train.gt_size': 64}, r'found images of 64x64 pixels\. Expected 32x32 \(spatial_size'),
    ({'datasets.train.type': 'PairedImageDataset'}, 'which has images; expected clips, TecoGANTrainDataset'),
    ({'datasets.val.type': 'PairedImageDataset'}, 'found PairedImageDataset, expected TecoGANTestDataset'),
    ({'datasets.val.type': 'TecoGANTestDataSet'}, "did you mean 'TecoGANTestDataset'"),
    ({'network_g': {'type': 'MSRResNet', 'upscale': 4}}, 'network_g: found MSRResNet, expected FRNet'),
    ({'network_g': {**FRNET, 'scale': 2}}, 'enlarges 2 times, but scale: is 4'),
    ({'network_d': {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 2}}, 'network_d: VGGStyle'),
    ({'val.protocol': 'offical'}, r"val\.protocol: found 'offical'. Possible: official, training"),
    ({'val.metrics.ssim': {'type': 'calculate_ssim'}}, 'Possible: calculate_psnr, calculate_jod, calculate_jod20, '),
    ({'val.metrics.kid': {'type': 'calculate_kid', 'patch': 4}}, r'val\.metrics\.kid\.patch: found 4'),
    ({'val.metrics.psnr': {'type': 'calculate_psnr', 'crop_border': 4}}, 'psnr.crop_border: unknown key'),
    ({'val.metrics.lpips': {'type': 'calculate_lpips', 'weights': 'gone.pth'}}, r'weights: gone\.pth does not exist'),
    ({'student': {'init': 'teacher'}}, 'needs the section `teacher:`'),
    ({'prune': {'layout': 'blocks', 'keep': 1}}, 'path.pretrain_network_g is missing'),
])
def test_what_is_wrong_is_told_with_what_is_possible(teco_opt, changes, message):
    with pytest.raises(OptionsError, match=message):
        start(with_changes(teco_opt, changes))


def test_metrics_need_ground_truth(frvsr_opt, clips):
    opt = with_changes(frvsr_opt, {'datasets.val.dataroot_gt': None, 'datasets.val.dataroot_lq': str(clips)})
    with pytest.raises(OptionsError, match=r'val\.metrics\.psnr: calculate_psnr compares with ground truth'):
        start(opt)
    opt['val'].pop('metrics')
    start(opt)


def test_bicubic_low_resolution_must_be_given(frvsr_opt, clips):
    """BasicSR's REDSRecurrentDataset has it in training; for the test clips there is none."""
    opt = with_changes(frvsr_opt, {'degradation': {'type': 'BI'}, 'network_g': {**FRNET, 'degradation': 'BI'},
                                   'datasets.train': {'name': 'REDS', 'type': 'REDSRecurrentDataset', 'phase': 'train',
                                                      'gt_size': 32, 'num_frame': 3}})
    with pytest.raises(OptionsError, match=r'datasets\.val\.dataroot_lq is missing: with degradation\.type: BI'):
        start(opt)


def test_a_crop_of_basicsrs_clips_must_suit_fnet_too(frvsr_opt):
    opt = with_changes(frvsr_opt, {'datasets.train': {'name': 'REDS', 'type': 'REDSRecurrentDataset', 'phase': 'train',
                                                      'gt_size': 100, 'num_frame': 3}})
    with pytest.raises(OptionsError, match='gt_size: found 100, which gives low-resolution crops of 25 pixels.* 96 or'):
        start(opt)


def test_a_model_of_images_takes_neither_clips_nor_their_metrics(prune_opt, clips):
    opt = with_changes(prune_opt, {'val.metrics.tof': {'type': 'calculate_tof', 'better': 'lower'}})
    with pytest.raises(OptionsError, match='calculate_tof is a metric of clips, and PruneGANModel works on single'):
        start(opt)
    opt = with_changes(prune_opt, {'datasets.val': {'name': 'clips', 'type': 'TecoGANTestDataset', 'phase': 'val',
                                                    'scale': 4, 'dataroot_gt': str(clips)}})
    with pytest.raises(OptionsError, match='TecoGANTestDataset has clips, PruneGANModel takes images'):
        start(opt)


def test_a_file_to_test_must_hold_a_network_of_clips(frvsr_opt, teacher_file):
    opt = with_changes(frvsr_opt, {'is_train': False, 'path.pretrain_network_g': str(teacher_file),
                                   'datasets': {'test_1': {**frvsr_opt['datasets']['val'], 'phase': 'test'}}})
    with pytest.raises(OptionsError, match='network_g: found RRDBNet, expected FRNet'):
        start(opt)
