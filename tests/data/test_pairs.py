"""Which images BasicSR pairs, told before a run: folders, lists and LMDBs with what people leave in them."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
from basicsr.data.paired_image_dataset import PairedImageDataset

from basicsr_kd.data.named_paired_image_dataset import NamedPairedImageDataset
from basicsr_kd.data.pairs import find_pairs
from basicsr_kd.errors import PairError


def section(root: Path, **more: Any) -> dict[str, Any]:
    return {'dataroot_gt': str(root / 'gt'), 'dataroot_lq': str(root / 'lq'), 'io_backend': {'type': 'disk'},
            'phase': 'val', 'scale': 4, **more}


@pytest.fixture
def root(tmp_path: Path) -> Path:
    for kind, side in (('gt', 32), ('lq', 8)):
        (tmp_path / kind).mkdir()
        for name in ('a', 'b'):
            cv2.imwrite(str(tmp_path / kind / f'{name}.png'), np.full((side, side, 3), 99, np.uint8))
    return tmp_path


def rename(root: Path, *names: tuple[str, str]) -> None:
    for old, new in names:
        (root / old).rename(root / new)


def test_they_are_those_of_basicsr(root):
    assert find_pairs(section(root)) == PairedImageDataset(section(root)).paths
    (root / 'list.txt').write_text('b.png (32,32,3)\na.png (32,32,3)\n')
    listed = section(root, meta_info_file=str(root / 'list.txt'))
    assert find_pairs(listed) == PairedImageDataset(listed).paths
    rename(root, ('lq/a.png', 'lq/ax4.png'), ('lq/b.png', 'lq/bx4.png'))
    other = section(root, filename_tmpl='{}x4')
    assert find_pairs(other) == PairedImageDataset(other).paths


def test_junk_hidden_files_folders_and_blank_lines_are_passed_over(root):
    for name in ('gt/Thumbs.db', 'lq/desktop.ini', 'gt/.DS_Store', 'lq/notes.txt'):
        (root / name).write_text('x')
    (root / 'gt' / 'older.png').mkdir()
    (root / 'list.txt').write_text('\nb.png\n\n  \n')
    dataset = NamedPairedImageDataset(section(root))
    assert len(dataset) == 2 and dataset[0]['lq'].shape == (3, 8, 8)
    assert len(NamedPairedImageDataset(section(root, meta_info_file=str(root / 'list.txt')))) == 1


@pytest.mark.parametrize(('names', 'words'), [
    ([('lq/a.png', 'lq/a_LR.png'), ('lq/b.png', 'lq/b_LR.png')], r"has no [ab].png, .*filename_tmpl: '\{\}_LR'"),
    ([('lq/a.png', 'lq/a.jpg')], r'has no a.png, which a.png of dataroot_gt .* a.jpg; BasicSR expects the same ending'),
    ([('lq/a.png', 'lq/other.png')], r'has no a.png, .*Expected the low resolution of each'),
    ([('gt/a.png', 'away.png')], r': 1 images in dataroot_gt, 2 in dataroot_lq; .* a.png in .* is of no image'),
    ([('lq/a.png', 'away.png')], r': 2 images in dataroot_gt, 1 in dataroot_lq; expected as many. .*has no a.png'),
    ([('gt', 'other'), ('lq', 'gt')], r'.dataroot_lq: .* is no folder')])
def test_what_is_no_pair_is_named_with_what_would_be(root, names, words):
    rename(root, *names)
    with pytest.raises(PairError, match=words) as caught:
        find_pairs(section(root))
    assert '\n' not in str(caught.value)


def test_a_folder_without_images_says_what_it_has(root):
    for kind in ('gt', 'lq'):
        for name in ('a', 'b'):
            (root / kind / f'{name}.png').unlink()
        (root / kind / '2024').mkdir()
        (root / kind / 'list.csv').touch()
    with pytest.raises(PairError, match=r'.dataroot_gt: no images in .*, but 2024, list.csv'):
        find_pairs(section(root))


@pytest.mark.parametrize(('text', 'words'), [
    ('a.png\nc.png\n', r'lists c.png, and .*gt/c.png is not there'), ('\n', 'lists no images'),
    (None, 'list.txt cannot be read')])
def test_lists_that_name_what_is_not_there(root, text, words):
    if text is not None:
        (root / 'list.txt').write_text(text)
    with pytest.raises(PairError, match=r'^.meta_info_file: .*' + words):
        find_pairs(section(root, meta_info_file=str(root / 'list.txt')))


def lmdb(root: Path, gt: str, lq: str) -> dict[str, Any]:
    for kind, text in (('gt', gt), ('lq', lq)):
        (root / f'{kind}.lmdb').mkdir()
        (root / f'{kind}.lmdb' / 'meta_info.txt').write_text(text)
    return section(root, dataroot_gt=str(root / 'gt.lmdb'), dataroot_lq=str(root / 'lq.lmdb'),
                   io_backend={'type': 'lmdb'})


def test_an_lmdb(root):
    opt = lmdb(root, 'b.png (32,32,3) 1\na.png (32,32,3) 1\n\n', 'a.png (8,8,3) 1\nb.png (8,8,3) 1\n')
    assert find_pairs(opt) == [{'lq_path': 'a', 'gt_path': 'a'}, {'lq_path': 'b', 'gt_path': 'b'}]
    with pytest.raises(PairError, match=r'.dataroot_gt: found .*/gt, expected a folder that ends in .lmdb'):
        find_pairs({**opt, 'dataroot_gt': str(root / 'gt')})


@pytest.mark.parametrize(('gt', 'lq', 'words'), [
    ('a.png (32,32,3) 1\n', 'c.png (8,8,3) 1\n', 'dataroot_lq: .*lq.lmdb has no image of the key a, which'),
    ('', 'a.png (8,8,3) 1\n', 'dataroot_gt: meta_info.txt of .*gt.lmdb lists no images')])
def test_lmdbs_that_do_not_go_together(root, gt, lq, words):
    with pytest.raises(PairError, match=words):
        find_pairs(lmdb(root, gt, lq))
