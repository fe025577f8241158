"""The YAML sections: what is accepted, what is filled in, and what each mistake is told."""
from __future__ import annotations

import subprocess
import sys
from typing import Any, get_args, get_type_hints

import pytest

from basicsr_kd.errors import OptionsError
from basicsr_kd.options import validate
from basicsr_kd.options.distill import distill_terms
from basicsr_kd.options.prune import PruneOptions, prune_steps
from basicsr_kd.utils.prune_request import CHOICES


def put(opt: dict[str, Any], path: str, value: Any) -> None:
    *parents, last = path.split('.')
    for key in parents:
        opt = opt[key]
    opt[last] = value


@pytest.mark.parametrize(('workers', 'said', 'kept'), [(2, {}, True), (2, {'persistent_workers': False}, False),
                                                       (0, {}, None)])
def test_workers_stay_between_epochs_where_there_are_any(kd_opt, workers, said, kept):
    kd_opt['datasets']['train'].update(num_worker_per_gpu=workers, **said)
    validate(kd_opt, is_train=True)
    assert kd_opt['datasets']['train'].get('persistent_workers') is kept


def test_importing_options_needs_neither_torch_nor_basicsr():
    code = 'import sys, basicsr_kd.options; print([m for m in ("torch", "basicsr") if m in sys.modules])'
    assert subprocess.run([sys.executable, '-c', code], capture_output=True, text=True).stdout.strip() == '[]'


def test_defaults_are_filled_in(kd_opt):
    kd_opt['teacher']['prune'] = {'ratio': 0.3}
    assert validate(kd_opt, is_train=True) == []
    assert kd_opt['teacher']['prune'] == {
        'ratio': 0.3, 'keep': None, 'of': 'params', 'layout': 'growth', 'allocation': 'global', 'importance': 'taylor',
        'round_to': 16, 'select': 'least', 'target': None, 'device': None,
        'runtime': None, 'dtype': None, 'size': None, 'reconstruct': False, 'minutes': 0,
        'calibration': {'dataroot': None, 'num': 16, 'size': 96}, 'steps': 1, 'every': None}
    assert kd_opt['train']['distill_opt']['layers'] is None
    assert kd_opt['train']['channels_last'] is True


def test_numbers_written_as_strings_are_numbers(kd_opt):
    put(kd_opt, 'train.distill_opt.loss_weight', '1e-2')
    put(kd_opt, 'train.optim_g.lr', '1e-4')
    put(kd_opt, 'teacher.prune', {'ratio': '3e-1'})
    validate(kd_opt, is_train=True)
    assert kd_opt['train']['distill_opt']['loss_weight'] == 0.01
    assert kd_opt['train']['optim_g']['lr'] == 1e-4
    assert kd_opt['teacher']['prune']['ratio'] == 0.3


def test_numbers_are_read_in_the_sections_of_basicsr_too(kd_opt):
    put(kd_opt, 'val.val_freq', '5e3')
    kd_opt['name'] = '1e-4'
    validate(kd_opt, is_train=True)
    assert kd_opt['val']['val_freq'] == 5000 and kd_opt['name'] == '1e-4'


def test_further_networks_are_nobodys_mistake(kd_opt):
    kd_opt['network_t'] = {'type': 'RRDBNet'}
    assert validate(kd_opt, is_train=True) == []


def test_a_fresh_discriminator_trains_alone_at_first_unless_told_otherwise(kd_opt):
    kd_opt['train'].update(total_iter=5000)
    kd_opt['train'].pop('net_d_init_iters')
    validate(kd_opt, is_train=True)
    assert kd_opt['train']['net_d_init_iters'] == 50


def test_amp_false_is_fp32(kd_opt):
    put(kd_opt, 'train.amp', False)
    validate(kd_opt, is_train=True)
    assert kd_opt['train']['amp'] == 'fp32'


def test_words_for_pruning_are_those_that_it_knows():
    kinds = get_type_hints(PruneOptions)
    words = {name: get_args(kinds[name]) for name in CHOICES}
    assert {name: get_args(its[0]) if its[-1] is type(None) else its for name, its in words.items()} == CHOICES


def test_sections_may_be_lists(prune_opt, kd_opt):
    prune_opt['prune'] = [{'ratio': 0.1}, {'ratio': 0.2, 'round_to': 8}]
    validate(prune_opt, is_train=True)
    assert [step.ratio for step in prune_steps(prune_opt['prune'])] == [0.1, 0.2]
    assert distill_terms(None) == [] and prune_steps(None) == []


def test_prune_list_and_distill_list_in_a_kd_run(kd_opt):
    put(kd_opt, 'train.distill_opt', [{'type': 'FeatureDistillLoss', 'layers': ['conv_first']},
                                      {'type': 'FeatureDistillLoss', 'criterion': 'l1'}])
    validate(kd_opt, is_train=True)
    assert [term.criterion for term in distill_terms(kd_opt['train']['distill_opt'])] == ['l2', 'l1']


@pytest.mark.parametrize(('path', 'value', 'words'), [
    ('teacher.prune', {'ratio': 1.2}, ['teacher.prune.ratio is 1.2', 'from 0 to less than 1']),
    ('teacher.prune', {'ratio': 1}, ['teacher.prune.ratio is 1', 'less than 1']),
    ('teacher.prune', {'ratio': -0.1}, ['teacher.prune.ratio is -0.1', 'from 0 ']),
    ('teacher.prune', {}, ['teacher.prune.ratio is missing']),
    ('teacher.prune', [{'ratio': 0.1}, {'ratio': 'a lot'}], ['teacher.prune[1].ratio', "'a lot'", 'a number']),
    ('teacher.prune', {'ratio': 0.3, 'laoyut': 'growth'}, ['teacher.prune.laoyut', 'layout']),
    ('teacher.prune', {'ratio': 0.3, 'layout': 'hight'}, ['teacher.prune.layout', "'hight'",
                                                           'Possible: growth, width, balanced, blocks, unstructured']),
    ('teacher.prune', {'ratio': 0.3, 'keep': 16, 'layout': 'blocks'}, ['teacher.prune.ratio 0.3 and keep 16']),
    ('teacher.prune', {'layout': 'blocks'}, ['teacher.prune.ratio is missing', 'or keep']),
    ('teacher.prune', {'keep': 16}, ['teacher.prune.keep', 'layout blocks', 'found layout growth']),
    ('teacher.prune', {'keep': 0, 'layout': 'blocks'}, ['teacher.prune.keep is 0', 'at least 1']),
    ('teacher.prune', {'ratio': 0.3, 'select': 'last'}, ['teacher.prune.select', 'layout blocks']),
    ('teacher.prune', {'ratio': 0.3, 'layout': 'unstructured', 'reconstruct': True}, ['teacher.prune.reconstruct']),
    ('teacher.prune', [{'ratio': 0.1}, {'ratio': 0.3, 'layout': 'unstructured', 'importance': 'fpgm'}],
     ['teacher.prune[1].importance', 'fpgm']),
    ('teacher.prune', {'ratio': 0.3, 'calibration': {'dir': 'x'}}, ['teacher.prune.calibration.dir', 'dataroot']),
    ('teacher.prune', {'ratio': 0.3, 'calibration': {'num': 0}}, ['teacher.prune.calibration.num', '>= 1']),
    ('teacher.prune', {'ratio': 0.3, 'steps': 2, 'every': 1}, ['teacher.prune.steps', 'PruneGANModel']),
    ('teacher.prune', {'ratio': 0.3, 'every': 10}, ['teacher.prune.every', 'needs steps']),
    ('teacher.prune', {'ratio': 0.3, 'round_to': 12}, ['teacher.prune.round_to', '12', '16, 8, 4, 1']),
    ('teacher.pth', 'x', ['teacher.pth', 'path']),
    ('teacher', {}, ['teacher.path is missing']),
    ('teacher', 'ESRGAN.pth', ['teacher', "'ESRGAN.pth'"]),
    ('teacher', None, ['train.distill_opt needs', 'teacher:']),
    ('student', {'init': 'techer'}, ['student.init', "'techer'", 'random, teacher']),
    ('train.distil_opt', {}, ['train.distil_opt', 'distill_opt']),
    ('train.channel_last', True, ['train.channel_last', 'channels_last']),
    ('train.amp', 'half', ['train.amp', "'half'", 'fp32, bf16']),
    ('train.relativistic', 'yes', ['train.relativistic', 'true or false']),
    ('train.distill_opt', {'type': 'FeatureDistilLoss'}, ['train.distill_opt.type', 'FeatureDistillLoss']),
    ('train.distill_opt.layers', 'conv_first', ['train.distill_opt.layers', "'conv_first'", 'a section or a list']),
    ('train.distill_opt.layers', ['conv_first', 3], ['train.distill_opt.layers[1]', '3']),
    ('train.distill_opt.loss_weight', -1, ['train.distill_opt.loss_weight', '-1']),
    ('train.optim_d', None, ['train.optim_d is missing', 'gan_opt']),
    ('train.distill_opt.layers', [], ['train.distill_opt.layers', '[]']),
    ('train.optim_g', {'lr': 1e-4}, ['train.optim_g', 'type']),
    ('train.optim_g', {'type': 'Adam', 'lr': 'small'}, ['train.optim_g.lr', "'small'"]),
    ('train.optim_g', {'type': 'Adam', 'lr': 1e12}, ['train.optim_g.lr', 'expected 100 at most']),
    ('train.scheduler', {'type': 'MultistepLR'}, ['train.scheduler.type', 'Possible: MultiStepLR']),
    ('scale', None, ['scale is missing']),
    ('datasets.train', None, ['datasets.train is missing']),
    ('network_g', 'RRDBNet', ['network_g', "'RRDBNet'", 'a section']),
    ('train', None, ['train is missing']),
    ('network_g', None, ['network_g is missing']),
    ('network_d', None, ['network_d is missing', 'gan_opt']),
    ('train.optim_g', None, ['train.optim_g is missing']),
    ('train.pixel_opt', None, ['pixel_opt', 'perceptual_opt']),
    ('path.pretrian_network_g', 'x', ['path.pretrian_network_g', 'pretrain_network_g']),
    ('val.val_frq', 5, ['val.val_frq', 'val_freq']),
    ('techer', {}, ['techer', 'teacher']),
    ('prune', {'ratio': 0.3}, ['prune', 'teacher.prune', 'PruneGANModel']),
])
def test_a_mistake_is_one_error_that_names_key_and_possibilities(kd_opt, path, value, words):
    put(kd_opt, path, value)
    with pytest.raises(OptionsError) as caught:
        validate(kd_opt, is_train=True)
    for word in words:
        assert word in str(caught.value)


def test_a_student_cannot_start_in_two_ways(kd_opt):
    kd_opt['student'] = {'init': 'teacher'}
    put(kd_opt, 'path.pretrain_network_g', 'net_g.pth')
    with pytest.raises(OptionsError, match='student.init: teacher and path.pretrain_network_g'):
        validate(kd_opt, is_train=True)


def test_prune_model_does_not_distil(prune_opt):
    prune_opt['teacher'] = {'path': 'x.pth'}
    with pytest.raises(OptionsError, match='KDGANModel'):
        validate(prune_opt, is_train=True)


@pytest.mark.parametrize(('prune', 'words'), [
    ({'ratio': 0.3, 'steps': 2}, ['prune.every is missing']),
    ({'ratio': 0.3, 'steps': 3, 'every': 2},
     ['prune: the last of 3 stages comes after iteration 4', 'train.total_iter is 4']),
    ([{'ratio': 0.1}, {'ratio': 0.3, 'steps': 2, 'every': 1}], ['prune[1].steps', 'a list of 2']),
    ({'ratio': 0.3, 'of': 'latency', 'steps': 2, 'every': 1}, ['prune.steps: 2 stages', 'expected steps 1']),
])
def test_stages_that_cannot_be(prune_opt, prune, words):
    prune_opt['prune'] = prune
    with pytest.raises(OptionsError) as caught:
        validate(prune_opt, is_train=True)
    for word in words:
        assert word in str(caught.value)


def test_stages_while_training(prune_opt):
    prune_opt['prune'] = [{'ratio': 0.5, 'steps': '4e0', 'every': 1}]
    validate(prune_opt, is_train=True)
    (step,) = prune_steps(prune_opt['prune'])
    assert (step.steps, step.every) == (4, 1)
    assert step.arguments() == {'ratio': 0.5, 'keep': None, 'of': 'params', 'layout': 'growth', 'allocation': 'global',
                                'importance': 'taylor', 'round_to': 16, 'select': 'least', 'target': None,
                                'device': None, 'runtime': None, 'dtype': None, 'size': None,
                                'reconstruct': False, 'minutes': 0}


def test_prune_needs_a_trained_network(prune_opt):
    prune_opt['path']['pretrain_network_g'] = None
    with pytest.raises(OptionsError, match='path.pretrain_network_g is missing'):
        validate(prune_opt, is_train=True)


@pytest.mark.parametrize('section', ['train', 'path', 'val', 'logger', 'datasets.val', 'datasets.train.io_backend',
                                     'train.scheduler'])
def test_a_key_that_nobody_reads_is_an_error(kd_opt, section):
    put(kd_opt, f'{section}.my_own_remark', 'hello')
    with pytest.raises(OptionsError, match=rf'^{section}.my_own_remark: unknown key; '):
        validate(kd_opt, is_train=True)


def test_of_sets_of_others_only_what_all_sets_have_is_checked(kd_opt):
    kd_opt['datasets']['val'].update(type='REDSDataset', dataroot_flow='x', num_frame=5)
    assert validate(kd_opt, is_train=True) == [
        'datasets.val: of type REDSDataset only the keys that all sets have are checked']
    kd_opt['datasets']['val']['pin_memory'] = 'yes please'
    with pytest.raises(OptionsError, match=r"datasets.val.pin_memory: found 'yes please'"):
        validate(kd_opt, is_train=True)


@pytest.mark.parametrize(('path', 'value', 'words'), [
    ('scale', 0, ['scale: found 0', '>= 1']), ('num_gpu', -1, ['num_gpu: found -1']),
    ('num_gpu', 'all', ["num_gpu: found 'all'", 'auto']), ('manual_seed', 'x', ["manual_seed: found 'x'"]),
    ('datasets.test', {}, ['datasets.test: training has no such set']), ('datasets.val', 5, ['datasets', 'found 5']),
    ('train.ema_decay', 1, ['train.ema_decay: found 1', '< 1']), ('train.pixel_opt.loss_weight', -1, ['at least 0']),
    ('train.total_iter', -4, ['train.total_iter: found -4']),
    ('train.scheduler', {'type': 'CosineAnnealingRestartLR', 'periods': [2, 2], 'restart_weights': [1]},
     ['2 periods and 1 restart_weights']),
    ('train.scheduler', {'type': 'CosineAnnealingRestartLR', 'periods': [1]}, ['end after 1', 'total_iter is 4']),
    ('train.scheduler.restart_weights', [1, 1], ['1 restarts and 2 restart_weights']),
    ('logger.print_freq', -1, ['logger.print_freq: found -1']), ('logger.print_frq', 1, ["'print_freq'"]),
    ('val.metrics.psnr.test_y_chanel', True, ['test_y_chanel: unknown key', 'test_y_channel']),
    ('val.metrics.psnr.crop_border', -4, ['crop_border: found -4']),
])
def test_values_that_cannot_run(kd_opt, path, value, words):
    put(kd_opt, path, value)
    with pytest.raises(OptionsError) as caught:
        validate(kd_opt, is_train=True)
    for word in words:
        assert word in str(caught.value)


def test_whole_numbers_as_basicsrs_files_write_them(kd_opt):
    kd_opt['train']['total_iter'] = 4.0  # !!float 4
    kd_opt['val']['val_freq'] = 2.0
    validate(kd_opt, is_train=True)
    assert [kd_opt['train']['total_iter'], kd_opt['val']['val_freq']] == [4, 2]
    kd_opt['val']['val_freq'] = 2.5
    with pytest.raises(OptionsError, match='val.val_freq: found 2.5. Expected a whole number'):
        validate(kd_opt, is_train=True)


def test_frequencies_of_0_mean_never_and_those_out_of_reach_are_told(kd_opt):
    kd_opt['logger'].update(print_freq=0, save_checkpoint_freq=100)
    kd_opt['val']['val_freq'] = 0
    kd_opt['train']['warmup_iter'] = 4
    assert validate(kd_opt, is_train=True) == [
        'train.warmup_iter: found 4, of which training (4 iterations) reaches no end',
        'logger.save_checkpoint_freq: found 100, which training (4 iterations) does not reach']
    assert kd_opt['logger']['print_freq'] == kd_opt['val']['val_freq'] == 5


def test_without_gan_the_discriminator_section_is_dropped(kd_opt):
    kd_opt['train'].pop('gan_opt')
    assert validate(kd_opt, is_train=True) == ['network_d: not used, train.gan_opt is not given']
    assert 'network_d' not in kd_opt


def test_test_time_needs_none_of_the_training_sections(kd_opt):
    kd_opt['teacher'] = {'path': 'gone.pth'}
    validate(kd_opt, is_train=False)
    assert not {'teacher', 'student', 'prune', 'train'} & set(kd_opt) and list(kd_opt['datasets']) == ['val']
