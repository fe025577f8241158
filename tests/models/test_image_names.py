"""Sets and images of one name keep apart in the log, among the best values and in files."""
from __future__ import annotations

import shutil
from pathlib import Path

import pytest
from helpers.models import start
from helpers.validation import loader

from basicsr_kd import options, preflight
from basicsr_kd.models.validation.image_names import ImageNames, told_apart


@pytest.mark.parametrize(('paths', 'names'), [
    (['x/a.png', 'x/b.png'], ['a', 'b']),
    (['x/a.png', 'x/a.jpg', 'x/b.png'], ['a_png', 'a_jpg', 'b']),
    (['x/a.png', 'y/a.png', 'y/c.png'], ['x_a_png', 'y_a_png', 'c']),
    (['x/a.png', 'x/a.png'], ['a_0', 'a_1']), ([], [])])
def test_names_change_only_where_they_collide(paths, names):
    assert told_apart(paths) == names


def test_sets_in_one_folder_keep_apart():
    names = ImageNames()
    for _ in range(2):  # the same at each validation
        assert names.in_one_folder('Set5', ['a', 'b']) == ['a', 'b']
        assert names.in_one_folder('Noisy', ['a', 'c']) == ['a_Noisy', 'c']


def test_two_sets_of_one_name_in_a_training(kd_opt, tmp_path):
    first = kd_opt['datasets']['val']
    shutil.copytree(first['dataroot_gt'], tmp_path / 'HR')
    kd_opt['datasets']['val_2'] = {**first, 'dataroot_gt': str(tmp_path / 'HR')}
    kd_opt['val']['save_img'] = True
    options.validate(kd_opt, True)
    preflight.check(kd_opt)
    sets = {phase: dataset['name'] for phase, dataset in kd_opt['datasets'].items()}
    assert sets['val_2'] == f'{sets["val"]}_val_2'
    model = start(kd_opt)
    for phase in ('val', 'val_2'):
        model.validation(loader(kd_opt, **kd_opt['datasets'][phase]), 2, None, True)
    assert set(model.best_metric_results) == {sets['val'], sets['val_2']}
    saved = sorted(path.parent.name for path in Path(kd_opt['path']['visualization']).rglob('*.png'))
    count = len(list((tmp_path / 'HR').iterdir()))
    assert len(set(saved)) == 2 * count and sum(name.endswith(sets['val_2']) for name in saved) == count
