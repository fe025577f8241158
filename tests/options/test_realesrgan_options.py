"""Options, photos and image sizes of the Real-ESRGAN models: what each mistake is told before training."""
from __future__ import annotations

import copy

import cv2
import numpy as np
import pytest
import torch
from basicsr.archs import build_network
from helpers.realesrgan import photo_options, write_photos
from test_options import put

from basicsr_kd import options, preflight
from basicsr_kd.errors import CheckpointError, OptionsError
from basicsr_kd.pruning import PruningError

X2PLUS = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'scale': 2, 'num_feat': 4, 'num_block': 1,
          'num_grow_ch': 4}


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp('photos'))


@pytest.fixture
def opt(kd_opt, photos):
    return photo_options(kd_opt, photos, 'KDRealESRGANModel')


def check(opt):
    warnings = options.validate(opt, opt['is_train'])
    preflight.check(opt)
    return warnings


def test_defaults_are_filled_in(opt):
    opt.pop('queue_size')
    opt['datasets']['train'].pop('crop_size')
    assert check(opt) == []
    assert (opt['queue_size'], opt['l1_gt_usm'], opt['percep_gt_usm'], opt['gan_gt_usm']) == (180, True, True, True)
    assert opt['high_order_degradation'] is True and opt['datasets']['train']['crop_size'] == 400
    assert opt['datasets']['train']['type'] == 'RealESRGANPhotoDataset'


@pytest.mark.parametrize(('path', 'value', 'words'), [
    ('noise_range', None, ['noise_range: found None']),
    ('resize_range2', [0.3, 1e12], ['resize_range2', '<= 10']),
    ('noise_range', [30, 1], ['noise_range: found [30.0, 1.0]', 'smaller number first']),
    ('jpeg_range2', [0, 95], ['jpeg_range2[0]', '0']),
    ('jpeg_range', [30], ['jpeg_range', 'length 2']),
    ('resize_prob', [0.2, 0.8], ['resize_prob', 'length 3']),
    ('resize_prob2', [0, 0, 0], ['resize_prob2', 'not all zero']),
    ('gray_noise_prob', 1.4, ['gray_noise_prob: found 1.4']),
    ('l1_gt_usm', 'yes', ['l1_gt_usm', 'true or false']),
    ('queue_size', 5, ['queue_size: found 5', 'batch_size_per_gpu (2)', '6']),
    ('gt_size', 84, ['gt_size: found 84', 'to 80 (datasets.train.crop_size)']),
    ('gt_size', 30, ['gt_size: found 30', 'multiple of the scale (4)']),
    ('gt_size', 24, ['gt_size: found 24', 'from 26 to 80']),
    ('datasets.train.crop_size', 404, ['datasets.train.crop_size: found 404', '400']),
    ('datasets.train.crop_size', 64, ['datasets.train.crop_size: found 64', 'from 76']),
    ('datasets.train.kernel_list', ['isotropic'], ['datasets.train.kernel_list[0]', 'isotropic']),
    ('datasets.train.kernel_prob2', [0.5, 0.5], ['datasets.train.kernel_prob2', '6 kernels']),
    ('datasets.train.blur_sigma', [3, 0.2], ['datasets.train.blur_sigma', 'smaller number first']),
    ('datasets.train.type', 'PairedImageDataset', ['datasets.train.type', 'RealESRGANDataset']),
    ('high_order_degradation', False, ['datasets.train.type', 'high_order_degradation']),
    ('model_type', 'KDGANModel', ['resize_prob: a key of KDRealESRGANModel', 'model_type is KDGANModel']),
    ('datasets.train.meta_info', 'no/meta_info.txt', ['datasets.train.meta_info', 'does not exist']),
    ('datasets.train.batch_size_per_gpu', 4, ['3 photos']),
    ('prune', {'ratio': 0.3}, ['prune: KDRealESRGANModel prunes its teacher', 'PruneRealESRGANModel']),
    ('train.ldl_opt', {'type': 'L1Los'}, ['train.ldl_opt.type', 'L1Loss']),
])
def test_a_fault_is_one_error_that_names_the_key(opt, path, value, words):
    opt['datasets']['train']['dataset_enlarge_ratio'] = 1
    put(opt, path, value)
    with pytest.raises(OptionsError) as caught:
        check(opt)
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize(('section', 'key'), [('', 'poisson_scale_range2'), ('', 'gt_size'),
                                              ('datasets.train', 'final_sinc_prob')])
def test_a_missing_key_is_named(opt, section, key):
    (opt['datasets']['train'] if section else opt).pop(key)
    with pytest.raises(OptionsError, match=rf'^{f"{section}.{key}".removeprefix(".")} is missing$'):
        check(opt)


def test_close_keys_other_models_and_what_is_not_used(opt, kd_opt):
    opt['resize_probs'] = [1, 1, 1]
    with pytest.raises(OptionsError, match="resize_probs: unknown key; did you mean 'resize_prob'"):
        check(opt)
    opt.pop('resize_probs')
    opt['datasets']['train']['gt_size'] = 64
    (warning,) = check(opt)
    assert warning.startswith('datasets.train.gt_size: 64 is not used')
    kd_opt['gan_gt_usm'] = True
    with pytest.raises(OptionsError, match='gan_gt_usm: a key of KDRealESRGANModel'):
        options.validate(kd_opt, True)


def test_pairs_that_are_too_small_to_be_sharpened(kd_opt):
    kd_opt.update(model_type='KDRealESRGANModel', high_order_degradation=False)
    kd_opt['datasets']['train']['gt_size'] = 24
    with pytest.raises(OptionsError, match=r'^datasets\.train\.gt_size: found 24, expected at least 26'):
        check(kd_opt)


def test_ldl_needs_an_average_and_a_discriminator(opt):
    opt['train'].update(ema_decay=0, ldl_opt={'type': 'L1Loss'})
    with pytest.raises(OptionsError, match='train.ldl_opt .*train.ema_decay'):
        check(copy.deepcopy(opt))
    opt['train'].pop('gan_opt')
    assert 'train.ldl_opt: not used, train.gan_opt is not given' in check(opt)


def test_photos_that_are_missing_broken_or_too_small(opt, tmp_path):
    folder = write_photos(tmp_path / 'photos')
    opt['datasets']['train'].update(dataroot_gt=str(folder), meta_info=str(tmp_path / 'list.txt'))
    (tmp_path / 'list.txt').write_text('0.png\nsub/9.png\n')
    with pytest.raises(OptionsError, match=r'list\.txt lists .*sub/9\.png, which is not there'):
        check(copy.deepcopy(opt))
    opt['datasets']['train'].pop('meta_info')
    cv2.imwrite(str(folder / 'small.png'), np.zeros((31, 200, 3), np.uint8))
    with pytest.raises(OptionsError, match=r'small\.png has 200x31 pixels, expected at least 32x32 \(gt_size\)'):
        check(copy.deepcopy(opt))
    (folder / 'small.png').write_text('no image')
    with pytest.raises(OptionsError, match=r'small\.png cannot be read as an image'):
        check(copy.deepcopy(opt))
    (tmp_path / 'empty').mkdir()
    opt['datasets']['train']['dataroot_gt'] = str(tmp_path / 'empty')
    with pytest.raises(OptionsError, match='no image in'):
        check(opt)


def test_a_discriminator_of_another_architecture_and_a_teacher_of_another_scale(opt, kd_opt, tmp_path):
    net_d = tmp_path / 'netD.pth'
    torch.save({'params': build_network(kd_opt['network_d']).state_dict()}, net_d)
    opt['path']['pretrain_network_d'] = str(net_d)
    with pytest.raises(OptionsError, match=r'netD\.pth does not fit network_d \(UNetDiscriminatorSN\)'):
        check(copy.deepcopy(opt))
    torch.save({'params': build_network(opt['network_d']).state_dict()}, net_d)
    check(copy.deepcopy(opt))
    torch.save({'params': build_network(X2PLUS).state_dict()}, opt['teacher']['path'] + 'x2.pth')
    opt['teacher']['path'] += 'x2.pth'
    with pytest.raises(OptionsError, match='teacher: enlarges 2 times, but scale: is 4'):
        check(opt)


def test_a_u_net_wants_sides_that_it_can_halve(opt):
    opt['gt_size'] = 36
    with pytest.raises(OptionsError, match=r'network_d: .*It takes 40x40.*\(its images are those of gt_size: 36\)'):
        check(opt)


def x2plus(opt, photos):
    opt.update(scale=2, network_g=dict(X2PLUS))
    opt.pop('teacher')
    opt['train'].pop('distill_opt')
    for dataset in opt['datasets'].values():
        dataset['scale'] = 2
    return opt


@pytest.mark.parametrize('kind', ['KDRealESRGANModel', 'KDGANModel'])
def test_x2plus_with_an_odd_size_in_training(opt, kd_opt, photos, kind):
    kd_opt['network_d'] = dict(opt['network_d'])
    opt = x2plus(opt if kind == 'KDRealESRGANModel' else kd_opt, photos)
    (opt if kind == 'KDRealESRGANModel' else opt['datasets']['train'])['gt_size'] = 54
    with pytest.raises(OptionsError, match=r'network_g: RRDBNet .* shape \(1, 3, 27, 27\): .*It takes 32x32'):
        check(opt)


@pytest.mark.parametrize(('shape', 'tile', 'words'), [
    ((36, 35), 0, 'has 35x36 pixels'), ((36, 36), 0, ''), ((71, 71), 4, ''), ((33, 71), 4, 'has 71x33 pixels')])
def test_x2plus_with_validation_images_of_odd_size(opt, photos, tmp_path, shape, tile, words):
    """In pieces of 4 + 2·16 pixels only images that are smaller than a piece keep an odd side."""
    opt = x2plus(opt, photos)
    for folder, factor in (('HR', 2), ('LR', 1)):
        (tmp_path / folder).mkdir()
        cv2.imwrite(str(tmp_path / folder / 'a.png'), np.zeros((factor * shape[0], factor * shape[1], 3), np.uint8))
    opt['datasets']['val'].update(dataroot_gt=str(tmp_path / 'HR'), dataroot_lq=str(tmp_path / 'LR'))
    opt['val']['tile'] = tile
    if not words:
        check(opt)
        return
    with pytest.raises(OptionsError, match=f'datasets.val.dataroot_lq: .*a.png {words}, .* multiples of 2 only'):
        check(opt)
    opt['is_train'] = False
    torch.save({'params': build_network(X2PLUS).state_dict()}, tmp_path / 'net.pth')
    opt['path']['pretrain_network_g'] = str(tmp_path / 'net.pth')
    opt['datasets'].pop('train')
    with pytest.raises((OptionsError, CheckpointError, PruningError), match='multiples of 2 only'):
        check(opt)
