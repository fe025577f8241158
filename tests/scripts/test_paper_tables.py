"""scripts/paper_tables.py: which trainings Tables 1 and 2 take, and that it goes on where it was stopped."""
from __future__ import annotations

from pathlib import Path

import pytest
import yaml
from common.trainings import PlanError, train, write_options
from paper_tables import main
from studies.paper_plan import SCALES, plan

from basicsr_kd.options import validate

ROOT = Path(__file__).parents[2]



@pytest.fixture(autouse=True)
def in_the_repository(monkeypatch):
    monkeypatch.chdir(ROOT)


@pytest.mark.parametrize('scale', SCALES)
def test_the_plan_has_every_column_of_table_1_and_every_row_of_table_2(scale):
    runs = plan(scale)
    first, *others = sorted(SCALES[scale].students)
    tags = [(run.about['role'], run.about.get('features'), run.about['pruned']) for run in runs]
    assert [tag for tag in tags if tag[0] == 'pruned_teacher'] == [('pruned_teacher', None, r) for r in (0.3, 0.5, 0.8)]
    assert {tag for tag in tags if tag[0] == 'student'} == {
        *(('student', first, ratio) for ratio in (0.0, 0.3, 0.5, 0.8)), *(('student', wide, 0.3) for wide in others)}
    assert {role for role, *_ in tags} == {'pruned_teacher', 'student', 'student_without_distillation', 'student_l1'}
    assert len({run.options['name'] for run in runs}) == len(runs) == 11


@pytest.mark.parametrize('scale', SCALES)
def test_its_options_are_valid_and_say_what_the_tags_say(scale):
    for run in plan(scale):
        options = yaml.safe_load(yaml.safe_dump(run.options))
        validate({**options, 'is_train': True}, True)
        if run.about['role'] == 'pruned_teacher':
            assert options['prune']['ratio'] == run.about['pruned']
            continue
        assert options['network_g']['num_feat'] == run.about['features']
        teacher = options['teacher']['path']
        assert (f'teacher_{run.about["pruned"]}/' in teacher) == (run.about['pruned'] > 0)
        assert ('distill_opt' in options['train']) == (run.about['role'] == 'student')
        assert ('gan_opt' in options['train']) == (run.about['role'] != 'student_l1')


def test_students_come_after_their_teachers():
    trained: set[str] = set()
    for run in plan('full'):
        needed = run.options.get('teacher', {}).get('path')
        assert needed is None or needed in trained or 'pretrained_models' in needed
        trained.add(str(run.weights))


def test_iterations_are_those_of_the_options_or_as_asked():
    assert {run.iterations for run in plan('full')} == {100000}
    assert {run.iterations for run in plan('demo', 7)} == {run.about['iterations'] for run in plan('demo', 7)} == {7}


def test_a_finished_run_is_not_trained_again_and_other_options_are_told(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    (tmp_path / 'options').symlink_to(ROOT / 'options')
    run = plan('demo', 4)[0]
    options = write_options([run], tmp_path / 'runs')[run.name]
    assert yaml.safe_load(options.read_text())['train']['total_iter'] == 4
    run.weights.parent.mkdir(parents=True)
    run.weights.touch()
    train(run, options, 'title', gpus=1)
    assert 'title: done before' in capsys.readouterr().out
    with pytest.raises(PlanError, match='comes from other options'):
        write_options(plan('demo', 5)[:1], tmp_path / 'runs')


@pytest.mark.parametrize(('sets', 'message'), [('Set5=nowhere,nowhere', 'nowhere'), ('Set5=HR', 'NAME=HRDIR,LRDIR')])
def test_bad_sets_are_told_before_anything_is_trained(sets, message):
    with pytest.raises(SystemExit, match=message):
        main(['--sets', sets])


@pytest.mark.parametrize(('arguments', 'message'), [
    ([], '--sets is needed at full scale'),
    (['--scale', 'demo', '--metrics', 'psrn'], "invalid choice: 'psrn'"),
])
def test_bad_arguments_are_told(arguments, message, capsys):
    with pytest.raises(SystemExit):
        main(arguments)
    assert message in capsys.readouterr().err
