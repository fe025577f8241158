"""KDGANModel's distillation losses together: lists of them, when they are due, how much they weigh."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.archs import build_network
from helpers.models import batch, same, start, start_and_save, train, train_on_and_resume, weights

from basicsr_kd.checkpoint import read_state_dict, write_checkpoint
from basicsr_kd.errors import CheckpointError, OptionsError
from basicsr_kd.losses import __all__ as LOSSES
from basicsr_kd.options import validate
from basicsr_kd.options.distill import ScheduleOptions


@pytest.fixture
def kd_opt(kd_opt: dict[str, Any], tmp_path: Path) -> dict[str, Any]:
    """With the teacher's discriminator, whose features one of the losses compares."""
    write_checkpoint(tmp_path / 'net_d.pth', build_network(kd_opt['network_d']).state_dict())
    kd_opt['path']['pretrain_network_d'] = str(tmp_path / 'net_d.pth')
    return kd_opt


ALL = [{'type': 'FeatureDistillLoss'}, {'type': 'ResponseDistillLoss'}, {'type': 'AttentionTransferLoss'},
       {'type': 'FeatureAffinityLoss'}, {'type': 'DiscriminatorFeatureLoss', 'discriminator_layers': ['conv0_1']}]


def test_all_losses_add_up(kd_opt):
    assert {term['type'] for term in ALL} == set(LOSSES) - {'CosinePerceptualLoss'}  # which needs no teacher
    kd_opt['train']['distill_opt'] = ALL
    model = start(kd_opt)
    teacher, net_d = weights(model.net_teacher), weights(model.net_d)
    train(model, 1, 1)
    log = model.get_current_log()
    terms = [log[f'l_g_distill_{term["type"]}'] for term in ALL]
    assert all(term > 0 for term in terms) and log['l_g_distill'] == pytest.approx(sum(terms))
    assert same(weights(model.net_teacher), teacher) and not same(weights(model.net_d), net_d)
    adapters = [weight for group in model.optimizer_g.param_groups[1:] for weight in group['params']]
    assert len(adapters) == 2 * (4 + 1)  # one loss adapts all layers, one the last


@pytest.mark.parametrize('term', ALL, ids=lambda term: term['type'])
def test_every_loss_alone_moves_the_student(kd_opt, term):
    kd_opt['train'].update(distill_opt={**term, 'loss_weight': 1.0}, net_d_init_iters=0)
    kd_opt['train']['pixel_opt']['loss_weight'] = 0.0
    kd_opt['train']['gan_opt']['loss_weight'] = 0.0
    model = start(kd_opt)
    before = weights(model.net_g)
    train(model, 1, 1)
    assert not same(before, weights(model.net_g))


def test_a_loss_without_adapters_trains_and_resumes(kd_opt):
    kd_opt['train']['distill_opt'] = {'type': 'ResponseDistillLoss'}
    model = start_and_save(kd_opt, 2)
    again = train_on_and_resume(model, kd_opt, 3, 3)
    assert same(weights(again.net_g), weights(model.net_g))


def test_the_distilled_discriminator_stays_the_teachers_also_when_resumed(kd_opt, tmp_path):
    kd_opt['train']['distill_opt'] = ALL[-1]
    model = start_and_save(kd_opt, 2)
    again = train_on_and_resume(model, kd_opt, 3, 4)
    assert same(weights(again.net_g), weights(model.net_g))
    kept = tmp_path / 'run' / 'models' / 'teacher_d.pth'
    assert same(read_state_dict(str(kept)), read_state_dict(kd_opt['path']['pretrain_network_d']))
    kept.unlink()
    with pytest.raises(CheckpointError, match="teacher_d.pth is missing: the teacher's discriminator"):
        start({**kd_opt, 'auto_resume': True})


def test_adapters_that_were_not_fitted_yet_are_fitted_after_a_resume(kd_opt):
    kd_opt['train'].update(net_d_init_iters=3, distill_opt={'type': 'FeatureDistillLoss', 'adapter_init': 'fit'})
    model = start_and_save(kd_opt, 2)
    again = train_on_and_resume(model, kd_opt, 3, 4)
    assert same(weights(again.distiller.adapters), weights(model.distiller.adapters))
    assert same(weights(again.net_g), weights(model.net_g))


def test_the_teacher_runs_only_when_it_is_due(kd_opt):
    kd_opt['train']['distill_every'] = 2
    model = start(kd_opt)
    runs = []
    model.net_teacher.register_forward_hook(lambda *_: runs.append(1))
    logs = []
    for iteration in (1, 2, 3, 4):
        train(model, iteration, iteration)
        logs.append('l_g_distill' in model.get_current_log())
    assert logs == [False, True, False, True] and len(runs) == 2


def test_the_schedule_weighs_the_terms(kd_opt):
    kd_opt['train'].update(distill_schedule={'type': 'linear', 'warmup_iter': 2}, ema_decay=0)
    model = start(kd_opt)
    fixed = start({**kd_opt, 'train': {**kd_opt['train'], 'distill_schedule': {}}})
    fixed.net_g.load_state_dict(weights(model.net_g))
    fixed.distiller.adapters.load_state_dict(weights(model.distiller.adapters))
    found = []
    for iteration in (1, 2, 3, 4):
        terms = []
        for one in (model, fixed):
            one.feed_data(batch(0))
            for group in one.optimizer_g.param_groups:
                group['lr'] = 0.0  # so that only the weight of the term changes
            one.optimize_parameters(iteration)
            terms.append(one.get_current_log().get('l_g_distill', 0.0))
        found.append(terms[0] / terms[1])
    assert found == pytest.approx([0.5, 1.0, 0.5, 0.0], abs=1e-5)


@pytest.mark.parametrize(('schedule', 'expected'), [
    ({}, [1, 1, 1, 1]),
    ({'warmup_iter': 10}, [0.5, 1, 1, 1]),
    ({'type': 'linear'}, [0.95, 0.9, 0.5, 0]),
    ({'type': 'linear', 'end': 0.2}, [0.96, 0.92, 0.6, 0.2]),
    ({'type': 'cosine'}, [0.99384, 0.97553, 0.5, 0]),
    ({'type': 'cosine', 'warmup_iter': 10}, [0.5, 1, 0.586824, 0]),
])
def test_schedules(schedule: dict[str, Any], expected: list[float]):
    factors = [ScheduleOptions(**schedule).factor(iteration, 100) for iteration in (5, 10, 50, 100)]
    assert factors == pytest.approx(expected, abs=1e-5)


@pytest.mark.parametrize(('change', 'message'), [
    ({'distill_opt': {'type': 'FeatureDistilLoss'}},
     r"train.distill_opt.type: found 'FeatureDistilLoss'. Possible: FeatureDistillLoss, ResponseDistillLoss"),
    ({'distill_opt': [{'type': 'ResponseDistillLoss', 'layers': ['body.0']}]},
     r'train.distill_opt\[0\].layers: unknown key; possible: criterion, detail, loss_weight'),
    ({'distill_opt': {'type': 'AttentionTransferLoss', 'depth_mach': 'even'}}, 'did you mean .depth_match.'),
    ({'distill_opt': [{'type': 'FeatureDistillLoss', 'criterion': 'l3'}]},
     r"\[0\].criterion: found 'l3'. Possible: l1, l2"),
    ({'distill_opt': {'layers': ['body.*']}}, 'train.distill_opt.type is missing'),
    ({'distill_opt': {'type': 'FeatureDistillLoss', 'layers': {'body.0': None}}}, r'layers'),
    ({'distill_schedule': {'type': 'cosin'}},
     'distill_schedule.type: found .cosin.. Possible: constant, linear, cosine'),
    ({'distill_schedule': {'warmup_iter': 4}}, 'warmup_iter: found 4, expected less than train.total_iter'),
    ({'distill_every': 0}, 'train.distill_every: found 0'),
    ({'adaptive_d': 0}, 'train.adaptive_d: found 0'),
    ({'adaptiv_d': 0.1}, "did you mean 'adaptive_d'"),
    ({'distill_opt': {'type': 'FeatureDistillLoss', 'layers': ['bodi.*']}},
     "'bodi.*' matches no module of the student"),
    ({'distill_opt': {'type': 'DiscriminatorFeatureLoss', 'discriminator_layers': ['conv9_9']}},
     "'conv9_9' matches no module of the discriminator"),
])
def test_faults_are_told_before_anything_starts(kd_opt, change, message):
    kd_opt['train'].update(change)
    with pytest.raises(OptionsError, match=message):
        start(kd_opt)


def test_a_discriminators_features_need_a_discriminator_that_has_learned(kd_opt):
    kd_opt['train']['distill_opt'] = ALL[-1]
    kd_opt['path']['pretrain_network_d'] = None
    with pytest.raises(OptionsError, match="path.pretrain_network_d is missing: the teacher's discriminator"):
        start(kd_opt)
    kd_opt['train'].pop('gan_opt')
    with pytest.raises(OptionsError, match='DiscriminatorFeatureLoss needs the teacher.s discriminator'):
        start(kd_opt)


@pytest.mark.parametrize(('gone', 'change', 'unused'), [
    ('gan_opt', {'adaptive_d': 0.5, 'warmup_iter_d': 1}, ['train.warmup_iter_d', 'train.adaptive_d', 'network_d']),
    ('distill_opt', {'distill_every': 2, 'distill_schedule': {'type': 'cosine'}},
     ['teacher', 'train.distill_schedule', 'train.distill_every']),
    ('', {'distill_schedule': {'end': 0.5}}, ['train.distill_schedule.end']),
])
def test_keys_that_do_nothing_are_told(kd_opt, gone, change, unused):
    kd_opt['train'].update(change)
    kd_opt['train'].pop(gone, None)
    assert [warning.partition(':')[0] for warning in validate(kd_opt, True)] == unused


def test_a_student_of_fewer_blocks_learns_from_blocks_at_even_distances(kd_opt, tmp_path):
    kd_opt['network_g'] = {**kd_opt['network_g'], 'num_block': 1}
    kd_opt['train']['distill_opt']['layers'] = ['body.*']
    with pytest.raises(OptionsError, match='matches 1 modules of the student .* 2 of the teacher .*depth_match: even'):
        start(kd_opt)
    kd_opt['train']['distill_opt']['depth_match'] = 'even'
    model = start(kd_opt)
    assert model.distiller.pairs == [[('body.0', 'body.1')]]
    train(model, 1, 1)
    assert model.get_current_log()['l_g_distill'] > 0


def test_a_compiled_student_and_teacher_learn_the_same(kd_opt):
    """By dynamo without a compiler behind it: the hooks of the taps are traced with the network."""
    plain, compiled = start(kd_opt), start(kd_opt)
    for net in ('net_g', 'net_d'):
        getattr(compiled, net).load_state_dict(weights(getattr(plain, net)))
    compiled.distiller.adapters.load_state_dict(weights(plain.distiller.adapters))
    for net in (compiled.net_g, compiled.net_teacher):
        net.compile(backend='eager')
    for model in (plain, compiled):
        train(model, 1, 2)
    for left, right in zip(plain.net_g.parameters(), compiled.net_g.parameters(), strict=True):
        torch.testing.assert_close(left, right)
    assert compiled.get_current_log()['l_g_distill'] == pytest.approx(plain.get_current_log()['l_g_distill'])
