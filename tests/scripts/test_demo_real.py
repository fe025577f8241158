"""The pieces of scripts/demo_real.py; the commands that it calls have tests of their own."""
from __future__ import annotations

import subprocess
import sys

import cv2
import demo_real
import numpy as np
import pytest
from common.demo_photos import make_demo_data

from basicsr_kd.utils.images import image_files, read_image


@pytest.fixture(scope='module')
def data(tmp_path_factory):
    folder = tmp_path_factory.mktemp('data')
    make_demo_data(folder)
    return folder


def test_calibration_is_half_photos_as_they_are_and_half_smaller_ones(data, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_real, 'DATA', data)
    demo_real.make_calibration(tmp_path)
    files = image_files(tmp_path)
    assert len(files) == demo_real.CALIBRATION
    assert sum(file.name.startswith('as_is_') for file in files) == demo_real.CALIBRATION // 2
    assert {read_image(file).shape for file in files} == {(demo_real.SIDE, demo_real.SIDE, 3)}
    held_out = [read_image(file) for file in image_files(data / 'val' / 'HR')]
    assert not any(image.shape == other.shape and np.array_equal(image, other)
                   for image in map(read_image, files) for other in held_out)


def test_the_picture_has_a_row_a_photo_and_a_column_a_method(data, tmp_path, monkeypatch):
    monkeypatch.setattr(demo_real, 'DATA', data)
    names = [file.stem for file in image_files(data / 'val' / 'LRx4')]
    for value, method in ((50, 'bicubic'), (200, 'half')):
        (tmp_path / method / 'val').mkdir(parents=True)
        for name in names:
            cv2.imwrite(str(tmp_path / method / 'val' / f'{name}.png'), np.full((192, 192, 3), value, np.uint8))
    demo_real.make_picture(tmp_path, ['bicubic', 'half'], tmp_path / 'picture.png')
    picture = cv2.imread(str(tmp_path / 'picture.png'))
    assert picture.shape == (192 * len(names), 3 * 192, 3)
    assert (picture[:, 192:384] == 50).all() and (picture[:, 384:] == 200).all()


def test_a_command_that_fails_ends_the_demo(capfd):
    with pytest.raises(subprocess.CalledProcessError):
        demo_real.run('basicsr-kd', 'prune', '--weights', 'none.pth', '--ratio', '0.5', '--out', 'x.pth')
    told = capfd.readouterr()
    assert '$ basicsr-kd prune --weights none.pth' in told.out and 'none.pth' in told.err


def test_it_runs_from_the_root_alone(tmp_path):
    found = subprocess.run([sys.executable, demo_real.__file__, '--minutes', '0'], cwd=tmp_path, capture_output=True,
                           text=True)
    assert found.returncode == 1 and "run it from the repository's root" in found.stderr
    assert not list(tmp_path.iterdir())
