"""scripts/ablation.py: options of arms, equal cost, scores and tables."""
import json
import re
import threading
from pathlib import Path

import cv2
import numpy as np
import pytest
from basicsr.archs.discriminator_arch import VGGStyleDiscriminator
from common.measure import Pair
from common.overrides import filled, override, with_iterations
from helpers.networks import STUDENT
from studies.ablation.data import split
from studies.ablation.evaluate import Evaluator
from studies.ablation.flops import equal_cost_iterations, step_macs
from studies.ablation.jobs import places, study_options
from studies.ablation.plan import AblationError, Run, arm_options, chosen_arms, read_study, runs_of
from studies.ablation.report import ablation_tables
from studies.ablation.results import mean_sd, seed_values

from basicsr_kd.archs.build import build
from basicsr_kd.metrics.complexity import complexity
from basicsr_kd.options import validate

ROOT = Path(__file__).parents[2]

pytestmark = pytest.mark.usefixtures('no_lpips')
STUDY = ROOT / 'scripts/ablation.yml'


# --- options of arms

def test_changes_merge_replace_and_remove_and_leave_the_original_alone():
    base = {'train': {'lr': 1, 'gan_opt': {'type': 'GAN'}}, 'layers': ['a'], 'val': {'freq': 1}}
    before = json.dumps(base)

    changed = override(base, {'train.lr': 2, 'train': {'gan_opt': None, 'ema': 0.9}, 'layers': ['b'], 'val': None,
                              'teacher.prune': None, 'path.a': 'x'})

    assert changed == {'train': {'lr': 2, 'ema': 0.9}, 'layers': ['b'], 'path': {'a': 'x'}}
    assert json.dumps(base) == before


def test_a_section_of_another_type_is_replaced_and_of_the_same_type_merged():
    base = {'loss': {'type': 'A', 'layers': ['x'], 'weight': 1}}

    assert override(base, {'loss': {'type': 'B'}}) == {'loss': {'type': 'B'}}
    assert override(base, {'loss': {'weight': 2}})['loss'] == {'type': 'A', 'layers': ['x'], 'weight': 2}
    assert override(base, {'loss': {'type': 'A', 'weight': 2}})['loss']['layers'] == ['x']


def test_dots_in_names_of_layers_stay():
    assert override({}, {'train.loss': {'layers': {'body.2': 'body.7'}}})['train']['loss']['layers'] == {
        'body.2': 'body.7'}


def test_periods_and_checkpoints_follow_the_iterations():
    base = {'train': {'total_iter': 1200, 'scheduler': {'type': 'S', 'periods': [400, 800], 'eta_min': 1}}}

    short = with_iterations(base, 90, points=6)

    assert short['train'] == {'total_iter': 90, 'scheduler': {'type': 'S', 'periods': [30, 60], 'eta_min': 1}}
    assert short['logger']['save_checkpoint_freq'] == 15


def test_placeholders_are_filled_in_at_any_depth():
    assert filled({'a': ['{work}/x', 1], 'b': {'c': '{data}'}}, {'work': '/w', 'data': '/d'}) == {
        'a': ['/w/x', 1], 'b': {'c': '/d'}}


# --- the study

def test_an_arm_is_base_then_set_then_what_it_is_like_then_its_own(study_file):
    study = read_study(study_file(arms={'a': {'set': {'train.total_iter': 8, 'scale': 2}},
                                        'b': {'like': 'a', 'set': {'scale': 3}}}, groups={}))

    options = arm_options(study, 'b', None)

    assert (options['scale'], options['train']['total_iter'], options['network_g']['num_feat']) == (3, 8, 4)
    assert options['network_d']['type'] == 'VGGStyleDiscriminator' and options['network_d']['num_feat'] == 2
    assert arm_options(study, 'b', 40)['train']['total_iter'] == 40


@pytest.mark.parametrize(('changes', 'message'), [
    ({'arm': {}}, 'unknown field `arm`'),
    ({'arms': {'a/b': {}}}, "arm 'a/b' names folders"),
    ({'groups': {'All': ['none']}}, "groups.All: there is no arm 'none'; the arms are kd, plain"),
    ({'arms': {'a': {'like': 'b'}, 'b': {'like': 'a'}}, 'groups': {}}, 'arms.a is like itself'),
    ({'arms': {'a': {'more_iterations_like': 'b'}}, 'groups': {}}, "there is no arm 'b'"),
    ({'seeds': []}, 'seeds')])
def test_a_faulty_study_is_refused_with_what_is_wrong(study_file, changes, message):
    with pytest.raises(AblationError, match=re.escape(message)):
        read_study(study_file(**changes))


def test_arms_are_chosen_by_name_and_group(study_file):
    study = read_study(study_file(groups={'One': ['plain']}))

    assert chosen_arms(study, None) == ['kd', 'plain'] and chosen_arms(study, ['One']) == ['plain']
    with pytest.raises(AblationError, match='--arms: there is no arm'):
        chosen_arms(study, ['One', 'two'])


def test_every_arm_that_comes_with_the_script_is_in_a_group_and_has_valid_options(tmp_path):
    study = read_study(STUDY)
    options = study_options(study, None, places(study, tmp_path, tmp_path))

    assert {name for names in study.groups.values() for name in names} == set(study.arms)
    for name, section in options.items():
        warnings = validate(filled(section, places(study, tmp_path, tmp_path)), is_train=True)
        assert warnings == [], name
    data = {json.dumps(section['datasets']) for section in options.values()}
    assert len(data) == 1  # the same photos, batches and crops in all arms
    assert 'gan_opt' not in options['l1_only']['train'] and options['random']['train']['gan_opt']
    assert options['equal_flops']['train']['total_iter'] > 400 == options['random']['train']['total_iter']


def test_the_digest_changes_with_an_option_and_the_seed_only(study_file):
    study = read_study(study_file())
    first, second = (runs_of(study, 'kd', arm_options(study, 'kd', None), [seed])[0] for seed in (0, 1))

    assert first.digest == runs_of(study, 'kd', arm_options(study, 'kd', None))[0].digest != second.digest
    assert Run('other', 0, first.options).digest == first.digest
    assert Run('kd', 0, override(first.options, {'train.optim_g.lr': 1.0})).digest != first.digest


# --- held-out photos, equal cost

def test_held_out_photos_are_always_the_same_ones_and_none_of_the_others():
    names = [f'{index:03d}' for index in range(40)]

    parts = split(names, 5)

    assert parts == split(names[::-1], 5)
    assert parts['held_out'] == ['002', '016', '024', '026', '032']
    assert sorted(parts['train'] + parts['held_out']) == names


def test_held_out_photos_of_bsds400_are_not_those_the_demo_teacher_learned_from(data_root):
    held_out = split([path.stem for path in (data_root / 'BSDS400').iterdir()], 20)['held_out']

    assert held_out == [
        '106005', '12003', '14085', '163014', '178054', '181079', '187099', '196015', '217090', '227046',
        '232076', '24063', '268074', '274007', '286092', '290035', '35070', '376086', '81090', '8143']


def test_equal_cost_counts_student_discriminator_and_teacher(teacher_file):
    section = {'scale': 4, 'network_g': STUDENT, 'train': {'total_iter': 100},
               'datasets': {'train': {'gt_size': 128}},
               'network_d': {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 2}}
    student = complexity(build(STUDENT), (32, 32)).macs
    discriminator = complexity(VGGStyleDiscriminator(3, 2), (128, 128)).macs
    kd = override(section, {'train': {'distill_opt': {'type': 'x'}}, 'teacher': {'path': str(teacher_file)}})
    teacher = step_macs(kd) - step_macs(section)

    assert step_macs(section) == 3 * student
    assert step_macs(override(section, {'train.gan_opt': {'a': 1}})) == 3 * student + 7 * discriminator
    assert teacher == complexity(build({**STUDENT, 'type': 'RRDBNet', 'num_feat': 8}), (32, 32)).macs
    assert step_macs(override(kd, {'train.distill_every': 4})) == 3 * student + teacher / 4
    assert equal_cost_iterations(section, kd) == round(100 * (1 + teacher / (3 * student)))
    pruned = step_macs(override(kd, {'teacher.prune': {'ratio': 0.3, 'round_to': 1, 'importance': 'l2'}}))
    assert 3 * student + 0.5 * teacher < pruned < 3 * student + 0.9 * teacher
    with pytest.raises(AblationError, match='prune: makes smaller'):
        step_macs({**section, 'prune': {'ratio': 0.3}})


# --- tables

def row(psnr: float | None, sets=('Set5',), **more) -> dict:
    return {'iterations': 600, 'parameters': 7, **more,
            'sets': {name: {'psnr_y': {'a': psnr, 'b': psnr}, 'niqe': {'a': 5.0, 'b': 6.0}} for name in sets}}


def test_the_table_has_mean_and_sample_deviation_over_seeds(study_file):
    study = read_study(study_file())
    rows = {'kd': [row(20.0, seed=0), row(21.0, seed=1), row(22.5, seed=2)],
            'plain': [row(19.0, iterations=950, seed=0), row(21.5, iterations=950, seed=2)]}

    text = ablation_tables(study, {'bicubic': row(18.25)}, rows, ['Set5'])

    assert text == """## All

- `plain`: 950 iterations
- `kd`: distilled

All, Set5:

| arm     |       PSNR-Y |        NIQE | PSNR-Y over plain |   n |
| ------- | -----------: | ----------: | ----------------: | --: |
| bicubic |        18.25 |        5.50 |                 - |   - |
| plain   | 20.25 ± 1.77 | 5.50 ± 0.00 |                 - |   2 |
| kd      | 21.17 ± 1.26 | 5.50 ± 0.00 |      +1.00 ± 0.00 |   3 |"""
    assert mean_sd([20.0, 21.0, 22.5]) == (pytest.approx(21.1667, abs=1e-4), pytest.approx(1.2583, abs=1e-4))
    assert seed_values([row(20.0), row(None)], 'Set5', 'psnr_y') == []


# --- measuring

@pytest.mark.filterwarnings('ignore::RuntimeWarning')
def test_niqe_of_a_flat_image_is_no_number_and_bicubic_is_no_network():
    rng = np.random.default_rng(0)
    hr = rng.integers(0, 256, (208, 208, 3), dtype=np.uint8)
    pair = Pair('x', cv2.resize(hr, (52, 52), interpolation=cv2.INTER_AREA), hr)
    flat = Pair('flat', np.zeros_like(pair.lr), np.full_like(hr, 9))

    scores = Evaluator({'s': [pair, flat]}, threading.Event()).scores(None, 's')

    assert scores['niqe']['x'] > 0 and scores['niqe']['flat'] is None
    assert 0 < scores['psnr_y']['x'] < scores['psnr_y']['flat']
