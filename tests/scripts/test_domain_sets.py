"""scripts/domain_sets.py: three sets of one folder of photos, the same each time."""
from __future__ import annotations

from collections import Counter
from pathlib import Path

import cv2
import numpy as np
import pytest
from common.photos import downscale
from distillation_pairs import main as make_pairs
from domain_sets import every_nth, main
from helpers.realesrgan import write_photos

from basicsr_kd.data.pairs import find_pairs
from basicsr_kd.evaluation.sets import pair_folders


@pytest.fixture(scope='module')
def photos(tmp_path_factory) -> Path:
    return write_photos(tmp_path_factory.mktemp('photos') / 'in')


@pytest.fixture(scope='module')
def made(photos, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('sets') / 'out'
    main(['--input', str(photos), '--output', str(folder), '--num', '2'])
    return folder


def images(folder: Path) -> dict[str, np.ndarray]:
    return {str(path.relative_to(folder)): cv2.imread(str(path)) for path in sorted(folder.rglob('*.png'))}


def test_each_set_has_its_pairs(made, photos):
    names = {'clean': 2, 'degraded': 6}
    for name, number in names.items():
        pairs = pair_folders(made / name / 'HR', made / name / 'LRx4')
        assert len(pairs) == number
        for pair in pairs:
            high, low = cv2.imread(str(pair.hr)), cv2.imread(str(pair.lr))
            assert high.shape[:2] == tuple(4 * side for side in low.shape[:2])
            if name == 'clean':
                assert np.array_equal(low, downscale(high, 4))
    as_is = images(made / 'as_is/LRx4')
    assert len(as_is) == 2 and max(max(image.shape[:2]) for image in as_is.values()) <= 256
    for name, image in as_is.items():
        photo = cv2.imread(str(photos / name))
        top, left = (max(0, side - 256) // 2 for side in photo.shape[:2])
        assert np.array_equal(image, photo[top:top + 256, left:left + 256])


def test_variants_differ_and_another_call_makes_the_same(made, photos, tmp_path):
    first, second = (cv2.imread(str(path)) for path in sorted((made / 'degraded/LRx4').iterdir())[:2])
    assert first.shape == second.shape and not np.array_equal(first, second)
    main(['--input', str(photos), '--output', str(tmp_path / 'again'), '--num', '2'])
    again, before = images(tmp_path / 'again'), images(made)
    assert again.keys() == before.keys() and all(np.array_equal(again[name], before[name]) for name in before)


def test_photos_are_chosen_from_the_whole_folder():
    paths = [Path(str(number)) for number in range(10)]
    assert [path.name for path in every_nth(paths, 3)] == ['0', '3', '6'] and every_nth(paths, 20) == paths


@pytest.mark.parametrize(('more', 'said'), [(['--num', '0'], '--num is 0'), (['--opt', 'none.yml'], 'none.yml')])
def test_what_does_not_go_is_one_line(photos, tmp_path, more, said):
    with pytest.raises(SystemExit, match=f'domain_sets: .*{said}'):
        main(['--input', str(photos), '--output', str(tmp_path / 'out'), *more])
    assert not (tmp_path / 'out').exists()


def test_a_folder_that_holds_something_is_left_alone(photos, tmp_path):
    (tmp_path / 'mine.txt').touch()
    with pytest.raises(SystemExit, match='is not empty'):
        main(['--input', str(photos), '--output', str(tmp_path)])


def test_pairs_for_training_draw_a_third_from_each_domain(made, tmp_path):
    out = tmp_path / 'pairs'
    make_pairs(['--domains', str(made), '--output', str(out)])
    lines = (out / 'meta_info.txt').read_text().split()
    assert Counter(line.split('_')[0] for line in lines) == {'clean': 6, 'as': 6, 'degraded': 6}
    pairs = find_pairs({'dataroot_gt': str(out / 'HR'), 'dataroot_lq': str(out / 'LRx4'),
                        'io_backend': {'type': 'disk'}, 'meta_info_file': str(out / 'meta_info.txt')})
    assert len(pairs) == 18 and len(images(out / 'LRx4')) == 10
    for pair in pairs:
        high, low = cv2.imread(pair['gt_path']), cv2.imread(pair['lq_path'])
        assert high.shape[:2] == tuple(4 * side for side in low.shape[:2])
    with pytest.raises(SystemExit, match='distillation_pairs: .*is not empty'):
        make_pairs(['--domains', str(made), '--output', str(out)])
    with pytest.raises(SystemExit, match='distillation_pairs: .*does not exist'):
        make_pairs(['--domains', str(tmp_path / 'none'), '--output', str(tmp_path / 'other')])
