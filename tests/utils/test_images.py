"""evaluation/images.py: whatever a folder holds comes out as 8-bit BGR, or is refused by name."""
import io
from pathlib import Path

import cv2
import numpy as np
import pytest
from basicsr.utils import imfrombytes
from PIL import Image

from basicsr_kd.errors import BadImageError, EvaluationError
from basicsr_kd.utils.images import image_files, read_image, write_image

RGB = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
BGR = RGB[:, :, ::-1]
OPAQUE = np.full((20, 30), 255, np.uint8)


def encoded(image: Image.Image | np.ndarray, kind: str, **options) -> bytes:
    stream = io.BytesIO()
    (image if isinstance(image, Image.Image) else Image.fromarray(image)).save(stream, kind, **options)
    return stream.getvalue()


@pytest.fixture
def read(tmp_path):
    """Reads an image from its file's bytes."""
    def read(content: bytes, name: str = 'x.png') -> np.ndarray:
        (tmp_path / name).write_bytes(content)
        return read_image(tmp_path / name)
    return read


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[274] = orientation
    return tags


GREY = RGB[:, :, 0]
PALETTE = Image.fromarray(RGB).quantize(16)
CMYK = Image.fromarray(np.dstack([RGB, GREY // 2]), 'CMYK')


@pytest.mark.parametrize(('content', 'expected'), [
    pytest.param(encoded(RGB, 'PNG'), BGR, id='png'),
    pytest.param(encoded(RGB, 'BMP'), BGR, id='bmp'),
    pytest.param(encoded(RGB, 'TIFF'), BGR, id='tiff'),
    pytest.param(encoded(RGB, 'WEBP', lossless=True), BGR, id='webp'),
    pytest.param(encoded(RGB, 'PPM'), BGR, id='ppm'),
    pytest.param(encoded(GREY, 'PNG'), np.dstack([GREY] * 3), id='grey'),
    pytest.param(encoded(Image.fromarray(GREY).convert('1'), 'PNG'),
                 np.dstack([np.asarray(Image.fromarray(GREY).convert('1')) * np.uint8(255)] * 3), id='black and white'),
    pytest.param(encoded(PALETTE, 'PNG'), np.asarray(PALETTE.convert('RGB'))[:, :, ::-1], id='palette'),
    pytest.param(encoded(np.dstack([RGB, OPAQUE]), 'PNG'), BGR, id='opaque alpha'),
    pytest.param(encoded(Image.merge('LA', [Image.fromarray(GREY), Image.fromarray(OPAQUE)]), 'PNG'),
                 np.dstack([GREY] * 3), id='grey with opaque alpha'),
    pytest.param(encoded(CMYK, 'TIFF'), np.asarray(CMYK.convert('RGB'))[:, :, ::-1], id='cmyk'),
])
def test_every_kind_of_file_becomes_8_bit_bgr(read, content, expected):
    image = read(content)

    assert image.dtype == np.uint8 and image.flags.c_contiguous
    assert np.array_equal(image, expected)


@pytest.mark.parametrize('ending', ['.png', '.tif'])
@pytest.mark.parametrize('channels', [1, 3])
def test_16_bits_are_rounded_to_the_nearest_of_8(read, ending, channels):
    values = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    image = read(cv2.imencode(ending, values if channels == 1 else np.dstack([values] * 3))[1].tobytes())

    assert np.array_equal(image, np.dstack([np.rint(values / 257).astype(np.uint8)] * 3))


def test_an_image_of_16_bits_with_opaque_alpha_loses_the_alpha(read):
    deep = np.dstack([BGR, OPAQUE]).astype(np.uint16) * 257

    assert np.array_equal(read(cv2.imencode('.png', deep)[1].tobytes()), BGR)


def test_a_cmyk_jpeg_has_the_colours_that_pillow_gives_it(read):
    smooth = cv2.resize(RGB[:4, :4], (32, 32))
    content = encoded(Image.fromarray(smooth).convert('CMYK'), 'JPEG', quality=95)

    image = read(content, 'x.jpg')

    assert np.array_equal(image, np.asarray(Image.open(io.BytesIO(content)).convert('RGB'))[:, :, ::-1])
    assert np.abs(image[:, :, ::-1].astype(int) - smooth).mean() < 4  # not inverted, not another order


@pytest.mark.parametrize('orientation', range(1, 9))
@pytest.mark.parametrize('kind', ['JPEG', 'PNG', 'WEBP', 'TIFF'])
def test_an_exif_orientation_is_applied_as_basicsr_does(read, kind, orientation):
    content = encoded(RGB, kind, exif=exif(orientation))

    image = read(content)

    assert image.shape == ((20, 30, 3) if orientation <= 4 else (30, 20, 3))
    assert np.array_equal(image, imfrombytes(content))


def test_images_with_opaque_alpha_and_of_cmyk_are_turned_too(read):
    turned = np.rot90(BGR, -1)
    printed = encoded(CMYK, 'JPEG', quality=95)

    assert np.array_equal(read(encoded(np.dstack([RGB, OPAQUE]), 'PNG', exif=exif(6))), turned)
    assert np.array_equal(read(encoded(CMYK, 'JPEG', quality=95, exif=exif(6))), np.rot90(read(printed), -1))


@pytest.mark.parametrize('largest', [1, 100, 255, 256, 1023, 4095, 65535])
@pytest.mark.parametrize(('kind', 'channels'), [('P5', 1), ('P6', 3)])
def test_values_of_pgm_and_ppm_are_scaled_by_the_largest_that_their_header_names(read, largest, kind, channels):
    values = np.random.default_rng(0).integers(0, largest + 1, (20, 30, channels))
    values[0, 0], values[0, 1] = 0, largest
    header = f'{kind}\n30 20\n{largest}\n'.encode()

    image = read(header + values.astype('u1' if largest < 256 else '>u2').tobytes(), 'x.ppm')

    expected = np.broadcast_to(np.rint(values / largest * 255), (20, 30, 3))[:, :, ::-1]
    assert image.min() == 0 and image.max() == 255
    assert np.abs(image - expected).max() <= (0 if largest < 256 else 1)  # 1: a half, rounded by 65535 first


def test_no_image_is_too_large_and_the_limit_of_pillow_is_as_before(read, monkeypatch):
    monkeypatch.setattr(Image, 'MAX_IMAGE_PIXELS', 100)

    assert np.array_equal(read(PNG), BGR)
    assert Image.MAX_IMAGE_PIXELS == 100
    with pytest.raises(BadImageError):
        read(PNG[:100])
    assert Image.MAX_IMAGE_PIXELS == 100


def test_an_image_too_large_for_opencv_is_refused_by_name(read, monkeypatch):
    def fails(content: np.ndarray, flags: int) -> None:
        raise cv2.error('too many pixels')
    monkeypatch.setattr(cv2, 'imdecode', fails)

    with pytest.raises(BadImageError, match=r'x\.png cannot be read by OpenCV: too many pixels'):
        read(PNG)


HALF_OPAQUE = OPAQUE.copy()
HALF_OPAQUE[3, 4] = 254
SECOND = Image.fromarray(RGB[::-1].copy())
PNG, JPEG, TIFF = encoded(RGB, 'PNG'), encoded(RGB, 'JPEG'), encoded(RGB, 'TIFF')


@pytest.mark.parametrize(('name', 'content', 'said'), [
    pytest.param('x.png', PNG[:len(PNG) // 2], 'cannot be read as an image: image file is truncated', id='png'),
    pytest.param('x.png', PNG[:-12], 'cannot be read', id='png without its end'),
    pytest.param('x.jpg', JPEG[:-100], 'cannot be read as an image: image file is truncated', id='jpeg'),
    pytest.param('x.jpg', JPEG[:-2], 'cannot be read as an image: image file is truncated', id='jpeg without its end'),
    pytest.param('x.tif', TIFF[:len(TIFF) // 2], 'cannot be read as an image', id='tiff'),
    pytest.param('x.png', PNG[:300] + b'xxxx' + PNG[304:], 'cannot be read as an image: broken data', id='damaged'),
    pytest.param('x.png', b'', 'cannot be read as an image: no known format', id='empty'),
    pytest.param('x.png', b'not an image', 'cannot be read as an image: no known format', id='text'),
    pytest.param('x.png', encoded(np.dstack([RGB, HALF_OPAQUE]), 'PNG'), 'pixels that are not opaque', id='alpha'),
    pytest.param('x.png', encoded(PALETTE, 'PNG', transparency=3), 'pixels that are not opaque', id='palette'),
    pytest.param('x.png', encoded(Image.fromarray(RGB), 'PNG', save_all=True, append_images=[SECOND]),
                 'holds 2 images', id='animated png'),
    pytest.param('x.webp', encoded(Image.fromarray(RGB), 'WEBP', save_all=True, append_images=[SECOND]),
                 'holds 2 images', id='animated webp'),
    pytest.param('x.tif', encoded(Image.fromarray(RGB), 'TIFF', save_all=True, append_images=[SECOND]),
                 'holds 2 images', id='pages'),
    pytest.param('x.tif', encoded(Image.fromarray(GREY.astype(np.float32)), 'TIFF'),
                 'holds float32 values. Expected 8 or 16 bits', id='float'),
])
def test_what_is_no_single_whole_opaque_image_is_refused_by_name(read, tmp_path, name, content, said):
    with pytest.raises(BadImageError, match=said) as error:
        read(content, name)
    assert error.value.path == str(tmp_path / name) and str(error.value).startswith(error.value.path)


def test_a_file_that_is_not_there_is_refused(tmp_path):
    with pytest.raises(BadImageError, match=r'none\.png cannot be read as an image: .*No such file'):
        read_image(tmp_path / 'none.png')


def test_what_is_written_is_read_again(tmp_path):
    write_image(tmp_path / 'new' / 'x.png', BGR)

    assert np.array_equal(read_image(tmp_path / 'new' / 'x.png'), BGR)


def test_a_folder_lists_its_images_sorted_and_nothing_else(tmp_path: Path):
    for name in ('b.png', 'a.JPG', 'c.tif', '.hidden.png', 'notes.txt', 'folder.png/d.png'):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()

    assert [path.name for path in image_files(tmp_path)] == ['a.JPG', 'b.png', 'c.tif']


def test_a_folder_without_images_is_refused(tmp_path):
    (tmp_path / 'folder').mkdir()
    (tmp_path / 'folder/notes.txt').touch()
    for name, said in (('none', 'does not exist'), ('folder/notes.txt', 'is a file'), ('folder', 'There is no image')):
        with pytest.raises(EvaluationError, match=said):
            image_files(tmp_path / name)
