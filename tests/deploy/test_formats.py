"""deploy/formats.py: what is written is read again, by other programs' libraries too."""
import resource

import cv2
import numpy as np
import pytest
import tifffile
from helpers.pictures import KINDS, grey_profile, noise, p3_profile
from PIL import Image

from basicsr_kd.deploy.formats import FORMATS, lack, write_picture
from basicsr_kd.utils.pictures import Picture, read_picture


def picture(channels, dtype=np.uint8, size=(150, 70)):
    return Picture(noise(*size, channels, dtype), grey_profile() if channels < 3 else p3_profile())


@pytest.mark.parametrize(('channels', 'dtype'), KINDS)
def test_a_png_has_every_pixel_and_the_profile_of_every_kind(tmp_path, channels, dtype):
    written = picture(channels, dtype)
    write_picture(tmp_path / 'x.png', written)
    read = read_picture(tmp_path / 'x.png')
    assert read.pixels.dtype == dtype and np.array_equal(read.pixels, written.pixels)
    assert read.profile == written.profile


@pytest.mark.parametrize(('channels', 'dtype'), KINDS)
def test_a_tiff_too(tmp_path, channels, dtype):
    written = picture(channels, dtype)
    write_picture(tmp_path / 'x.tif', written)
    assert np.array_equal(tifffile.imread(tmp_path / 'x.tif').reshape(written.pixels.shape), written.pixels)
    if (channels, dtype) != (2, np.uint16):  # which neither Pillow nor OpenCV read
        read = read_picture(tmp_path / 'x.tif')
        assert np.array_equal(read.pixels, written.pixels) and read.profile == written.profile


@pytest.mark.parametrize('size', [(1, 1), (1, 300), (200, 1), (64, 3), (65, 3)])
def test_a_png_of_any_size_is_read_by_pillow_and_opencv(tmp_path, size):
    written = Picture(noise(*size, 3))
    write_picture(tmp_path / 'x.png', written)
    assert np.array_equal(np.asarray(Image.open(tmp_path / 'x.png')), written.pixels)
    assert np.array_equal(cv2.imread(str(tmp_path / 'x.png'))[:, :, ::-1], written.pixels)


@pytest.mark.parametrize(('ending', 'channels'), [('jpg', 1), ('jpg', 3), ('webp', 3), ('webp', 4)])
def test_jpeg_and_webp_are_near_and_keep_the_profile(tmp_path, ending, channels):
    small = noise(4, 4, channels)
    written = Picture(cv2.resize(small, (80, 80)).reshape(80, 80, channels), picture(channels).profile)
    write_picture(tmp_path / f'x.{ending}', written)
    read = read_picture(tmp_path / f'x.{ending}')
    assert np.abs(read.colours.astype(int) - written.colours).mean() < 2 and read.profile == written.profile
    assert read.alpha is None or np.array_equal(read.alpha, written.alpha)


def test_grey_is_grey_in_webp(tmp_path):
    write_picture(tmp_path / 'x.webp', Picture(noise(20, 30, 2)))
    read = read_picture(tmp_path / 'x.webp')
    assert read.is_grey and np.array_equal(read.alpha, noise(20, 30, 2)[:, :, 1:])


def test_opaque_alpha_is_left_out_of_a_jpeg(tmp_path):
    opaque = Picture(np.full((20, 30, 4), 255, np.uint8))
    assert lack(FORMATS['.jpg'], opaque, 4) == ''
    write_picture(tmp_path / 'x.jpg', opaque)
    assert read_picture(tmp_path / 'x.jpg').pixels.shape == (20, 30, 3)


@pytest.mark.parametrize(('ending', 'kind', 'said'), [
    ('.webp', (3, np.uint8, (10, 4096)), 'would be 16384x40 pixels, and a side of a WebP has at most 16383'),
    ('.jpg', (3, np.uint8, (16376, 1)), 'would be 4x65504 pixels, and a side of a JPEG has at most 65500'),
    ('.jpg', (3, np.uint16), 'has 16 bits a channel, and a JPEG has 8'),
    ('.webp', (1, np.uint16), 'has 16 bits a channel, and a WebP has 8'),
    ('.jpeg', (4, np.uint8), 'has pixels that are not opaque, and a JPEG has no alpha. Give --background'),
    ('.webp', (1, np.uint8), 'is grey with a colour profile, which a WebP cannot hold'),
    ('.webp', (3, np.uint8, (10, 4095)), ''), ('.png', (2, np.uint16), ''), ('.tiff', (2, np.uint16), ''),
])
def test_what_a_format_cannot_hold_is_told(ending, kind, said):
    found = lack(FORMATS[ending], picture(*kind), 4)
    assert said in found and bool(said) == bool(found)


def test_the_largest_webp_can_be_written(tmp_path):
    write_picture(tmp_path / 'x.webp', Picture(np.zeros((2, 16383, 3), np.uint8)))
    with pytest.raises(ValueError, match='5'):
        write_picture(tmp_path / 'x.webp', Picture(np.zeros((2, 16384, 3), np.uint8)))


@pytest.mark.parametrize('ending', FORMATS)
@pytest.mark.parametrize('room', [100, 0.5, 0.999])
def test_a_full_disk_is_an_error(tmp_path, ending, room):
    path, picture = tmp_path / f'x{ending}', Picture(noise(200, 300, 3))
    write_picture(path, picture)
    room = room if room >= 1 else int(path.stat().st_size * room)
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (room, limits[1]))
    try:
        with pytest.raises(OSError, match='File too large'):
            write_picture(path, picture)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
