"""scripts/common/photos.py: LR like MATLAB's, BasicSR's sub-images, and photos of every colour mode."""
import os
from pathlib import Path

import cv2
import numpy as np
import pytest
from common.photos import PrepareError, Settings, cut_boxes, downscale, prepare_photo, read_rgb, sub_starts
from helpers.pictures import p3_profile
from PIL import Image

from basicsr_kd.utils.pictures import Picture, to_srgb


def noise(height: int, width: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, 256, (height, width, 3), dtype=np.uint8)


@pytest.mark.parametrize('benchmark', ['Set5', 'Set14'])
def test_lr_is_that_of_matlab_but_for_roundings(benchmark):
    root = os.environ.get('BASICSR_KD_DATA')
    if not root:
        pytest.skip('BASICSR_KD_DATA is not set: no published LR to compare with')
    means, most = [], 0
    for path in sorted((Path(root) / benchmark / 'HR').iterdir()):
        hr = np.asarray(Image.open(path).convert('RGB'))
        published = np.asarray(Image.open(Path(root) / benchmark / 'LR' / path.name).convert('RGB')).astype(int)
        ours = downscale(hr[:hr.shape[0] // 4 * 4, :hr.shape[1] // 4 * 4], 4)
        difference = np.abs(ours.astype(int) - published)
        means.append(difference.mean())
        most = max(most, int(difference.max()))
    print(f'{benchmark}: mean difference to MATLAB {np.mean(means):.3f}, largest {most}')
    # Measured: 0.122 and 6 on Set5, 0.128 and 12 on Set14. MATLAB rounds to 8 bits between the directions too.
    assert np.mean(means) < 0.13
    assert most <= 12


def test_lr_of_a_constant_photo_is_that_constant():
    assert (downscale(np.full((32, 48, 3), 173, np.uint8), 4) == 173).all()


def test_sub_images_start_where_basicsr_cuts_them():
    assert sub_starts(480, 160, 160, 0) == [0, 160, 320]
    assert sub_starts(481, 160, 160, 0) == [0, 160, 320, 321]
    assert sub_starts(481, 160, 160, 1) == [0, 160, 320]
    assert sub_starts(1356, 480, 240, 0) == [0, 240, 480, 720, 876]


def test_a_photo_of_321x481_gives_two_by_three_sub_images():
    boxes = cut_boxes(320, 480, Settings('x', sub_size=160, step=160))

    assert [end for end, _, _ in boxes] == ['_s001', '_s002', '_s003', '_s004', '_s005', '_s006']
    assert [(rows.start, cols.start) for _, rows, cols in boxes] == [
        (0, 0), (0, 160), (0, 320), (160, 0), (160, 160), (160, 320)]


@pytest.mark.parametrize(('mode', 'note'), [
    ('L', 'grey made RGB'), ('RGBA', 'transparency dropped'), ('CMYK', ''), ('RGB', '')])
def test_other_colour_modes_become_rgb_and_say_so(tmp_path, mode, note):
    image = Image.fromarray(noise(20, 30)).convert(mode)
    if mode == 'RGBA':
        image.putalpha(9)
    image.save(tmp_path / 'x.tif')

    rgb, said = read_rgb(tmp_path / 'x.tif')

    assert rgb.dtype == np.uint8 and np.array_equal(rgb, np.asarray(image.convert('RGB')))
    assert said == note


@pytest.mark.parametrize('channels', [1, 3])
def test_16_bits_are_scaled_rather_than_clipped(tmp_path, channels):
    ramp = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16, 1).repeat(channels, axis=2)
    cv2.imwrite(str(tmp_path / 'x.png'), ramp)

    rgb, note = read_rgb(tmp_path / 'x.png')

    assert (rgb.reshape(256, 3) == np.arange(256)[:, None]).all()
    assert note.startswith('16 bits made 8')


def test_colours_of_another_profile_become_srgb_which_training_takes_them_for(tmp_path):
    wide = noise(20, 30)
    Image.fromarray(wide).save(tmp_path / 'x.png', icc_profile=p3_profile())

    rgb, note = read_rgb(tmp_path / 'x.png')

    assert note.startswith('P3P3') and note.endswith(' made sRGB')
    assert np.array_equal(rgb, to_srgb(Picture(wide, p3_profile()))[0].pixels)
    assert np.abs(rgb.astype(int) - wide).max() > 10


def test_a_photo_taken_sideways_is_turned_upright(tmp_path):
    (tmp_path / 'out/HR').mkdir(parents=True)
    (tmp_path / 'out/LRx4').mkdir()
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.fromarray(noise(40, 64)).save(tmp_path / 'phone.png', exif=exif)

    outcome = prepare_photo(tmp_path / 'phone.png', 'phone', tmp_path / 'out', Settings('x', sub_size=40, step=24))

    assert outcome.pairs == 2
    assert (np.asarray(Image.open(tmp_path / 'out/HR/phone_s001.png')) == np.rot90(noise(40, 64), -1)[:40]).all()


@pytest.mark.parametrize('settings, message', [
    ({'sub_size': 98, 'step': 48}, '--sub-size must be a multiple of the scale 4'),
    ({'sub_size': 96, 'step': 50}, '--step must be a multiple of the scale 4'),
    ({'sub_size': 96, 'step': 0}, '--step must be a multiple'),
    ({'step': 48}, 'give --sub-size too'),
    ({'scale': 1}, '--scale must be 2 or more'),
])
def test_settings_that_cannot_work_are_refused(settings, message):
    with pytest.raises(PrepareError, match=message):
        Settings('x', **settings)
