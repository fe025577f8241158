"""scripts/demo_video.py: which trainings it takes, and what it says of their losses."""
from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from demo_video import main, plan, progress_table

from basicsr_kd.options import validate

ROOT = Path(__file__).parents[2]



@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


def test_its_options_are_valid_and_none_has_a_discriminator():
    for run in plan(Path('clips'), 100):
        options = yaml.safe_load(yaml.safe_dump(run.options))
        validate({**options, 'is_train': True}, True)
        assert 'network_d' not in options and 'gan_opt' not in options['train']
        assert options['datasets']['train']['dataroot_gt'] == 'clips'


def test_the_pruned_networks_start_from_the_first_and_one_learns_without_the_teacher():
    teacher, *pruned, _ = plan(Path('clips'), 100)
    assert all(run.options['path']['pretrain_network_g'] == str(teacher.weights) for run in pruned)
    assert [('distill_opt' in run.options['train'], 'teacher' in run.options) for run in pruned] == [
        (False, False), (True, True), (True, True)]
    assert pruned[0].options['prune'] == pruned[1].options['prune'] == pruned[2].options['prune'][0]


def test_the_control_has_as_many_iterations_and_as_few_blocks_and_the_same_learning_rate():
    teacher, tuned, *_, control = (run.options for run in plan(Path('clips'), 100))
    assert control['train']['total_iter'] == teacher['train']['total_iter'] + tuned['train']['total_iter'] == 125
    assert (control['network_g']['nb'], tuned['prune']['keep']) == (5, 5)
    assert control['path']['pretrain_network_g'] is None and 'prune' not in control
    rates = [(one['train']['optim_g']['lr'], one['train']['scheduler']['milestones']) for one in (teacher, control)]
    assert rates == [(4e-4, [])] * 2


def test_progress_is_that_of_the_log(tmp_path):
    values = [3] * 10 + [100] + [1] * 50 + [2] * 50
    (tmp_path / 'net.log').write_text('start\n' + ''.join(
        f'[epoch:  0, iter:  1, lr:(1e-4,)] l_g_pix: {value:.4e} l_g_warp: 1.0000e-02 \n' for value in values)
        + '\t # psnr: 20.4567 (mean over frames; over clips 20.1)\tBest: 20.4567 @ 1 iter\n\t # psnr: 21.5000 (mean)\n')
    assert [cell.strip() for cell in progress_table([tmp_path / 'net.log']).splitlines()[-1].split('|')[1:-1]] == [
        'net', '3.0000', '1.5000', '20.46 21.50']


def test_a_folder_without_clips_is_told_before_anything_is_trained(tmp_path):
    with pytest.raises(SystemExit, match='demo_video: '):
        main(['--clips', str(tmp_path)])
