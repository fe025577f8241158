"""Test clips: of any name and length, one frame in memory; and what is refused."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from helpers.coordinate_clips import LEFT, TIME, TOP, values, write_clip

from basicsr_kd.data import TecoGANTestDataset, tecogan_test_dataset
from basicsr_kd.data.clips import read_clip
from basicsr_kd.errors import BadImageError, ClipError, OptionsError
from basicsr_kd.preflight import checks
from basicsr_kd.preflight.datasets import check_datasets


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Ground truth and low resolution of two clips of 3 and 11 frames, of different names."""
    write_clip(tmp_path / 'GT' / 'calendar', frames=3, name='Frame {:03d}.png', first=1)
    write_clip(tmp_path / 'LQ' / 'calendar', frames=3, height=15, width=18, name='{:04d}.png')
    write_clip(tmp_path / 'GT' / 'my walk', frames=11, height=40, width=64, name='scene2_{}_x.bmp', first=5)
    write_clip(tmp_path / 'LQ' / 'my walk', frames=11, height=10, width=16, name='im{}.png')
    return tmp_path


def options(root: Path, gt: bool = True, lq: bool = True, **more: Any) -> dict[str, Any]:
    roots = ({'dataroot_gt': str(root / 'GT')} if gt else {}) | ({'dataroot_lq': str(root / 'LQ')} if lq else {})
    return {'name': 'clips', 'type': 'TecoGANTestDataset', 'phase': 'val', 'scale': 4, **roots, **more}


def test_clips_and_frames_have_names_and_frames_the_order_of_their_numbers(root):
    dataset = TecoGANTestDataset(options(root))
    assert [dataset[index]['clip'] for index in range(len(dataset))] == ['calendar', 'my walk']
    assert dataset[0]['frames'] == ['Frame 001', 'Frame 002', 'Frame 003']
    assert dataset[1]['frames'] == [f'scene2_{number}_x' for number in range(5, 16)]  # 9 before 10
    for index in range(11):
        frame = dataset.frame('my walk', index)
        for image, size in ((frame['gt'], (40, 64)), (frame['lq'], (10, 16))):
            assert image.shape == (3, *size)
            assert set(values(image)[TIME].flat) == {10 * index}
            np.testing.assert_array_equal(values(image)[[TOP, LEFT]], np.mgrid[:size[0], :size[1]])


def test_ground_truth_or_low_resolution_alone(root):
    dataset = TecoGANTestDataset(options(root, lq=False))
    assert dataset.frame('calendar', 2).keys() == {'gt'}
    dataset = TecoGANTestDataset(options(root, gt=False))
    assert dataset[0] == {'clip': 'calendar', 'frames': ['0000', '0001', '0002']}
    assert dataset.frame('calendar', 2).keys() == {'lq'}


def test_one_frame_is_read_at_a_time(root, monkeypatch):
    read = []
    real = tecogan_test_dataset.read_image
    monkeypatch.setattr(tecogan_test_dataset, 'read_image', lambda path: read.append(path) or real(path))
    dataset = TecoGANTestDataset(options(root, lq=False))
    assert [item['clip'] for item in (dataset[0], dataset[1])] == ['calendar', 'my walk'] and read == []
    dataset.frame('my walk', 4)
    assert read == [str(root / 'GT/my walk/scene2_9_x.bmp')]


@pytest.mark.parametrize('low', [(13, 17), (14, 17), (13, 18), (14, 18)])
def test_ground_truth_of_any_size_is_cut_to_whole_pixels_of_low_resolution(tmp_path, low):
    write_clip(tmp_path / 'GT' / 'a', frames=2, height=54, width=71)
    write_clip(tmp_path / 'LQ' / 'a', frames=2, height=low[0], width=low[1])
    for lq in (True, False):
        frame = TecoGANTestDataset(options(tmp_path, lq=lq)).frame('a', 0)
        np.testing.assert_array_equal(values(frame['gt'])[[TOP, LEFT]], np.mgrid[:52, :68])
    frame = TecoGANTestDataset(options(tmp_path)).frame('a', 0)
    np.testing.assert_array_equal(values(frame['lq'])[[TOP, LEFT]], np.mgrid[:13, :17])


def test_some_clips_of_many(root, tmp_path):
    (tmp_path / 'list.txt').write_text('calendar 3 (60,72,3)\n')
    dataset = TecoGANTestDataset(options(root, lq=False, meta_info_file=str(tmp_path / 'list.txt')))
    assert [dataset[index]['clip'] for index in range(len(dataset))] == ['calendar']
    with pytest.raises(ClipError, match='has none of the clips of val_partition: REDS4. Expected 000, 011, 015, 020'):
        TecoGANTestDataset(options(root, val_partition='REDS4'))
    write_clip(root / 'GT' / '011')
    dataset = TecoGANTestDataset(options(root, lq=False, val_partition='REDS4'))
    assert [dataset[index]['clip'] for index in range(len(dataset))] == ['011']


def test_a_lists_sizes_are_those_of_the_ground_truth(root, tmp_path):
    (tmp_path / 'list.txt').write_text('calendar 3 (60,72,3)\n')
    dataset = TecoGANTestDataset(options(root, meta_info_file=str(tmp_path / 'list.txt')))
    assert dataset.frame('calendar', 0)['lq'].shape == (3, 15, 18)


def break_clip(root: Path, fault: str) -> None:
    gt, lq = root / 'GT' / 'calendar', root / 'LQ' / 'calendar'
    if fault == 'one frame':
        for name in ('Frame 002.png', 'Frame 003.png'):
            (gt / name).unlink()
    elif fault == 'missing':
        (gt / 'Frame 002.png').unlink()
    elif fault == 'several missing':
        (gt / 'Frame 003.png').rename(gt / 'Frame 009.png')
    elif fault == 'fewer':
        (lq / '0002.png').unlink()
    elif fault == 'twice':
        (gt / 'Frame 1.png').write_bytes((gt / 'Frame 001.png').read_bytes())
    elif fault == 'another name':
        (gt / 'cover.png').write_bytes((gt / 'Frame 001.png').read_bytes())
    elif fault == 'two numbers':
        (gt / 'Frame 003.png').rename(gt / 'Frame 003.png.bak')
        for number in (1, 2):
            (gt / f'Frame 00{number}.png').rename(gt / f'{number}_{number + 5}.png')
    elif fault == 'sizes':
        cv2.imwrite(str(gt / 'Frame 002.png'), np.zeros((60, 70, 3), np.uint8))
    elif fault == 'no image':
        (gt / 'Frame 002.png').write_text('hello')
    elif fault == 'empty':
        (root / 'GT' / 'new').mkdir()
    elif fault == 'low size':
        for path in lq.iterdir():
            cv2.imwrite(str(path), np.zeros((30, 36, 3), np.uint8))
    elif fault == 'clips':
        lq.rename(root / 'LQ' / 'foliage')


@pytest.mark.parametrize(('fault', 'words'), [
    ('one frame', ['GT/calendar has 1 frame(s): ', 'Frame 001.png', 'at least two']),
    ('missing', ['GT/calendar: number 2 is missing, Frame 003.png follows Frame 001.png', 'without gaps']),
    ('several missing', ['GT/calendar: number 3 to 8 is missing, Frame 009.png follows Frame 002.png']),
    ('fewer', ['Clip calendar has 3 frames in', '/GT and 2 in', '/LQ']),
    ('twice', ['GT/calendar has two frames of number 1: Frame 001.png and Frame 1.png']),
    ('another name', ['GT/calendar has frames cover.png and Frame 001.png', 'differ in one number only']),
    ('two numbers', ['GT/calendar has frames 1_6.png and 2_7.png', 'differ in one number only']),
    ('sizes', ['calendar/Frame 002.png has 70 x 60 pixels, expected 72 x 60 pixels as in', 'Frame 001.png']),
    ('no image', ['calendar/Frame 002.png cannot be read as an image']),
    ('empty', ['There is no image in', 'GT/new']),
    ('low size', ['LQ/calendar/0000.png has 36 x 30 pixels', 'Frame 001.png 72 x 60', '18 x 15 pixels', 'scale 4']),
    ('clips', ['different clips', 'only one of them has calendar, foliage', 'meta_info_file']),
])
def test_wrong_clips_name_the_file(root, fault, words):
    break_clip(root, fault)
    with pytest.raises(ClipError) as caught:
        TecoGANTestDataset(options(root))
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_frames_that_are_cut_short_are_told_when_they_are_read(root):
    path = root / 'GT' / 'calendar' / 'Frame 002.png'
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadImageError, match='Frame 002.png'):
        TecoGANTestDataset(options(root)).frame('calendar', 1)


@pytest.mark.parametrize(('change', 'words'), [
    ({'dataroot_gt': None, 'dataroot_lq': None}, ['datasets.val: dataroot_gt and dataroot_lq are missing']),
    ({'dataroot_gtt': 'GT'}, ['datasets.val.dataroot_gtt: unknown key', "'dataroot_gt'"]),
    ({'io_backend': {'type': 'lmdb'}}, ['datasets.val.io_backend.type', "'lmdb'", 'disk']),
    ({'scale': 'x4'}, ['datasets.val.scale', "'x4'", 'a whole number']),
])
def test_a_wrong_section(root, change, words):
    with pytest.raises(OptionsError) as caught:
        TecoGANTestDataset(options(root) | change)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_a_folder_of_frames_is_no_folder_of_clips(root):
    with pytest.raises(ClipError, match=f'There is no folder in .*calendar. .* that it is in: {root}/GT'):
        TecoGANTestDataset(options(root, lq=False, dataroot_gt=str(root / 'GT' / 'calendar')))
    clip = read_clip(root / 'GT' / 'calendar')
    assert (clip.name, len(clip.frames), clip.size) == ('calendar', 3, (60, 72))


def test_before_a_run_faults_are_told_with_the_options_path(root):
    opt = {'datasets': {'val_2': options(root)}, 'world_size': 1}
    check_datasets(opt)
    break_clip(root, 'missing')
    with pytest.raises(OptionsError, match='datasets.val_2: .*GT/calendar: number 2 is missing'):
        check_datasets(opt)
    opt['datasets']['val_2']['num_frame'] = 5
    with pytest.raises(OptionsError, match='datasets.val_2.num_frame: unknown key'):
        check_datasets(opt)


def test_a_metric_needs_ground_truth(kd_opt, root):
    kd_opt['datasets']['val'] = options(root, gt=False)
    with pytest.raises(OptionsError, match=r'val.metrics.psnr: .*datasets.val \(TecoGANTestDataset\) does not have'):
        checks._check_names(kd_opt)
    kd_opt['datasets']['val'] = options(root)
    checks._check_names(kd_opt)
