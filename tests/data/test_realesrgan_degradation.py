"""Low resolution made as Real-ESRGAN makes it: BasicSR's own tensors, its data set, calibration images made so."""
from __future__ import annotations

import copy
import random

import cv2
import numpy as np
import pytest
import torch
from basicsr.data.realesrgan_dataset import RealESRGANDataset
from basicsr.utils import DiffJPEG, USMSharp
from helpers.realesrgan import PHOTOS, SYNTHESIS, BasicSRModel, photo_batch, photo_options, seed, write_photos

from basicsr_kd import options, preflight
from basicsr_kd.data import RealESRGANPhotoDataset
from basicsr_kd.data.realesrgan_degradation import SecondOrderDegradation
from basicsr_kd.data.run_inputs import calibration_images
from basicsr_kd.options.prune import CalibrationOptions

CPU = torch.device('cpu')


@pytest.fixture(scope='module')
def photos(tmp_path_factory):
    return write_photos(tmp_path_factory.mktemp('photos'), count=4)


def section(photos, **further):
    return {**copy.deepcopy(PHOTOS), 'dataroot_gt': str(photos), 'io_backend': {'type': 'disk'}, 'crop_size': 80,
            **further}


def test_batches_are_those_of_basicsr_also_when_the_pool_is_full(photos, monkeypatch):
    """Of BasicSR's model only `.cuda` is replaced. Ours sharpens in another way, which is for the next test."""
    opt = {**SYNTHESIS, 'scale': 4, 'gt_size': 32, 'queue_size': 4}
    dataset = RealESRGANPhotoDataset(section(photos))
    theirs = BasicSRModel(opt)
    ours = SecondOrderDegradation(opt, CPU, pool=4)
    ours.usm_sharpener = USMSharp()
    monkeypatch.setattr(torch.Tensor, 'cuda', lambda self: self)
    for number in range(8):
        data = photo_batch(dataset, number)
        seed(100 + number)
        theirs.feed_data(copy.deepcopy(data))
        after = random.random(), np.random.rand(), torch.rand(1)
        seed(100 + number)
        made = ours(data)
        assert (random.random(), np.random.rand(), torch.rand(1)) == after
        for found, expected in zip(made, (theirs.lq, theirs.gt, theirs.gt_usm), strict=True):
            assert torch.equal(found, expected), number


def test_each_has_jpeg_tables_of_its_own():
    """BasicSR's are one parameter of all, which moves to another device or format with any of them."""
    first, second = SecondOrderDegradation({}, CPU), SecondOrderDegradation({}, CPU)
    first.jpeger.double()
    for one in (second.jpeger, DiffJPEG(differentiable=False)):
        assert {table.dtype for table in one.parameters()} == {torch.float32}


@pytest.mark.parametrize('images', [1, 4])
def test_sharpening_is_that_of_basicsr(images):
    sharpen = SecondOrderDegradation({}, CPU).usm_sharpener
    image = torch.nn.functional.interpolate(torch.rand(images, 3, 12, 15), scale_factor=8, mode='bicubic').clamp(0, 1)
    sharpened = sharpen(image)
    assert (sharpened - image).abs().max() > 0.05
    torch.testing.assert_close(sharpened, USMSharp()(image), rtol=0, atol=1e-5)
    assert sharpen(image[:1]).shape == image[:1].shape  # another batch


def test_without_a_pool_batches_come_back_as_they_are(photos):
    degrade = SecondOrderDegradation({**SYNTHESIS, 'scale': 4, 'gt_size': 80}, CPU)
    dataset = RealESRGANPhotoDataset(section(photos))
    for number in range(2):
        data = photo_batch(dataset, number)
        lq, gt, _ = degrade(data)
        assert torch.equal(gt, data['gt']) and lq.shape == (2, 3, 20, 20)
        torch.testing.assert_close(lq * 255, (lq * 255).round())


def test_samples_are_those_of_basicsr(tmp_path):
    photos = write_photos(tmp_path / 'photos', side=416)
    (tmp_path / 'list.txt').write_text('2.png\n0.png (416,416,3)\n')
    listed = section(photos, meta_info=str(tmp_path / 'list.txt'), crop_size=400)
    ours, theirs = RealESRGANPhotoDataset(copy.deepcopy(listed)), RealESRGANDataset(copy.deepcopy(listed))
    assert ours.paths == theirs.paths == [str(photos / '2.png'), str(photos / '0.png')]
    for index in range(2):
        samples = []
        for dataset in (ours, theirs):
            seed(index)
            samples.append(dataset[index])
        broken = samples[1].pop('broken', '') + samples[0].pop('broken', '')
        assert broken == '' and samples[0].keys() == samples[1].keys()
        assert all(torch.equal(samples[0][name], samples[1][name]) for name in samples[0] if name != 'gt_path')


def test_without_a_list_all_photos_are_taken_and_crops_are_parts_of_basicsrs(tmp_path):
    photos = write_photos(tmp_path / 'photos', side=416)
    (photos / '1.png').rename(photos / 'my photo 1.png')
    (photos / 'notes.txt').touch()
    dataset = RealESRGANPhotoDataset(section(photos, crop_size=128))
    assert dataset.paths == [str(photos / name) for name in ('0.png', '2.png', 'my photo 1.png')]
    crops = []
    for number in range(3):
        seed(number)
        crops.append(dataset[2]['gt'])
        dataset.crop_size = 400
        seed(number)
        whole = dataset[2]['gt']
        dataset.crop_size = 128
        assert crops[-1].shape == (3, 128, 128)
        assert any(torch.equal(whole[:, y:y + 128, x:x + 128], crops[-1])
                   for y, x in np.argwhere((whole[0, :273, :273] == crops[-1][0, 0, 0]).numpy()))
    assert not torch.equal(crops[0], crops[1])


def test_photos_in_grey_with_transparency_and_of_16_bits_work(tmp_path):
    """OpenCV makes 8-bit colour of all of them for BasicSR, so there is nothing to refuse."""
    photos = tmp_path / 'photos'
    photos.mkdir()
    rng = np.random.default_rng(0)
    grey = rng.integers(0, 256, (400, 400), dtype=np.uint8)
    colour = rng.integers(0, 256, (400, 400, 4), dtype=np.uint8)
    cv2.imwrite(str(photos / 'a_grey.png'), grey)
    cv2.imwrite(str(photos / 'b_alpha.png'), colour)
    cv2.imwrite(str(photos / 'c_16bit.png'), grey.astype(np.uint16) * 257)
    dataset = RealESRGANPhotoDataset(section(photos, use_hflip=False, use_rot=False, crop_size=400))
    for index, expected in enumerate((np.repeat(grey[..., None], 3, 2), colour[..., 2::-1],
                                      np.repeat(grey[..., None], 3, 2))):
        found = (dataset[index]['gt'] * 255).round().permute(1, 2, 0).numpy()
        np.testing.assert_array_equal(found, expected)


def test_calibration_images_are_made_as_in_training_and_leave_random_numbers_alone(kd_opt, photos):
    opt = photo_options(kd_opt, photos, 'KDRealESRGANModel')
    options.validate(opt, True)
    preflight.check(opt)
    states = random.getstate(), np.random.get_state()[1].tolist(), torch.get_rng_state()
    first, second = (calibration_images(torch.nn.Identity(), CalibrationOptions(num=2), opt) for _ in range(2))
    assert (random.getstate(), np.random.get_state()[1].tolist()) == states[:2]
    assert torch.equal(torch.get_rng_state(), states[2])
    assert torch.equal(first, second) and first.shape == (2, 3, 20, 20)  # a crop of 80 has no more
    assert first.std() > 0.01 and not torch.equal(first[0], first[1])
    given = CalibrationOptions(num=1, size=32, dataroot=opt['datasets']['val']['dataroot_lq'])
    net = torch.nn.Conv2d(3, 3, 1)
    assert calibration_images(net, given, opt).shape == (1, 3, 32, 32)
