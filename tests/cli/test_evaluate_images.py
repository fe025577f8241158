"""`basicsr-kd evaluate` on images that are not the usual ones: other formats, sizes and names, damaged files."""
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.evaluate import SETS, rewrite, written
from PIL import Image


@pytest.mark.parametrize('kind', ['16 bits', 'opaque alpha', 'cut by the scale', 'other names'])
def test_unusual_images_give_the_figures_of_the_usual_ones(tool, kind):
    tool('--weights', 'bicubic', *SETS, '--json', 'usual.json')
    if kind == '16 bits':
        rewrite('Set/HR/a.png', lambda image: image.astype(np.uint16) * 257, '.tif')
        rewrite('Set/LR/b.png', lambda image: (image.astype(np.uint32) * 257 + 100).clip(0, 65535).astype(np.uint16))
    elif kind == 'opaque alpha':
        rewrite('Set/HR/a.png', lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2BGRA))
    elif kind == 'cut by the scale':
        rewrite('Set/HR/a.png', lambda image: np.pad(image, ((0, 3), (0, 1), (0, 0)), 'edge'))
    else:
        for path in Path('Set/LR').iterdir():
            path.rename(path.with_stem(f'{path.stem}x4'))

    status, output, _ = tool('--weights', 'bicubic', *SETS, '--json', 'out.json')

    assert status == 0
    assert written()['methods'] == written('usual.json')['methods']
    assert ('ground truth cut to 4 times the size of LR: 1 (a)' in ' '.join(output.split())) == (kind[:3] == 'cut')


def test_a_grey_image_is_three_equal_channels(tool):
    for path in ('Set/HR/a.png', 'Set/LR/a.png'):
        rewrite(path, lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2GRAY))
    tool('--weights', 'bicubic', *SETS, '--json', 'grey.json')
    for path in ('Set/HR/a.png', 'Set/LR/a.png'):
        rewrite(path, lambda image: image)  # OpenCV reads grey as three channels

    assert tool('--weights', 'bicubic', *SETS, '--json', 'out.json')[0] == 0
    assert written()['methods'] == written('grey.json')['methods']


def test_a_cmyk_image_has_the_colours_that_pillow_gives_it(tool):
    printed = Image.open('Set/HR/a.png').convert('CMYK')
    printed.save('Set/HR/a.jpg', quality=95)
    Path('Set/HR/a.png').unlink()
    tool('--weights', 'bicubic', *SETS, '--json', 'cmyk.json')
    Image.open('Set/HR/a.jpg').convert('RGB').save('Set/HR/a.png')
    Path('Set/HR/a.jpg').unlink()

    assert tool('--weights', 'bicubic', *SETS, '--json', 'out.json')[0] == 0
    assert written()['methods'] == written('cmyk.json')['methods']


def test_a_truncated_file_is_named_and_skipped_only_if_asked_for_all_methods(tool, teacher_file):
    Path('Set/LR/b.png').write_bytes(Path('Set/LR/b.png').read_bytes()[:200])
    args = ('--weights', teacher_file, 'bicubic', *SETS, '--json', 'out.json')

    status, output, errors = tool(*args)
    assert (status, output) == (2, '') and not Path('out.json').exists()
    assert errors.startswith('basicsr-kd evaluate: Set/LR/b.png cannot be read as an image: image file is truncated')
    assert '--skip-bad' in errors

    status, output, _ = tool(*args, '--skip-bad')
    assert status == 0 and 'Skipped: Set/LR/b.png cannot be read as an image' in output
    assert list(written()['skipped']) == ['Set/LR/b.png'] and written()['sets'][0]['images'] == ['a', 'c']
    assert all(list(method['scores']['Set']['images']['psnr']) == ['a', 'c'] for method in written()['methods'])


def test_unusual_images_that_no_figure_should_be_of_are_refused(tool):
    rewrite('Set/HR/a.png', lambda image: np.dstack([image, np.arange(image[:, :, 0].size).reshape(
        image.shape[:2]) % 256]).astype(np.uint8))
    status, _, errors = tool('--weights', 'bicubic', *SETS)
    assert status == 2 and 'Set/HR/a.png has pixels that are not opaque. Expected' in errors
