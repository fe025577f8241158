"""Training clips: what is cut, moved, turned and reflected can be read off the pixels; and what is refused."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from basicsr.data import build_dataset
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from basicsr.utils.options import set_random_seed
from helpers.coordinate_clips import LEFT, TIME, TOP, values, write_clip
from torch.utils.data import DataLoader

from basicsr_kd.data import TecoGANTrainDataset, clips
from basicsr_kd.errors import BadImageError, ClipError, OptionsError
from basicsr_kd.preflight.datasets import check_datasets


@pytest.fixture(autouse=True)
def _same_draws_in_every_test() -> None:
    set_random_seed(0)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Two clips of 5 and 3 frames."""
    write_clip(tmp_path / 'GT' / '000', frames=5)
    write_clip(tmp_path / 'GT' / '001', frames=3)
    return tmp_path / 'GT'


def options(root: Path, **more: Any) -> dict[str, Any]:
    return {'name': 'clips', 'type': 'TecoGANTrainDataset', 'phase': 'train', 'scale': 4, 'dataroot_gt': str(root),
            'num_worker_per_gpu': 0, 'batch_size_per_gpu': 1, 'num_frame': 6, 'gt_size': 32, **more}


def plain(root: Path, **more: Any) -> TecoGANTrainDataset:
    """Without anything random but the place of the crop."""
    return TecoGANTrainDataset(options(root, use_hflip=False, use_rot=False, random_reverse=False,
                                       **{'moving_first_frame': 0, **more}))


def test_a_crop_with_a_border_of_4_from_consecutive_frames(root):
    item = plain(root, num_frame=4)[1]
    assert item['gt'].shape == (4, 3, 40, 40) and item['key'] == '000/1'
    images = values(item['gt'])
    assert [set(image[TIME].flat) for image in images] == [{10}, {20}, {30}, {40}]
    for image in images:
        np.testing.assert_array_equal(image[TOP], images[0, TOP, :1, :1] + np.arange(40)[:, None].repeat(40, 1))
        np.testing.assert_array_equal(image[LEFT], images[0, LEFT, :1, :1] + np.arange(40)[None].repeat(40, 0))


def test_crops_are_taken_from_everywhere(root):
    dataset = plain(root, num_frame=2)
    corners = np.array([values(dataset[0]['gt'])[0, [TOP, LEFT], 0, 0] for _ in range(300)])
    np.testing.assert_array_equal(corners.min(axis=0), [0, 0])
    np.testing.assert_array_equal(corners.max(axis=0), [20, 32])


def test_every_frame_is_a_start_and_a_clips_end_is_reflected(root):
    dataset = plain(root)
    assert len(dataset) == 8
    numbers = [[int(image[TIME, 0, 0]) // 10 for image in values(dataset[index]['gt'])] for index in range(8)]
    assert numbers == [[0, 1, 2, 3, 4, 3], [1, 2, 3, 4, 3, 2], [2, 3, 4, 3, 2, 1], [3, 4, 3, 2, 1, 0],
                       [4, 3, 2, 1, 0, 1], [0, 1, 2, 1, 0, 1], [1, 2, 1, 0, 1, 2], [2, 1, 0, 1, 2, 1]]


def test_a_moved_first_frame(tmp_path):
    write_clip(tmp_path / 'GT' / 'a', frames=2, height=120, width=140)
    dataset = plain(tmp_path / 'GT', moving_first_frame=1, num_frame=10)
    shifts = []
    for _ in range(40):
        images = values(dataset[1]['gt'])
        assert set(images[:, TIME].flat) == {10}
        np.testing.assert_array_equal(images[:, TOP] - images[:, TOP, :1, :1],
                                      np.broadcast_to(np.arange(40)[:, None], (10, 40, 40)))
        shifts.append(np.diff(images[:, [TOP, LEFT], 0, 0], axis=0))
    found, counts = np.unique(np.concatenate(shifts), return_counts=True)
    assert found.tolist() == [-4, -3, -2, -1, 0, 1, 2, 3, 4]
    assert counts[0] + counts[-1] < counts[1:-1].mean() * 1.5  # as floor of a uniform number from -3.5 to 4.5


def test_a_walk_stops_where_the_frame_ends(tmp_path):
    write_clip(tmp_path / 'GT' / 'a', frames=2, height=40, width=43)
    dataset = plain(tmp_path / 'GT', moving_first_frame=1, num_frame=10)
    for _ in range(10):
        images = values(dataset[0]['gt'])
        assert set(images[:, TOP, 0, 0]) == {0}
        assert images.shape == (10, 3, 40, 40) and images[:, LEFT].max() <= 42


def test_a_third_of_the_clips_is_a_moved_frame(root):
    dataset = TecoGANTrainDataset(options(root))
    moved = [len(np.unique(values(dataset[0]['gt'])[:, TIME])) == 1 for _ in range(400)]
    assert 0.23 < np.mean(moved) < 0.37


def test_flips_turns_and_time_reversal_are_those_of_the_whole_clip(root):
    dataset = TecoGANTrainDataset(options(root, moving_first_frame=0, num_frame=3))
    seen = set()
    for _ in range(200):
        images = values(dataset[0]['gt'])
        times = tuple(images[:, TIME, 0, 0] // 10)
        orientations = {(tuple(image[TOP, [1, 0], [0, 1]] - image[TOP, 0, 0]),
                         tuple(image[LEFT, [1, 0], [0, 1]] - image[LEFT, 0, 0])) for image in images}
        assert len(orientations) == 1
        seen.add((times, *orientations))
    assert {times for times, _ in seen} == {(0, 1, 2), (2, 1, 0)}
    assert len(seen) == 2 * 8


@pytest.mark.parametrize('moving', [0, 1])
def test_a_frame_that_is_used_more_than_once_is_flipped_once(root, moving):
    dataset = TecoGANTrainDataset(options(root, moving_first_frame=moving, use_rot=False))
    for _ in range(10):
        steps = np.diff(values(dataset[5]['gt'])[:, LEFT])
        assert len(np.unique(steps)) == 1


@pytest.mark.parametrize(('key', 'count'), [('use_hflip', 2), ('use_rot', 4), ('random_reverse', 2)])
def test_each_can_be_had_alone(root, key, count):
    off = dict.fromkeys(('use_hflip', 'use_rot', 'random_reverse'), False)
    dataset = TecoGANTrainDataset(options(root, moving_first_frame=0, num_frame=2, **{**off, key: True}))
    seen = set()
    for _ in range(60):
        images = values(dataset[0]['gt'])
        seen.add((tuple(images[:, TIME, 0, 0]), *np.diff(images[0, [TOP, LEFT], :2, 0]).flat,
                  *np.diff(images[0, [TOP, LEFT], 0, :2]).flat))
    assert len(seen) == count


@pytest.fixture
def database(root: Path, tmp_path: Path, capsys: pytest.CaptureFixture) -> Path:
    """The same clips in BasicSR's LMDB."""
    paths = sorted(str(path.relative_to(root)) for path in root.rglob('*.png'))
    make_lmdb_from_imgs(str(root), str(tmp_path / 'GT.lmdb'), paths, [path.removesuffix('.png') for path in paths],
                        map_size=2 ** 24)
    return tmp_path / 'GT.lmdb'


def test_an_lmdb_holds_the_same_clips(root, database):
    from_folders = TecoGANTrainDataset(options(root))
    from_lmdb = TecoGANTrainDataset(options(database, io_backend={'type': 'lmdb'}))
    assert len(from_folders) == len(from_lmdb)
    for index in range(len(from_folders)):
        set_random_seed(index)
        expected = from_folders[index]
        set_random_seed(index)
        found = from_lmdb[index]
        assert found['key'] == expected['key']
        np.testing.assert_array_equal(found['gt'], expected['gt'])


def test_a_loader_with_a_worker_of_its_own(database):
    dataset = TecoGANTrainDataset(options(database, io_backend={'type': 'lmdb'}))
    batch = next(iter(DataLoader(dataset, batch_size=2, num_workers=1)))
    assert batch['gt'].shape == (2, 6, 3, 40, 40) and batch['key'] == ['000/0', '000/1']


@pytest.mark.parametrize('lines', ['001 3 (60,72,3)\n', '001 3\n', '\n001'])
def test_a_list_says_which_clips_to_take(root, tmp_path, lines):
    (tmp_path / 'list.txt').write_text(lines)
    dataset = TecoGANTrainDataset(options(root, meta_info_file=str(tmp_path / 'list.txt')))
    assert [clip.name for clip in dataset.clips] == ['001'] and len(dataset) == 3


def test_clips_further_down_have_to_be_listed(root, tmp_path):
    (tmp_path / 'list.txt').write_text('GT/000 5 (60,72,3)\n')
    dataset = TecoGANTrainDataset(options(tmp_path, meta_info_file=str(tmp_path / 'list.txt')))
    assert dataset[0]['key'] == 'GT/000/0'


def test_no_header_is_read_where_the_list_has_the_sizes(root, tmp_path, monkeypatch):
    monkeypatch.setattr(clips, '_size_of_file', lambda path: pytest.fail(f'{path} was opened'))
    (tmp_path / 'list.txt').write_text('000 5 (60,72,3)\n001 3 (60,80,3)\n')
    dataset = TecoGANTrainDataset(options(root, meta_info_file=str(tmp_path / 'list.txt')))
    dataset[0]
    with pytest.raises(ClipError, match='00.png .*has 72 x 60 pixels, expected 80 x 60 pixels'):
        dataset[5]


def test_headers_are_read_once_in_a_process(root, monkeypatch):
    opened = []
    real = clips.Image.open
    monkeypatch.setattr(clips.Image, 'open', lambda path: opened.append(path) or real(path))
    for _ in range(2):
        plain(root)
        assert len(opened) == len(set(opened)) == 8
    cv2.imwrite(opened[0], np.zeros((64, 72, 3), np.uint8))
    with pytest.raises(ClipError, match='has 72 x 60 pixels, expected 72 x 64 pixels as in .*000/00000000.png'):
        plain(root)


def test_reds_clips_for_validation_are_left_out(root):
    dataset = TecoGANTrainDataset(options(root, val_partition='REDS4'))
    assert [clip.name for clip in dataset.clips] == ['001']


def test_basicsr_builds_it_from_a_section_with_defaults(root):
    opt = options(root)
    opt.pop('num_frame'), opt.pop('gt_size')
    with pytest.raises(ClipError, match='72 x 60 pixels, too few for gt_size 128 .* Set gt_size to 32 at most'):
        build_dataset(opt)
    assert len(build_dataset({**opt, 'gt_size': 32})[0]['gt']) == 10


@pytest.mark.parametrize(('change', 'error', 'words'), [
    ({'gt_size': 100}, OptionsError, ['datasets.train.gt_size: found 100', 'crops of 25 pixels', 'gt_size 96 or 128']),
    ({'gt_size': 24}, OptionsError, ['gt_size: found 24', 'crops of 6 pixels', 'there: gt_size 32']),
    ({'gt_size': 40, 'scale': 2}, OptionsError, ['crops of 20 pixels', 'gt_size 32 or 48']),
    ({'gt_size': 64}, ClipError, ['000/00000000.png has 72 x 60', 'gt_size 64', 'Set gt_size to 32 at most']),
    ({'num_frames': 5}, OptionsError, ['datasets.train.num_frames: unknown key', "did you mean 'num_frame'"]),
    ({'num_frame': 1}, OptionsError, ['datasets.train.num_frame: found 1', '>= 2']),
    ({'moving_first_frame': 30}, OptionsError, ['datasets.train.moving_first_frame: found 30', '<= 1']),
    ({'io_backend': {'type': 'lmbd'}}, OptionsError, ['datasets.train.io_backend.type', "'lmbd'", 'disk, lmdb']),
    ({'io_backend': {'type': 'lmdb'}}, ClipError, ['GT/meta_info.txt does not exist', 'io_backend type: disk']),
    ({'val_partition': 'REDS5'}, OptionsError, ['val_partition', "'REDS5'", 'REDS4, official']),
    ({'meta_info_file': 'no.txt'}, ClipError, ['no.txt cannot be read', 'No such file']),
    ({'dataroot_gt': 'no/GT'}, ClipError, ['no/GT does not exist']),
])
def test_a_wrong_section(root, change, error, words):
    with pytest.raises(error) as caught:
        TecoGANTrainDataset(options(root) | change)
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize(('lines', 'words'), [
    ('000 100 (60,72,3)', ['GT/000 has 5 frames, and 100 by the list']), ('002 5', ["'002'", "did you mean '001'?"]),
    ('000 5 60x72', ['list.txt, line 1', "'000 5 60x72'", '000 100 (720,1280,3)']), ('\n', ['list.txt lists no clips']),
])
def test_a_wrong_list(root, tmp_path, lines, words):
    (tmp_path / 'list.txt').write_text(lines)
    with pytest.raises(ClipError) as caught:
        TecoGANTrainDataset(options(root, meta_info_file=str(tmp_path / 'list.txt')))
    for word in words:
        assert word in str(caught.value), str(caught.value)


@pytest.mark.parametrize(('lines', 'words'), [
    ('000_00000000.png (60,72,3) 1', ["'000_00000000.png (60,72,3) 1'", 'Expected clip/frame and size']),
    ('000/00000000.png (60,72,3) 1\n000/00000002.png (60,72,3) 1', ['000: number 1 is missing']),
    ('000/00000000.png (60,72,3) 1\n000/00000001.png (60,80,3) 1', ['000/00000001 has 80 x 60', 'expected 72 x 60']),
    ('', ['meta_info.txt is empty']),
])
def test_a_wrong_lmdb(database, lines, words):
    (database / 'meta_info.txt').write_text(lines)
    with pytest.raises(ClipError) as caught:
        TecoGANTrainDataset(options(database, io_backend={'type': 'lmdb'}))
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_frames_that_turn_out_to_be_none(root, database):
    dataset, path = plain(root), root / '000' / '00000000.png'
    path.write_bytes(path.read_bytes()[:20])
    if len(dataset.clips) > 1:
        assert dataset[0]['broken'] == str(path) and dataset[len(dataset) - 1]['broken'] in ('', str(path))
    for other in root.rglob('*.png'):
        other.write_bytes(b'')
    with pytest.raises(BadImageError, match='00000000.png cannot be read as an image, and no crop of these clips'):
        dataset[0]
    with pytest.raises(ClipError, match='00000000.png cannot be read as an image: no known format'):
        plain(root)
    meta = (database / 'meta_info.txt').read_text().replace('000/', '005/')
    (database / 'meta_info.txt').write_text(meta)
    assert '005/00000000' in plain(database, io_backend={'type': 'lmdb'})[3]['broken']


def test_before_a_run_all_this_is_told_with_the_options_path(root, tmp_path):
    opt = {'model_type': 'TecoGANModel', 'is_train': True, 'datasets': {'train': options(root)}, 'world_size': 1}
    check_datasets(opt)
    opt['datasets']['train']['batch_size_per_gpu'] = 16
    with pytest.raises(OptionsError, match='datasets.train: 8 frames, the batch is 16, .* dataset_enlarge_ratio: 200'):
        check_datasets(opt)
    cv2.imwrite(str(root / '001' / '00000001.png'), np.zeros((20, 20, 3), np.uint8))
    with pytest.raises(OptionsError, match='datasets.train: .*001/00000001.png has 20 x 20 pixels'):
        check_datasets(opt)
    opt['datasets']['train']['type'] = 'TecoGANTestDataset'
    with pytest.raises(OptionsError, match='datasets.train.type: found TecoGANTestDataset, .* TecoGANTrainDataset'):
        check_datasets(opt)
