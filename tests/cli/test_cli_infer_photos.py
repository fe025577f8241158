"""`basicsr-kd infer` on photos of every kind: results are of their kind, and what cannot be is told by name."""
import resource
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.utils import tensor2img
from helpers.infer import clip_to, files
from helpers.pictures import KINDS, exif, grey_profile, noise, p3_profile
from PIL import Image

from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.deploy import memory, photos
from basicsr_kd.deploy.formats import write_picture
from basicsr_kd.deploy.runner import Torch
from basicsr_kd.utils.arrays import as_tensor
from basicsr_kd.utils.pictures import Picture, read_picture


def smooth(channels, dtype=np.uint8, size=(24, 18)):
    small = noise(4, 4, channels, dtype)
    return cv2.resize(small, size[::-1], interpolation=cv2.INTER_CUBIC).reshape(*size, channels)


def write_photo(path, channels=3, dtype=np.uint8, size=(24, 18)):
    picture = Picture(smooth(channels, dtype, size), grey_profile() if channels < 3 else p3_profile())
    write_picture(Path(path), picture)
    return picture


@pytest.fixture
def to(infer_tool, teacher_file):
    """Enlarges photos: exit status, stdout, stderr."""
    return lambda output, *more, source='photos': infer_tool(*clip_to(output, *more, weights=teacher_file,
                                                                      source=source))


@torch.no_grad()
def by_network(teacher_file, pixels):
    """What it makes of (h, w, 3) of any type, in floating point."""
    image = torch.from_numpy(pixels.astype(np.float32) / np.iinfo(pixels.dtype).max).permute(2, 0, 1)[None]
    return build_from_file(str(teacher_file)).eval()(image)[0].permute(1, 2, 0).numpy()


@pytest.mark.parametrize(('channels', 'dtype'), KINDS)
def test_results_are_of_their_inputs_kind(to, teacher_file, channels, dtype):
    photo, top = write_photo('photos/x.png', channels, dtype), np.iinfo(dtype).max
    assert to('out')[0] == to('tiled', '--tile', 10, '--overlap', 5)[0] == 0
    expected = []
    if channels < 3:
        grey = by_network(teacher_file, photo.pixels[:, :, :1].repeat(3, axis=2))
        assert np.ptp(grey, axis=2).max() > 0.05  # the network itself makes colours of it
        expected.append(grey.mean(axis=2, keepdims=True))
    else:
        expected.append(by_network(teacher_file, photo.colours))
    if channels in (2, 4):
        expected.append(by_network(teacher_file, photo.alpha.repeat(3, axis=2)).mean(axis=2, keepdims=True))
    for output in ('out', 'tiled'):
        found = read_picture(f'{output}/x.png')
        assert found.pixels.shape == (96, 72, channels) and found.pixels.dtype == dtype
        assert found.profile == photo.profile
        levels = 1 if output == 'out' else top / 50
        assert np.abs(found.pixels - np.concatenate(expected, axis=2).clip(0, 1) * top).max() <= levels


def test_grey_in_a_file_of_colours_gets_no_cast(to):
    Path('photos').mkdir()
    Image.fromarray(smooth(1).repeat(3, axis=2)).save('photos/x.png', icc_profile=p3_profile())
    assert to('out')[0] == 0
    found = read_picture('out/x.png')
    assert found.pixels.shape[2] == 3 and found.is_grey and found.profile == p3_profile()


def test_opaque_alpha_stays_opaque(to):
    Path('photos').mkdir()
    Image.fromarray(smooth(3)).convert('RGBA').save('photos/x.png')
    assert to('out')[0] == 0
    assert read_picture('out/x.png').alpha.min() == 255


def test_a_background_takes_the_place_of_alpha(to, teacher_file):
    photo = write_photo('photos/x.png', 4)
    for colour, name in (('00ff80', (0, 255, 128)), ('#00ff80', (0, 255, 128)), ('black', (0, 0, 0))):
        assert to('out', '--background', colour, '--force')[0] == 0
        expected = tensor2img(torch.from_numpy(by_network(teacher_file, photo.on_background(name).pixels)
                                               .transpose(2, 0, 1)), rgb2bgr=False)
        found = read_picture('out/x.png')
        assert np.abs(found.pixels.astype(int) - expected).max() <= 1 and found.profile == p3_profile()
    status, _, errors = to('no', '--background', 'paper')
    assert status == 2 and 'paper is no colour. Expected white, black or RRGGBB' in errors


def test_photos_are_turned_as_their_camera_was(to):
    Path('photos').mkdir()
    Image.fromarray(smooth(3)).save('photos/x.jpg', exif=exif(6), quality=95)
    assert to('out')[0] == 0
    assert read_picture('out/x.png').pixels.shape == (72, 96, 3)
    assert 'exif' not in Image.open('out/x.png').info  # else it would be turned twice


@pytest.mark.parametrize('ending', ['png', 'jpg', 'jpeg', 'webp', 'tif', 'tiff', 'TIF'])
def test_one_photo_becomes_a_file_of_the_format_that_is_asked_for(to, ending):
    write_photo('photos/x.png', size=(18, 24))
    assert to(f'out.{ending}', source='photos/x.png')[0] == to('out')[0] == 0
    with Image.open(f'out.{ending}') as image:
        assert image.format == {'jpg': 'JPEG', 'tif': 'TIFF'}.get(ending.lower()[:3], ending.upper())
    found, lossless = read_picture(f'out.{ending}'), read_picture('out/x.png')
    assert found.profile == p3_profile() and np.abs(found.pixels.astype(int) - lossless.pixels).mean() < 4


def test_names_may_have_spaces_and_accents(to, clip_folder):
    name = 'Été à l’océan – 東京 %d'
    write_photo(f'my photos é/{name}.png')
    for output in ('out é 1', f'out é 1/{name}.webp'):
        assert to(output, '--force', source=f'my photos é/{name}.png')[0] == 0
    assert {path.name for path in Path('out é 1').iterdir()} == {f'{name}.png', f'{name}.webp'}


def test_a_broken_photo_is_named_and_the_rest_goes_on(to):
    for name in 'abcd':
        write_photo(f'photos/{name}.png')
    Path('photos/b.png').write_bytes(Path('photos/a.png').read_bytes()[:100])
    Path('photos/d.png').write_text('')
    status, output, errors = to('out')
    assert status == 1 and output.startswith('2 images enlarged 4 times') and output.count('\n') == 1
    lines = errors.splitlines()
    assert len(lines) == 2 and all(line.startswith('basicsr-kd infer: photos/') for line in lines)
    assert 'photos/b.png cannot be read as an image' in lines[0] and 'photos/d.png' in lines[1]
    assert files() >= {'out/a.png', 'out/c.png'} and len(list(Path('out').iterdir())) == 2


def test_only_broken_photos_are_a_refusal_and_one_is_one_line(to):
    for name in 'ab':
        Path('photos').mkdir(exist_ok=True)
        Path(f'photos/{name}.png').write_text('')
    before = files()
    status, output, errors = to('out')
    assert (status, output, errors.count('\n')) == (2, '', 3) and 'none of the 2 images can be enlarged' in errors
    status, output, errors = to('out', source='photos/a.png')
    assert (status, output, errors.count('\n')) == (2, '', 1) and files() == before


def test_a_photo_that_the_network_fails_on_is_named_and_the_rest_goes_on(to, monkeypatch):
    for name in 'abc':
        write_photo(f'photos/{name}.png')
    call = Torch.__call__
    outputs = iter([1, 1, np.nan, 1])  # the first of them tells how much memory is needed
    monkeypatch.setattr(Torch, '__call__', lambda self, images: call(self, images) * next(outputs))
    status, output, errors = to('out')
    assert status == 1 and output.startswith('2 images') and errors.count('\n') == 1
    assert 'makes values of photos/b.png that are not finite' in errors
    assert len(list(Path('out').iterdir())) == 2


def test_images_smaller_than_the_network_takes_are_padded_or_named(to, infer_tool):
    """RRDBNet of scale 2 wants an even number of pixels, an image of one row or column has none to mirror."""
    for name, size in (('row', (1, 30)), ('column', (30, 1)), ('dot', (1, 1))):
        write_photo(f'photos/{name}.png', size=size)
    write_checkpoint('two.pth', RRDBNet(3, 3, scale=2, num_feat=4, num_block=1, num_grow_ch=4).state_dict())
    for weights, scale in ((None, 4), ('two.pth', 2)):
        run = to if weights is None else lambda out: infer_tool(*clip_to(out, weights='two.pth', source='photos'))
        assert run(f'x{scale}')[0] == 0
        assert read_picture(f'x{scale}/row.png').pixels.shape == (scale, 30 * scale, 3)
        assert read_picture(f'x{scale}/column.png').pixels.shape == (30 * scale, scale, 3)
        assert read_picture(f'x{scale}/dot.png').pixels.shape == (scale, scale, 3)


def grey_and_alpha():
    write_photo('photos/x.png', 2)


REFUSED = {
    'wide for WebP': (lambda: write_photo('photos/x.png', size=(1, 4096)), ('out.webp',),
                      'photos/x.png would be 16384x4 pixels, and a side of a WebP has at most 16383. Write it as .png'),
    '16 bits in JPEG': (lambda: write_photo('photos/x.png', dtype=np.uint16), ('out.jpg',),
                        'photos/x.png has 16 bits a channel, and a JPEG has 8'),
    'alpha in JPEG': (grey_and_alpha, ('out.jpg',), 'has no alpha. Give --background, or write it as .png'),
    'grey profile in WebP': (grey_and_alpha, ('out.webp',), 'is grey with a colour profile, which a WebP cannot hold'),
    'JPEG 2000': (write_photo, ('out.jp2',), '--output out.jp2 ends in .jp2, which is not written. Expected a folder'),
    'HEIC': (write_photo, ('out.heic',), '--output out.heic ends in .heic, which is not written'),
    'BMP': (write_photo, ('out.bmp',), '--output out.bmp ends in .bmp, which is not written'),
    'small tiles': (write_photo, ('out', '--tile', 31), '--tile 31 is smaller than twice the overlap of 16: more would '
                    'be thrown away than kept. Expected at least 32, or a smaller --overlap'),
    'large overlap': (write_photo, ('out', '--tile', 64, '--overlap', 33), 'twice the overlap of 33'),
    'overlap of nothing': (write_photo, ('out', '--overlap', 8), '--overlap is for images in pieces. Expected --tile'),
    'batch of nothing': (write_photo, ('out', '--batch', 2), '--batch is for images in pieces. Expected --tile'),
    'empty batch': (write_photo, ('out', '--tile', 64, '--batch', 0), '--batch is 0. Expected at least 1'),
    'no folder': (write_photo, ('frnet.pth/out',), 'frnet.pth is a file'),
    'background of a video': (write_photo, ('out.mp4', '--background', 'white'), '--background is for images that '),
}


@pytest.mark.parametrize('name', REFUSED)
def test_what_cannot_be_is_told_before_the_work(to, monkeypatch, name):
    prepare, arguments, message = REFUSED[name]
    Path('photos').mkdir()
    prepare(*([] if prepare is not write_photo else ['photos/x.png']))
    before = files()
    monkeypatch.setattr(photos, 'enlarge_picture', None)
    status, output, errors = to(*arguments, source='photos/x.png' if arguments[0] != 'out.mp4' else 'clip')
    assert (status, output, errors.count('\n')) == (2, '', 1) and message in errors
    assert files() == before


def test_a_photo_that_does_not_fit_into_memory_is_told_before_the_work(to, monkeypatch):
    write_photo('photos/large.png', size=(300, 300))
    write_photo('photos/small.png')
    monkeypatch.setattr(memory, 'free_memory', lambda: 4e6)
    status, output, errors = to('out', '--tile', 32)
    assert status == 1 and output.startswith('1 image enlarged') and errors.count('\n') == 1
    assert 'photos/large.png 300x300, would become 1200x1200 pixels: the result alone takes 4.1 MiB of mem' in errors


@pytest.mark.parametrize('output', ['out', 'out.png', 'out.webp', 'out.tif', 'out.jpg'])
def test_a_full_disk_is_told_and_leaves_nothing(to, output):
    write_photo('photos/x.png', size=(60, 60))
    before = files()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (600, limits[1]))
    try:
        status, text, errors = to(output, source='photos/x.png')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert (status, text, errors.count('\n')) == (2, '', 1) and files() == before
    assert f'{output} cannot be written: ' in errors and 'File too large' in errors


def test_a_folder_that_cannot_be_written_is_told(to):
    write_photo('photos/x.png')
    status, text, errors = to('/proc/none/out')
    assert (status, text, errors.count('\n')) == (2, '', 1) and '/proc' in errors


def test_images_of_a_second_are_told(to, monkeypatch):
    write_photo('photos/a.png')
    shutil.copy('photos/a.png', 'photos/b.png')
    monkeypatch.setattr('sys.stderr.isatty', lambda: True)
    _, output, errors = to('out', '--tile', 10, '--overlap', 5)
    assert 'images/s. Written: out' in output and ' images/s]' in errors and '2/2' in errors


def test_tiles_and_the_whole_agree_with_the_old_reading_of_plain_colours(to, teacher_file):
    write_photo('photos/x.png')
    assert to('out')[0] == 0
    expected = tensor2img(build_from_file(str(teacher_file)).eval()(as_tensor(cv2.imread('photos/x.png'))).detach())
    assert np.abs(cv2.imread('out/x.png').astype(int) - expected).max() <= 1
