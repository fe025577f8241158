"""Sizes of pairs of images are looked at before a run: the scale, and the crops."""
from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from basicsr_kd import options, preflight
from basicsr_kd.data import header_sizes as header_sizes_module
from basicsr_kd.data.header_sizes import header_sizes
from basicsr_kd.errors import OptionsError


def write(path: Path, width: int, height: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), np.zeros((height, width, 3), np.uint8))


def check(opt: dict) -> None:
    options.validate(opt, True)
    preflight.check(opt)


@pytest.mark.parametrize(('phase', 'low', 'high', 'words'), [
    ('train', (40, 36), (160, 144), ''), ('val', (40, 36), (163, 147), ''),
    ('train', (40, 36), (80, 72), r'a.png has 40x36 pixels and its .*80x72. Expected 160x144 at scale: 4; these are'),
    ('train', (40, 36), (163, 144), r'163x144. Expected 160x144 at scale: 4$'),
    ('val', (40, 36), (80, 72), 'these are 2 times as many on each side'),
    ('val', (40, 36), (159, 144), 'Expected 160x144'), ('val', (40, 36), (164, 144), 'Expected 160x144'),
    ('train', (31, 40), (124, 160), r'HR/a.png has 124x160 pixels, expected at least 128x128 \(gt_size\)')])
def test_sizes_of_pairs(kd_opt, tmp_path, phase, low, high, words):
    for index in range(2):
        write(tmp_path / 'LR' / f'{"ab"[index]}.png', *low)
        write(tmp_path / 'HR' / f'{"ab"[index]}.png', *high)
    kd_opt['datasets'][phase].update(dataroot_gt=str(tmp_path / 'HR'), dataroot_lq=str(tmp_path / 'LR'))
    if not words:
        check(kd_opt)
        assert kd_opt['datasets'][phase]['type'] == 'NamedPairedImageDataset'
        return
    with pytest.raises(OptionsError, match=rf'datasets.{phase}: .*{words}'):
        check(kd_opt)


def test_sizes_in_an_lmdb(kd_opt, tmp_path):
    for kind, side in (('HR', 128), ('LR', 64)):
        (tmp_path / f'{kind}.lmdb').mkdir()
        (tmp_path / f'{kind}.lmdb' / 'meta_info.txt').write_text(f'a.png ({side},{side},3) 1\nb.png ({side},{side},3)')
    kd_opt['datasets']['train'].update(dataroot_gt=str(tmp_path / 'HR.lmdb'), dataroot_lq=str(tmp_path / 'LR.lmdb'),
                                       io_backend={'type': 'lmdb'})
    with pytest.raises(OptionsError, match=r'datasets.train: a has 64x64 .*128x128. Expected 256x256 at scale: 4; .*2'):
        check(kd_opt)


def test_a_batch_larger_than_an_lmdb_is_refused(kd_opt, tmp_path):
    for kind, side in (('HR', 128), ('LR', 32)):
        (tmp_path / f'{kind}.lmdb').mkdir()
        (tmp_path / f'{kind}.lmdb' / 'meta_info.txt').write_text(f'a.png ({side},{side},3) 1\n')
    kd_opt['datasets']['train'].update(dataroot_gt=str(tmp_path / 'HR.lmdb'), dataroot_lq=str(tmp_path / 'LR.lmdb'),
                                       io_backend={'type': 'lmdb'}, batch_size_per_gpu=8)
    with pytest.raises(OptionsError, match=r'datasets.train: 1 images, the batch is 8'):
        check(kd_opt)


def test_what_is_no_image_is_named_and_may_be_let_pass(kd_opt, tmp_path):
    for index in range(3):
        write(tmp_path / 'LR' / f'{index}.png', 32, 32)
        write(tmp_path / 'HR' / f'{index}.png', 128, 128)
    (tmp_path / 'HR' / '1.png').write_text('no image')
    kd_opt['datasets']['train'].update(dataroot_gt=str(tmp_path / 'HR'), dataroot_lq=str(tmp_path / 'LR'))
    with pytest.raises(OptionsError, match=r'datasets.train: .*HR/1.png cannot be read as an image.*max_bad_images: 1'):
        check(kd_opt)
    kd_opt['datasets']['train'].update(max_bad_images=1)
    check(kd_opt)


def test_photos_that_opencv_turns_have_the_turned_size(tmp_path):
    exif = Image.Exif()
    exif[0x0112] = 6
    Image.new('RGB', (20, 10)).save(tmp_path / 'a.jpg', exif=exif)
    path = str(tmp_path / 'a.jpg')
    assert header_sizes([path]) == {path: (10, 20)} and cv2.imread(path).shape[:2] == (20, 10)


def test_sizes_of_many_are_remembered_until_a_file_changes(tmp_path, monkeypatch):
    monkeypatch.setattr(header_sizes_module, '_MANY', 2)
    monkeypatch.setattr(header_sizes_module, 'cache_folder', lambda: tmp_path)
    paths = [str(tmp_path / f'{index}.png') for index in range(3)]
    for path in paths:
        write(Path(path), 8, 4)
    assert set(header_sizes(paths).values()) == {(8, 4)}
    kept = json.loads((tmp_path / 'image_sizes.json').read_text())
    assert set(kept) == set(paths)
    read: list[str] = []
    monkeypatch.setattr(header_sizes_module, '_size', lambda path: read.append(path) or (1, 1))
    assert set(header_sizes(paths).values()) == {(8, 4)} and not read
    write(Path(paths[0]), 16, 4)
    assert header_sizes(paths)[paths[0]] == (1, 1) and read == paths[:1]


@pytest.mark.parametrize(('color', 'channels', 'words'), [
    ('y', 3, r'datasets.train: its images have 1 channels, and network_g takes 3. Leave color: y out there'),
    (None, 1, r'datasets.train: its images have 3 channels, and network_g takes 1. Expected color: y there'),
    ('y', 1, '')])
def test_images_have_the_channels_that_the_network_takes(kd_opt, color, channels, words):
    for key in ('distill_opt', 'gan_opt', 'optim_d'):
        del kd_opt['train'][key]
    del kd_opt['teacher'], kd_opt['network_d']
    kd_opt['network_g'].update(num_in_ch=channels, num_out_ch=channels)
    for dataset in kd_opt['datasets'].values():
        dataset['color'] = color
    if not words:
        check(kd_opt)
        return
    with pytest.raises(OptionsError, match=words):
        check(kd_opt)
