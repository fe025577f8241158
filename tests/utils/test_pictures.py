"""utils/pictures.py: a picture keeps the kind that its file has."""
import io
import zlib

import cv2
import numpy as np
import pytest
from helpers.pictures import KINDS, cmyk_profile, exif, grey_profile, noise, p3_profile
from PIL import Image, ImageCms

from basicsr_kd.deploy.formats import write_picture
from basicsr_kd.utils.images import read_image
from basicsr_kd.utils.pictures import Picture, read_picture, to_srgb

MODES = {1: 'L', 2: 'LA', 3: 'RGB', 4: 'RGBA'}


@pytest.mark.parametrize('ending', ['png', 'tif', 'webp'])
@pytest.mark.parametrize('channels', [1, 2, 3, 4])
def test_8_bits_are_read_as_pillow_reads_them(tmp_path, channels, ending):
    pixels = noise(20, 30, channels)
    path = tmp_path / f'x.{ending}'
    Image.fromarray(pixels.squeeze(), MODES[channels]).save(path, lossless=True, exact=True)

    picture = read_picture(path)

    expected = np.asarray(Image.open(path)).reshape(20, 30, -1)  # WebP has no grey
    assert picture.pixels.dtype == np.uint8 and picture.pixels.flags.c_contiguous
    assert np.array_equal(picture.pixels, expected)
    assert (picture.alpha is None) == (channels % 2 == 1) and picture.is_grey == (channels < 3)


@pytest.mark.parametrize('ending', ['png', 'tif'])
@pytest.mark.parametrize('channels', [1, 3, 4])
def test_16_bits_stay_16_bits(tmp_path, channels, ending):
    pixels = noise(20, 30, channels, np.uint16)
    cv2.imwrite(str(tmp_path / f'x.{ending}'), pixels if channels == 1 else
                cv2.cvtColor(pixels, cv2.COLOR_RGB2BGR if channels == 3 else cv2.COLOR_RGBA2BGRA))

    assert np.array_equal(read_picture(tmp_path / f'x.{ending}').pixels, pixels)


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize(('channels', 'dtype'), KINDS)
def test_an_exif_orientation_is_applied_to_every_kind(tmp_path, channels, dtype, orientation):
    pixels = noise(20, 30, channels, dtype)
    write_picture(tmp_path / 'x.png', Picture(pixels))
    content = (tmp_path / 'x.png').read_bytes()
    tags = exif(orientation).tobytes().removeprefix(b'Exif\0\0')
    block = len(tags).to_bytes(4, 'big') + b'eXIf' + tags
    checksum = zlib.crc32(b'eXIf' + tags).to_bytes(4, 'big')
    (tmp_path / 'x.png').write_bytes(content[:33] + block + checksum + content[33:])

    turned = np.asarray(Image.fromarray(np.arange(600, dtype=np.int32).reshape(20, 30)).transpose(
        {2: 0, 3: 3, 4: 1, 5: 5, 6: 4, 7: 6, 8: 2}[orientation])) if orientation > 1 else np.arange(600).reshape(20, 30)
    assert np.array_equal(read_picture(tmp_path / 'x.png').pixels, pixels.reshape(600, channels)[turned])


def test_see_through_palettes_and_colours_become_alpha(tmp_path):
    image = Image.fromarray(noise(20, 30, 3)).quantize(16)
    image.save(tmp_path / 'x.png', transparency=3)
    assert np.array_equal(read_picture(tmp_path / 'x.png').pixels, np.asarray(Image.open(tmp_path / 'x.png')
                                                                              .convert('RGBA')))
    Image.new('RGB', (30, 20), (1, 2, 3)).save(tmp_path / 'y.png', transparency=(1, 2, 3))
    assert read_picture(tmp_path / 'y.png').alpha.max() == 0


@pytest.mark.parametrize('ending', ['png', 'jpg', 'webp', 'tif'])
def test_a_colour_profile_is_read(tmp_path, ending):
    Image.fromarray(noise(20, 30, 3)).save(tmp_path / f'x.{ending}', icc_profile=p3_profile())
    assert read_picture(tmp_path / f'x.{ending}').profile == p3_profile()
    Image.fromarray(noise(20, 30, 3)).save(tmp_path / f'y.{ending}', icc_profile=b'none at all')
    assert read_picture(tmp_path / f'y.{ending}').profile is None


def test_a_profile_that_is_not_for_these_colours_is_left_out(tmp_path):
    Image.fromarray(noise(20, 30, 1)[:, :, 0]).save(tmp_path / 'x.jpg', icc_profile=p3_profile())
    assert read_picture(tmp_path / 'x.jpg').profile is None
    Image.fromarray(noise(20, 30, 1)[:, :, 0]).save(tmp_path / 'x.jpg', icc_profile=grey_profile())
    assert read_picture(tmp_path / 'x.jpg').profile == grey_profile()


@pytest.mark.parametrize('profile', [None, b'none at all', cmyk_profile()[:-900], cmyk_profile()])
def test_inks_become_colours_by_their_profile(tmp_path, profile):
    image = Image.new('CMYK', (8, 8), (255, 0, 255, 0))
    image.save(tmp_path / 'x.tif', icc_profile=profile)
    picture = read_picture(tmp_path / 'x.tif')
    assert picture.profile is None
    expected = (255, 255, 255) if profile == cmyk_profile() else image.convert('RGB').getpixel((0, 0))
    assert np.abs(picture.pixels.astype(int) - expected).max() <= 1


@pytest.mark.parametrize('dtype', [np.uint8, np.uint16])
def test_a_background_is_seen_where_there_is_nothing_in_front(dtype):
    top = np.iinfo(dtype).max
    pixels = np.zeros((2, 3, 4), dtype)
    pixels[:, :, 0] = top // 255 * 200
    pixels[0, :, 3] = 0, top // 255 * 51, top

    found = Picture(pixels, p3_profile()).on_background((0, 255, 255))

    assert found.profile and found.alpha is None and found.pixels.dtype == dtype
    expected = [(0, 255, 255), (40, 204, 204), (200, 0, 0)]
    assert np.array_equal(found.pixels[0], np.multiply(expected, top // 255))


def test_grey_becomes_colour_on_a_colour_and_stays_grey_on_grey():
    grey = Picture(noise(20, 30, 2), grey_profile())
    assert grey.on_background((9, 9, 9)).pixels.shape == (20, 30, 1) and grey.on_background((9, 9, 9)).profile
    coloured = grey.on_background((255, 0, 0))
    assert coloured.pixels.shape == (20, 30, 3) and coloured.profile is None and not coloured.is_grey
    opaque = Picture(noise(20, 30, 3))
    assert opaque.on_background((255, 0, 0)) is opaque


def test_colours_become_those_of_srgb():
    pixels = noise(20, 30, 4)
    found, name = to_srgb(Picture(pixels, p3_profile()))
    assert name.startswith('P3P3') and found.profile is None
    image = ImageCms.profileToProfile(Image.fromarray(pixels[:, :, :3].copy()), ImageCms.ImageCmsProfile(
        io.BytesIO(p3_profile())), ImageCms.createProfile('sRGB'))
    assert np.array_equal(found.colours, np.asarray(image)) and np.array_equal(found.alpha, pixels[:, :, 3:])
    assert np.abs(found.colours.astype(int) - pixels[:, :, :3]).max() > 10

    srgb = ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes()
    for profile in (None, srgb):
        same, name = to_srgb(Picture(pixels, profile))
        assert (name, same.profile) == ('', None) and same.pixels is pixels


def test_evaluation_sees_the_values_of_the_file_whatever_its_profile(tmp_path):
    Image.fromarray(noise(20, 30, 3)).save(tmp_path / 'x.png', icc_profile=p3_profile())
    assert np.array_equal(read_image(tmp_path / 'x.png'), noise(20, 30, 3)[:, :, ::-1])
