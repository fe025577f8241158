"""scripts/demo_video.py: which trainings it takes, and what it says of their losses."""
from __future__ import annotations

import sys
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / 'scripts'))
from demo_video import losses_table, main, plan  # noqa: E402

from basicsr_kd.options import validate  # noqa: E402


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
    assert pruned[0].options['prune'] == pruned[1].options['prune'] != pruned[2].options['prune']


def test_the_control_has_as_many_iterations_and_as_few_blocks_and_the_same_learning_rates():
    teacher, tuned, *_, control = (run.options for run in plan(Path('clips'), 100))
    assert control['train']['total_iter'] == teacher['train']['total_iter'] + tuned['train']['total_iter'] == 150
    assert (control['network_g']['nb'], tuned['prune']['keep']) == (5, 5)
    assert control['path']['pretrain_network_g'] is None and 'prune' not in control
    rates = [one['train']['optim_g']['lr'] for one in (teacher, tuned, control)]
    assert rates == [2e-4, 1e-4, 2e-4]
    assert (control['train']['scheduler']['milestones'], control['train']['scheduler']['gamma']) == ([100], 0.5)


def test_losses_are_means_of_the_first_and_last_lines_of_a_log(tmp_path):
    values = [8, 6, 4, 2, 100, 1, 1, 2, 2]
    (tmp_path / 'net.log').write_text('start\n' + ''.join(
        f'[epoch:  0, iter:  1, lr:(1e-4,)] l_g_pix: {value:.4e} l_g_warp: 1.0000e-02 \n' for value in values))
    assert losses_table([tmp_path / 'net.log']).splitlines()[-1].split('|')[1:-1] == [
        ' net ', '            5.0000 ', ' 1.5000 ']


def test_a_folder_without_clips_is_told_before_anything_is_trained(tmp_path):
    with pytest.raises(SystemExit, match='demo_video: '):
        main(['--clips', str(tmp_path)])
