"""scripts/ablation.py: options of arms, what is run again, equal cost, tables; and a real run of two tiny arms."""
import json
import re
import signal
import threading
import time
from pathlib import Path

import ablation
import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.archs.discriminator_arch import VGGStyleDiscriminator
from common.measure import Pair
from common.overrides import filled, override, with_iterations
from common.trainings import RunError
from studies.ablation import evaluate, run
from studies.ablation.data import split
from studies.ablation.evaluate import Evaluator
from studies.ablation.flops import equal_cost_iterations, step_macs
from studies.ablation.jobs import places, run_prefix, study_options
from studies.ablation.plan import AblationError, Run, arm_options, chosen_arms, read_study, runs_of
from studies.ablation.report import ablation_tables
from studies.ablation.results import mean_sd, seed_values
from studies.ablation.run import StoppedError, Trainings, run_folder

from basicsr_kd.archs.build import build
from basicsr_kd.checkpoint import read_state_dict, write_checkpoint
from basicsr_kd.errors import BackboneError
from basicsr_kd.metrics.complexity import complexity
from basicsr_kd.options import validate

ROOT = Path(__file__).parents[2]

STUDY = ROOT / 'scripts/ablation.yml'
STUDENT = {'type': 'SlimRRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 2, 'num_grow_ch': 4}


@pytest.fixture(autouse=True)
def _no_download(monkeypatch):
    def lpips_network(**kwargs):
        raise BackboneError('no network in tests')
    monkeypatch.setattr(evaluate, 'lpips_network', lpips_network)


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

@pytest.fixture
def study_file(tmp_path, teacher_file):
    """A study of two tiny arms; call it with changes."""
    def write(**changes) -> Path:
        content = {
            'base': 'options/demo_kd_s16.yml', 'teacher': str(teacher_file), 'seeds': [0], 'held_out': 1,
            'sub_size': 128, 'curve_points': 2,
            'set': {'network_g': STUDENT, 'network_d': {'num_feat': 2}, 'teacher': {'path': '{teacher}'},
                    'student': None, 'path.pretrain_network_d': None, 'val': None,
                    'datasets': {'val': None, 'train': {'dataroot_gt': '{data}/train/HR', 'batch_size_per_gpu': 1,
                                                        'dataroot_lq': '{data}/train/LRx4', 'num_worker_per_gpu': 0}},
                    'train.total_iter': 2, 'logger': {'print_freq': 1, 'use_tb_logger': False}},
            'arms': {'kd': {'note': 'distilled'}, 'plain': {'set': {'teacher': None, 'train.distill_opt': None}}},
            'groups': {'All': ['plain', 'kd']}, **changes}
        path = tmp_path / 'study.yml'
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path
    return write


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


# --- runs

@pytest.fixture
def call(study_file, tmp_path):
    """Call the script; returns the content of results.json."""
    photos = tmp_path / 'photos'
    photos.mkdir()
    rng = np.random.default_rng(0)
    for index in range(3):
        cv2.imwrite(str(photos / f'{index}.png'), cv2.resize(rng.integers(0, 256, (20, 20, 3), dtype=np.uint8),
                                                              (208, 208), interpolation=cv2.INTER_CUBIC))

    def run(*arguments: str, **changes) -> dict:
        handler = signal.getsignal(signal.SIGTERM)
        try:
            ablation.main([str(study_file(**changes)), '--photos', str(photos), '--data', str(tmp_path / 'data'),
                           '--output', str(tmp_path / 'out'), *arguments])
        finally:
            signal.signal(signal.SIGTERM, handler)
        return json.loads((tmp_path / 'out/results.json').read_text())
    return run


@pytest.fixture
def trained(monkeypatch) -> list[str]:
    """Trainings write an untrained student instead; the list has the runs that were trained."""
    done = []

    def train(self, options: Path, log: Path, progress) -> None:
        opt = yaml.safe_load(options.read_text())
        done.append(options.parent.name)
        log.write_text('')
        if opt['train']['optim_g']['lr'] == 666:
            raise RunError('the last lines: out of luck')
        progress(1)
        for name in ('1', 'latest'):
            write_checkpoint(run_folder(opt['name']) / f'models/net_g_{name}.pth', build(opt['network_g']).state_dict())
    monkeypatch.setattr(Trainings, 'train', train)
    return done


def test_what_is_finished_is_kept_and_what_changed_runs_again(call, trained, tmp_path, capsys):
    first = call('--jobs', '2')
    assert sorted(trained) == ['kd_s0', 'plain_s0'] and set(first['references']) == {'bicubic', 'the teacher itself'}
    assert not list(run_folder('').glob(f'{run_prefix(tmp_path / "out")}*'))

    changed = {'kd': {'set': {'train.optim_g.lr': 1.0}}, 'plain': {'set': {'teacher': None, 'train.distill_opt': None}}}
    second = call('--seeds', '0', '1', '--arms', 'kd', arms=changed)
    assert sorted(trained[2:]) == ['kd_s0', 'kd_s1']
    assert second['runs']['plain_s0'] == first['runs']['plain_s0'] != second['runs']['kd_s0']

    pairs = tmp_path / 'data/held_out'
    third = call('--sets', f'more={pairs / "HR"},{pairs / "LRx4"}', '--arms', 'kd', arms=changed)
    assert len(trained) == 4 and set(third['runs']['kd_s0']['sets']) == {'held_out', 'more'}
    assert third['runs']['kd_s0']['sets']['more'] == third['runs']['kd_s0']['sets']['held_out']

    call('--report')  # of the study as it was: kd is not that one any more
    assert len(trained) == 4
    assert 'Left out, since their options are others now: kd_s0, kd_s1.' in capsys.readouterr().out
    call('--again', '--arms', 'plain')
    assert trained[4:] == ['plain_s0']
    with pytest.raises(SystemExit, match='other settings .iterations: None before, 7 now'):
        call('--iterations', '7')


def test_a_failed_run_is_told_and_the_others_go_on(call, trained, tmp_path, capsys):
    with pytest.raises(SystemExit, match='1 failed'):
        call(arms={'kd': {'set': {'train.optim_g.lr': 666}}, 'plain': {}})

    assert 'kd_s0 failed: the last lines: out of luck' in capsys.readouterr().out
    assert set(json.loads((tmp_path / 'out/results.json').read_text())['runs']) == {'plain_s0'}
    assert '| plain ' in (tmp_path / 'out/table.md').read_text()


def test_two_ablations_do_not_share_a_folder(call, trained, tmp_path):
    call('--arms', 'plain')
    results = ablation.Results(tmp_path / 'out')
    lock = results.claim(results.settings, {})

    with pytest.raises(SystemExit, match='another ablation'):
        call('--arms', 'kd')
    assert lock >= 0 and trained == ['plain_s0']


def test_photos_that_changed_are_refused(call, trained, tmp_path):
    call('--arms', 'plain')
    (tmp_path / 'photos/0.png').unlink()

    with pytest.raises(SystemExit, match='was made from other photos'):
        call('--arms', 'plain')


@pytest.fixture
def fake_train(monkeypatch, tmp_path):
    """A `basicsr/train.py` of other content."""
    def write(code: str) -> Trainings:
        (tmp_path / 'basicsr').mkdir()
        (tmp_path / 'basicsr/train.py').write_text(code)
        monkeypatch.setattr(run, 'ROOT', tmp_path)
        return Trainings()
    return write


def test_a_training_that_fails_shows_the_end_of_its_log_and_its_iterations_are_counted(fake_train, tmp_path):
    trainings = fake_train('import os, sys\nfor i in range(30): print(f"[x][epoch:  0, iter:   {i}, lr:(1,)]")\n'
                           'sys.exit(f"out of luck with {os.environ[\'OMP_NUM_THREADS\']} thread")')
    reached = []

    with pytest.raises(RunError, match='(?s)code 1.*iter:   29, .*out of luck with 1 thread') as error:
        trainings.train(tmp_path / 'x.yml', tmp_path / 'x.log', reached.append)

    assert reached == list(range(30)) and 'iter:   9,' not in str(error.value)
    assert 'iter:   0,' in (tmp_path / 'x.log').read_text()


def test_trainings_are_ended_and_no_other_starts(fake_train, tmp_path):
    trainings = fake_train('import time; print("up", flush=True); time.sleep(60)')
    log, caught = tmp_path / 'x.log', []

    def train() -> None:
        try:
            trainings.train(tmp_path / 'x.yml', log, print)
        except StoppedError as error:
            caught.append(error)
    thread = threading.Thread(target=train)
    thread.start()
    while not (log.exists() and log.read_text()):
        time.sleep(0.02)
    trainings.stop()
    thread.join(10)

    assert caught and not thread.is_alive()
    with pytest.raises(StoppedError):
        trainings.train(tmp_path / 'x.yml', log, print)


def test_two_arms_train_for_real_and_the_second_call_trains_nothing(call, tmp_path, monkeypatch):
    result = call()

    assert set(result['runs']) == {'kd_s0', 'plain_s0'}
    for key, found in result['runs'].items():
        assert [at for at, _ in found['curve']] == [1, 2] and found['iterations'] == 2
        assert found['curve'][-1][1] == np.mean(list(found['sets']['held_out']['psnr_y'].values()))
        assert len(found['sets']['held_out']['ssim']) == 1
        assert 'l_g_distill' in (tmp_path / f'out/runs/{key}/train.log').read_text() or key == 'plain_s0'
        saved = torch.load(tmp_path / f'out/runs/{key}/net_g.pth', weights_only=True)
        assert set(saved) == {'params', 'params_ema'}
    start = [read_state_dict(tmp_path / f'out/runs/{key}/net_g.pth')['conv_first.weight'] for key in result['runs']]
    assert not torch.equal(*start) and (start[0] - start[1]).abs().max() < 0.01  # the same start, two steps later
    assert not list(run_folder('').glob(f'{run_prefix(tmp_path / "out")}*'))
    assert {path.name for path in (tmp_path / 'out').glob('*.png')} == {'curves.png', 'plane_held_out.png'}
    monkeypatch.setattr(Trainings, 'train', None)  # calling it would fail

    assert call() == result
