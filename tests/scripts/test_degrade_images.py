"""scripts/degrade_images.py: pairs that depend on names and seed alone, as training makes them."""
from __future__ import annotations

import cv2
import numpy as np
import pytest
import yaml
from basicsr.data.paired_image_dataset import PairedImageDataset
from degrade_images import main
from helpers.realesrgan import PHOTOS, SYNTHESIS, write_photos


@pytest.fixture
def opt_file(tmp_path):
    training = {**PHOTOS, 'type': 'RealESRGANDataset', 'num_worker_per_gpu': 0, 'batch_size_per_gpu': 4}
    path = tmp_path / 'opt.yml'
    path.write_text(yaml.safe_dump({'scale': 4, 'model_type': 'RealESRGANModel', **SYNTHESIS, 'gt_size': 256,
                                    'datasets': {'train': training}}))
    return path


def run(opt_file, source, target, *more):
    main(['--opt', str(opt_file), '--input', str(source), '--output', str(target), *more])
    return {path.name: cv2.imread(str(path)) for path in sorted((target / 'LRx4').iterdir())}


def same(left, right):
    return left.shape == right.shape and bool((left == right).all())


def test_pairs_depend_on_names_and_seed_alone(opt_file, tmp_path, capsys):
    source = write_photos(tmp_path / 'in')
    rest = tmp_path / 'rest'
    rest.mkdir()
    for name in ('2.png', '1.png'):
        (rest / name).write_bytes((source / name).read_bytes())
    (rest / 'other.png').write_bytes((source / '1.png').read_bytes())
    first, again = (run(opt_file, source, tmp_path / name) for name in ('a', 'b'))
    alone = run(opt_file, rest, tmp_path / 'c')
    assert list(first) == ['0.png', '1.png', '2.png'] and '3 pairs in' in capsys.readouterr().out
    assert all(same(first[name], again[name]) for name in first)
    assert all(same(first[name], alone[name]) for name in ('1.png', '2.png'))
    assert not same(first['1.png'], alone['other.png'])
    other_seed = run(opt_file, source, tmp_path / 'd', '--seed', '1')
    assert not any(same(first[name], other_seed[name]) for name in first)


def test_sizes_are_cut_and_pairs_are_what_basicsr_reads(opt_file, tmp_path):
    source = tmp_path / 'in'
    source.mkdir()
    smooth = cv2.resize(np.random.default_rng(0).integers(0, 256, (4, 4, 3), np.uint8), (90, 39),
                        interpolation=cv2.INTER_CUBIC)
    cv2.imwrite(str(source / 'wide.jpg'), smooth)
    lq = run(opt_file, source, tmp_path / 'out')['wide.png']
    hr = cv2.imread(str(tmp_path / 'out' / 'HR' / 'wide.png'))
    assert lq.shape == (9, 22, 3) and hr.shape == (36, 88, 3)
    assert same(hr, cv2.imread(str(source / 'wide.jpg'))[:36, :88])
    shrunk = cv2.resize(hr, (22, 9), interpolation=cv2.INTER_AREA).astype(float)
    error = np.abs(lq - shrunk).mean()
    assert 1 < error < 40  # degraded, and still the same picture: colours in order, nothing moved
    assert error < np.abs(lq[:, ::-1] - shrunk).mean() and error < np.abs(lq[..., ::-1] - shrunk).mean()
    pairs = PairedImageDataset({'dataroot_gt': str(tmp_path / 'out' / 'HR'), 'phase': 'val', 'scale': 4,
                                'dataroot_lq': str(tmp_path / 'out' / 'LRx4'), 'io_backend': {'type': 'disk'}})
    assert pairs[0]['lq'].shape == (3, 9, 22) and pairs[0]['gt'].shape == (3, 36, 88)


@pytest.mark.parametrize(('change', 'words'), [
    ('no folder', 'does not exist'), ('no synthesis', 'resize_prob is missing'), ('no options', 'expected an options'),
    ('two names', 'would both become 0.png'), ('same folder', 'would replace the images')])
def test_what_cannot_be_done_is_said(opt_file, tmp_path, change, words):
    source, target = write_photos(tmp_path / 'HR', count=1), tmp_path / 'out'
    if change == 'no folder':
        source = tmp_path / 'nowhere'
    elif change == 'no synthesis':
        opt = yaml.safe_load(opt_file.read_text())
        opt.pop('resize_prob')
        opt_file.write_text(yaml.safe_dump(opt))
    elif change == 'no options':
        opt_file.write_text('[]')
    elif change == 'two names':
        (source / '0.jpg').touch()
    else:
        target = tmp_path
    with pytest.raises(SystemExit, match=words):
        run(opt_file, source, target)
