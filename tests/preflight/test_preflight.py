"""What is refused before a run creates anything."""
from __future__ import annotations

import copy

import pytest
import torch
from basicsr.archs import build_network
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.utils.registry import ARCH_REGISTRY

from basicsr_kd import options, preflight
from basicsr_kd.checkpoint import read_state_dict, write_checkpoint
from basicsr_kd.errors import CheckpointError, OptionsError
from basicsr_kd.preflight.pruning import check_pruning


def check(opt):
    options.validate(opt, opt['is_train'])
    preflight.check(opt)


def put(opt, path, value):
    *parents, last = path.split('.')
    for key in parents:
        opt = opt[key]
    opt[last] = value


@pytest.mark.parametrize(('path', 'value', 'words'), [
    ('teacher.path', 'experiments/ESRGAN_x4.pth', ['teacher.path', 'experiments/ESRGAN_x4.pth', 'does not exist']),
    ('path.pretrain_network_d', 'no/net_d.pth', ['path.pretrain_network_d', 'does not exist']),
    ('datasets.train.dataroot_lq', 'no/LRx4', ['datasets.train.dataroot_lq', 'does not exist']),
    ('datasets.train.type', 'PairdImageDataset', ['datasets.train.type', 'PairedImageDataset']),
    ('network_g.type', 'SlimRRDBnet', ['network_g.type', "'SlimRRDBnet'", 'SlimRRDBNet']),
    ('network_g.num_feats', 4, ['network_g.num_feats', 'num_feat']),
    ('network_g.num_feat', 'many', ['network_g', 'many']),
    ('network_g.scale', 2, ['network_g', 'enlarges 2 times', 'scale: is 4']),
    ('teacher.network', {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_block': 3},
     ['teacher.path', 'does not fit teacher.network', 'conv_first.weight']),
    ('train.pixel_opt.type', 'L1Los', ['train.pixel_opt.type', 'L1Loss']),
    ('train.gan_opt.type', 'GanLoss', ['train.gan_opt.type', 'GANLoss']),
    ('val.metrics.psnr', None, ['val.metrics.psnr', 'type:']),
    ('val.metrics.psnr', {'type': 'calculate_psnr'}, ['val.metrics.psnr.crop_border is missing']),
    ('datasets.train.gt_size', None, ['datasets.train.gt_size is missing']),
    ('datasets.val.io_backend', None, ['datasets.val.io_backend is missing']),
    ('datasets.train.batch_size_per_gpu', 16, ['3 images', 'the batch is 16', 'dataset_enlarge_ratio']),
    ('train.optim_g.type', 'Adamm', ['train.optim_g.type', "'Adam'"]),
    ('train.optim_g.beta', [0.9, 0.99], ['train.optim_g.beta', "'betas'"]),
    ('teacher.param_key', 'param_ema', ["param_key 'param_ema'", 'params, params_ema']),
    ('train.pixel_opt.loss_wieght', 1, ['train.pixel_opt.loss_wieght', 'loss_weight']),
    ('val.metrics.psnr.type', 'calculate_pnsr', ['val.metrics.psnr.type', 'calculate_psnr']),
    ('datasets.train.gt_size', 64, ['network_d', 'datasets.train.gt_size: 64', 'input_size']),
    ('train.distill_opt.layers', ['conv_fisrt'], ['train.distill_opt', "'conv_fisrt'", 'conv_first']),
    ('train.distill_opt.layers', ['body.*.rdb9'], ['train.distill_opt', "'body.*.rdb9'", 'no module of the student']),
    ('train.distill_opt.layers', {'body.0': 'body.*'}, ['train.distill_opt', '1 modules of the student', '2 of the']),
    ('num_gpu', 3, ['num_gpu', '3', 'num_gpu: auto']),
])
def test_a_fault_is_one_error_that_names_the_key(kd_opt, path, value, words):
    put(kd_opt, path, value)
    with pytest.raises((OptionsError, CheckpointError)) as caught:
        check(kd_opt)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_folders_of_different_size_and_empty_ones(kd_opt, tmp_path):
    for name, images, words in (('few', 1, '3 images in dataroot_gt, 1 in dataroot_lq'), ('none', 0, '3 images in')):
        (tmp_path / name).mkdir()
        for index in range(images):
            (tmp_path / name / f'{index}.png').touch()
        kd_opt['datasets']['val']['dataroot_lq'] = str(tmp_path / name)
        with pytest.raises(OptionsError, match=f'datasets.val: {words}'):
            check(kd_opt)
    kd_opt['datasets']['val']['dataroot_gt'] = str(tmp_path / 'none')
    with pytest.raises(OptionsError, match='datasets.val.dataroot_gt: no images'):
        check(kd_opt)


def test_a_good_file_passes(kd_opt, prune_opt):
    check(prune_opt)


def test_a_missing_file_names_what_is_there(kd_opt):
    kd_opt['teacher']['path'] = kd_opt['teacher']['path'].replace('teacher.pth', 'techer.pth')
    with pytest.raises(OptionsError, match="did you mean 'teacher.pth'"):
        check(kd_opt)


def test_a_file_that_is_no_checkpoint(kd_opt, tmp_path):
    (tmp_path / 'notes.pth').write_text('hello')
    kd_opt['teacher']['path'] = str(tmp_path / 'notes.pth')
    with pytest.raises(OptionsError, match='teacher.path: .*notes.pth'):
        check(kd_opt)


def test_a_teacher_of_another_scale(kd_opt, tmp_path):
    net = RRDBNet(3, 3, scale=2, num_feat=4, num_block=2, num_grow_ch=4)
    torch.save({'params': net.state_dict()}, tmp_path / 'x2.pth')
    kd_opt['teacher']['path'] = str(tmp_path / 'x2.pth')
    with pytest.raises(OptionsError, match='teacher: enlarges 2 times, but scale: is 4'):
        check(kd_opt)


def test_a_network_that_cannot_be_built_without_memory_is_checked_all_the_same(kd_opt, tmp_path):
    swin = {'type': 'SwinIR', 'img_size': 16, 'window_size': 8, 'depths': [2], 'num_heads': [2], 'embed_dim': 8,
            'mlp_ratio': 2, 'upscale': 4, 'upsampler': 'pixelshuffledirect', 'img_range': 1.0,
            'resi_connection': '1conv'}
    torch.save({'params': ARCH_REGISTRY.get('SwinIR')(**{k: v for k, v in swin.items() if k != 'type'}).state_dict()},
               tmp_path / 'swinir.pth')
    kd_opt['teacher'] = {'path': str(tmp_path / 'swinir.pth'), 'network': swin}
    kd_opt['train']['distill_opt']['layers'] = {'conv_body': 'conv_after_body'}
    state = torch.random.get_rng_state()
    check(kd_opt)
    assert torch.equal(state, torch.random.get_rng_state())


def test_a_file_in_the_runs_own_folder_would_be_moved_away(kd_opt, tmp_path):
    (tmp_path / 'run').mkdir()
    torch.save({'params': {}}, tmp_path / 'run' / 'net_g.pth')
    kd_opt['teacher']['path'] = str(tmp_path / 'run' / 'net_g.pth')
    with pytest.raises(OptionsError, match='teacher.path: .* lies in the folder of this run'):
        check(kd_opt)


def test_auto_resume_without_a_saved_state_checks_as_for_a_new_run(kd_opt):
    kd_opt['auto_resume'] = True
    kd_opt['path']['pretrain_network_d'] = 'gone.pth'
    with pytest.raises(OptionsError, match='path.pretrain_network_d: gone.pth does not exist'):
        check(kd_opt)


def test_a_teacher_whose_architecture_cannot_be_read(kd_opt, tmp_path):
    torch.save({'params': {'weight': torch.zeros(3)}}, tmp_path / 'other.pth')
    kd_opt['teacher']['path'] = str(tmp_path / 'other.pth')
    with pytest.raises(CheckpointError, match='teacher.network'):
        check(kd_opt)


def test_a_generator_file_of_another_size(kd_opt):
    kd_opt['path']['pretrain_network_g'] = kd_opt['teacher']['path']
    with pytest.raises(OptionsError, match=r'path.pretrain_network_g: .* does not fit network_g \(SlimRRDBNet\)'):
        check(kd_opt)


def test_test_needs_a_trained_network(kd_opt):
    kd_opt['is_train'] = False
    with pytest.raises(OptionsError, match='path.pretrain_network_g is missing'):
        check(kd_opt)


def test_a_prune_ratio_out_of_reach_is_told_with_the_range(prune_opt):
    prune_opt['prune'] = {'ratio': 0.95}
    with pytest.raises(OptionsError, match='prune: .*0.95'):
        check(prune_opt)


def test_a_teachers_prune_ratio_out_of_reach_too(kd_opt):
    kd_opt['teacher']['prune'] = {'ratio': 0.95}
    with pytest.raises(OptionsError, match='teacher.prune: .*0.95'):
        check(kd_opt)


@pytest.mark.parametrize(('prune', 'words'), [
    ({'ratio': 0.9, 'layout': 'width', 'round_to': 4}, ['prune: ', '0.9', 'layout width', 'ratio from 0 to']),
    ({'ratio': 0.99, 'layout': 'balanced', 'round_to': 4}, ['prune: ', '0.99', 'layout balanced']),
    ({'ratio': 0.9, 'layout': 'blocks', 'select': 'last'}, ['prune: ', '0.9', 'layout blocks']),
    ({'keep': 3, 'layout': 'blocks', 'select': 'last'}, ['prune: ', 'keep', '3', '2 blocks']),
    ({'ratio': 0.1, 'target': 'bdoy'}, ['prune: ', "'bdoy'", "'body'"]),
    ([{'keep': 1, 'layout': 'blocks'}, {'ratio': 0.1, 'target': 'bdoy'}], ['prune[1]: ', "'bdoy'", "'body'"]),
    ([{'keep': 1, 'layout': 'blocks'}, {'keep': 2, 'layout': 'blocks', 'select': 'last'}],
     ['prune[1]: ', 'keep is 2', '1 block']),
    ([{'ratio': 0.1, 'round_to': 1}, {'keep': 3, 'layout': 'blocks', 'select': 'last'}], ['prune[1]: ', '2 blocks']),
    ([{'ratio': 0.1, 'round_to': 1}, {'ratio': 0.1, 'importance': 'taylor', 'calibration': {'dataroot': 'no/photos'}}],
     ['prune[1].calibration.dataroot', 'no/photos', 'does not exist']),
    ({'ratio': 0.1, 'reconstruct': True, 'calibration': {'dataroot': 'EMPTY'}},
     ['prune.calibration.dataroot', 'no images']),
])
def test_a_pruning_that_cannot_be(prune_opt, prune, words, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'EMPTY').mkdir()
    prune_opt['prune'] = prune
    with pytest.raises(OptionsError) as caught:
        check(prune_opt)
    for word in words:
        assert word in str(caught.value), str(caught.value)
    assert [path.name for path in tmp_path.iterdir()] == ['EMPTY']


def test_weights_that_are_not_finite_cannot_be_pruned(prune_opt, tmp_path):
    state = torch.load(prune_opt['path']['pretrain_network_g'], weights_only=True)['params']
    state['body.1.rdb2.conv3.bias'][0] = float('nan')
    torch.save({'params': state}, tmp_path / 'broken.pth')
    prune_opt['path']['pretrain_network_g'] = str(tmp_path / 'broken.pth')
    with pytest.raises(OptionsError, match='path.pretrain_network_g: .*broken.pth .*first in body.1.rdb2.conv3.bias'):
        check(prune_opt)


def test_nor_those_of_a_teacher(kd_opt, tmp_path):
    state = torch.load(kd_opt['teacher']['path'], weights_only=True)['params']
    state['conv_last.bias'][0] = float('inf')
    torch.save({'params': state}, tmp_path / 'broken.pth')
    kd_opt['teacher'] = {'path': str(tmp_path / 'broken.pth'), 'prune': {'ratio': 0.1, 'round_to': 1}}
    with pytest.raises(OptionsError, match='teacher.path: .*broken.pth .*first in conv_last.bias'):
        check(kd_opt)


@pytest.mark.parametrize('prune', [
    {'keep': 1, 'layout': 'blocks'}, {'ratio': 0.4, 'layout': 'blocks', 'select': 'last'},
    [{'keep': 1, 'layout': 'blocks'}, {'ratio': 0.1, 'round_to': 1}],
])
def test_layers_are_those_of_the_teacher_without_its_blocks(kd_opt, prune):
    kd_opt['teacher']['prune'] = prune
    check(copy.deepcopy(kd_opt))
    kd_opt['train']['distill_opt']['layers'] = ['body.*']
    with pytest.raises(OptionsError, match=r"train.distill_opt: .*'body\.\*'.* 2 modules of the student .*1 of the"):
        check(copy.deepcopy(kd_opt))
    kd_opt['network_g']['num_block'] = 1
    check(kd_opt)


def test_images_that_the_network_does_not_take(prune_opt, monkeypatch):
    monkeypatch.setattr('basicsr_kd.preflight.pruning.calibration_images', lambda *args: torch.rand(2, 3, 31, 31))
    prune = {'ratio': 0.1, 'round_to': 1, 'layout': 'growth', 'importance': 'taylor'}
    with torch.device('meta'):
        nets = [RRDBNet(3, 3, scale, 8, 1, 8) for scale in (4, 2)]
    check_pruning(nets[0], prune, 'prune', prune_opt)
    with pytest.raises(OptionsError, match='prune.calibration.size: RRDBNet cannot be run on images of 31 x 31 pixels'):
        check_pruning(nets[1], prune, 'prune', prune_opt)


@pytest.mark.parametrize('prune', [
    {'ratio': 0.3, 'layout': 'width', 'round_to': 1}, {'ratio': 0.3, 'layout': 'balanced', 'round_to': 1},
    {'ratio': 0.3, 'layout': 'blocks'}, {'ratio': 0.9, 'layout': 'unstructured'}, {'ratio': 0.3, 'target': 'body.1'},
    {'ratio': 0.3, 'round_to': 1, 'importance': 'taylor', 'reconstruct': True},
])
def test_every_layout_passes_where_it_can(prune_opt, prune):
    prune_opt['prune'] = prune
    check(prune_opt)


def test_calibration_images_of_which_there_are_none(prune_opt):
    del prune_opt['datasets']['train']['dataroot_lq']
    prune_opt['datasets']['train']['type'] = 'FFHQDataset'
    prune_opt['prune'] = {'ratio': 0.3, 'importance': 'taylor'}
    with pytest.raises(OptionsError, match='taylor looks at low-resolution images, .* give prune.calibration.dataroot'):
        check(prune_opt)


def test_the_training_sets_images_are_named_where_they_cannot_be_used(prune_opt, tmp_path):
    for index in range(3):
        (tmp_path / f'{index}.png').touch()
    prune_opt['datasets']['train'].update(dataroot_lq=str(tmp_path), max_bad_images=3)
    prune_opt['prune'] = {'keep': 1, 'layout': 'blocks'}
    with pytest.raises(OptionsError, match='prune: layout blocks with select least: datasets.train.dataroot_lq: '):
        check(prune_opt)


def test_a_resumed_run_needs_no_calibration_images_unless_stages_are_left(prune_opt, tmp_path):
    for name in ('training_states/1.state', 'models/net_g_1.pth'):
        (tmp_path / 'run' / name).parent.mkdir(parents=True)
        (tmp_path / 'run' / name).touch()
    prune_opt['auto_resume'] = True
    prune_opt['prune'] = {'ratio': 0.1, 'round_to': 1, 'importance': 'taylor', 'calibration': {'dataroot': 'gone'}}
    check(prune_opt)
    prune_opt['prune'].update(steps=2, every=1)
    with pytest.raises(OptionsError, match='prune.calibration.dataroot: gone does not exist'):
        check(prune_opt)


def test_checking_opens_no_log_file(kd_opt):
    """BasicSR's logger keeps the file of its first use, which must be the run's."""
    from basicsr.utils.logger import initialized_logger
    before = copy.copy(initialized_logger)
    check(kd_opt)
    assert initialized_logger == before


def test_gpus_without_a_launcher_name_torchrun(kd_opt, monkeypatch):
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    kd_opt['num_gpu'] = 2
    with pytest.raises(OptionsError, match='num_gpu: found 2 without a launcher; start with torchrun'):
        check(kd_opt)


def test_a_teacher_that_diverged_is_told(kd_opt, tmp_path):
    state = read_state_dict(kd_opt['teacher']['path'])
    state['conv_body.weight'][0] = float('nan')
    write_checkpoint(tmp_path / 'broken.pth', state)
    kd_opt['teacher']['path'] = str(tmp_path / 'broken.pth')
    with pytest.raises(OptionsError, match='broken.pth has values that are not finite .*first in conv_body.weight'):
        check(kd_opt)


def test_a_resumed_run_that_does_not_distil_needs_no_teacher(kd_opt, tmp_path):
    kd_opt['student'] = {'init': 'teacher', 'importance': 'l2'}
    kd_opt['train'].pop('distill_opt')
    kd_opt['teacher']['path'] = str(tmp_path / 'gone.pth')
    with pytest.raises(OptionsError, match='gone.pth'):
        check(copy.deepcopy(kd_opt))
    kd_opt['path']['resume_state'] = str(tmp_path / '2.state')
    check(kd_opt)


def test_a_number_that_is_in_no_tensor_must_be_the_teachers(kd_opt, tmp_path):
    network = {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'upscale': 4,
               'res_scale': 0.1}
    write_checkpoint(tmp_path / 'edsr.pth', build_network(network).state_dict())
    kd_opt['train'].pop('distill_opt')
    kd_opt.update(teacher={'path': str(tmp_path / 'edsr.pth'), 'network': network},
                  student={'init': 'teacher', 'importance': 'l2'}, network_g={**network, 'num_feat': 4})
    check(copy.deepcopy(kd_opt))
    kd_opt['network_g'].pop('res_scale')
    with pytest.raises(OptionsError, match='network_g.res_scale: found 1, expected 0.1 as in the teacher'):
        check(kd_opt)
