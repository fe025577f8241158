"""`basicsr-kd doctor --data`: every image of an options file's sets is decoded."""
from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from basicsr.utils.lmdb_util import make_lmdb_from_imgs
from helpers.entry import stock_options, write_images, write_options

from basicsr_kd.cli.main import main


def look(tmp_path, opt, capfd) -> tuple[int, list[str], str]:
    status = main(['doctor', '--data', str(write_options(tmp_path / 'options.yml', opt))])
    said = capfd.readouterr()
    assert status < 2, said.err
    return status, said.out.splitlines(), said.err


@pytest.fixture
def stock(tmp_path):
    """A stock options file and its data."""
    data = tmp_path / 'data'
    write_images(data, count=4)
    return stock_options('prune_esrgan_r30', data)


def halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:path.stat().st_size // 2])


def test_all_whole(stock, tmp_path, capfd):
    status, lines, _ = look(tmp_path, stock, capfd)
    assert status == 0 and lines == ['datasets.train: 8 images, all whole', 'datasets.val: 8 images, all whole']
    assert not list(tmp_path.glob('**/experiments'))


def test_broken_ones_are_listed(stock, tmp_path, capfd):
    sets = stock['datasets']
    copy = tmp_path / 'train'
    for key in ('dataroot_gt', 'dataroot_lq'):
        shutil.copytree(sets['train'][key], copy / key)
        sets['train'][key] = str(copy / key)
    first, second, third, _ = sorted((copy / 'dataroot_gt').iterdir())
    first.write_bytes(b'')
    halve(second)
    jpeg = third.with_suffix('.jpg')
    third.unlink()
    cv2.imwrite(str(jpeg), np.random.default_rng(0).integers(0, 255, (128, 128, 3), np.uint8))
    halve(jpeg)
    low = copy / 'dataroot_lq' / third.name
    shutil.move(low, low.with_suffix('.jpg'))
    status, lines, _ = look(tmp_path, stock, capfd)
    assert status == 1 and lines[0] == 'datasets.train: 8 images:' and lines[-1].endswith('all whole')
    faults = dict(line.split(maxsplit=1) for line in lines[1:-1] if ' is ' in line or 'cannot' in line)
    assert 'cannot be read' in faults[str(first)] and 'cannot be read as an image' in faults[str(second)]
    assert 'cut short' in faults[str(jpeg)] or 'cannot be read' in faults[str(jpeg)]


def test_pairs_that_do_not_belong_together(stock, tmp_path, capfd):
    low = tmp_path / 'low'
    shutil.copytree(stock['datasets']['train']['dataroot_lq'], low)
    next(low.iterdir()).unlink()
    stock['datasets']['train']['dataroot_lq'] = str(low)
    status, lines, _ = look(tmp_path, stock, capfd)
    assert status == 1 and lines[:2] == ['datasets.train: 0 images:', lines[1]] and '3 in dataroot_lq' in lines[1]


def test_an_lmdb(stock, tmp_path, capfd):
    train = stock['datasets']['train']
    for key in ('dataroot_gt', 'dataroot_lq'):
        paths = sorted(path.name for path in Path(train[key]).iterdir())
        make_lmdb_from_imgs(train[key], str(tmp_path / f'{key}.lmdb'), paths, [Path(name).stem for name in paths])
        train[key] = str(tmp_path / f'{key}.lmdb')
    train['io_backend'] = {'type': 'lmdb'}
    capfd.readouterr()
    status, lines, _ = look(tmp_path, stock, capfd)
    assert status == 0 and lines[0] == 'datasets.train: 8 images, all whole'


def test_clips(frvsr_opt, tmp_path, capfd):
    frvsr_opt = {key: value for key, value in frvsr_opt.items()
                 if key not in ('dist', 'rank', 'world_size', 'auto_resume', 'is_train', 'root_path')}
    folder = Path(frvsr_opt['datasets']['train']['dataroot_gt'])
    copy = tmp_path / 'clips'
    shutil.copytree(folder, copy)
    for dataset in frvsr_opt['datasets'].values():
        dataset['dataroot_gt'] = str(copy)
    frame = sorted(copy.rglob('*.png'))[3]
    content = frame.read_bytes()
    frame.write_bytes(content[:60] + bytes(len(content) - 60))
    status, lines, _ = look(tmp_path, frvsr_opt, capfd)
    assert status == 1 and any(str(frame) in line and 'cannot be read as an image' in line for line in lines)


@pytest.mark.parametrize(('text', 'reason'), [
    ('model_type: SRModel\n', 'is missing'), ('datasets: 3', 'datasets: found 3'), ('[', 'options.yml, line'),
    ('model_type: KDGANModel\n', 'is missing')])
def test_refusals_are_a_line(tmp_path, capfd, text, reason):
    (tmp_path / 'options.yml').write_text(text)
    assert main(['doctor', '--data', str(tmp_path / 'options.yml')]) == 2
    assert reason in capfd.readouterr().err


def test_no_such_file(capfd):
    assert main(['doctor', '--data', 'none.yml']) == 2
    assert 'none.yml cannot be read' in capfd.readouterr().err
