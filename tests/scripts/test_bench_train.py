"""scripts/bench_train.py, on tiny networks."""
import collections
import json
from dataclasses import replace
from pathlib import Path

import bench_ranks
import bench_train
import numpy as np
import pytest
import torch
import yaml
from basicsr.archs.rrdbnet_arch import RRDBNet
from bench.floor import count_flops, floor, matrix_rates
from bench.networks import peak_memory
from bench.parts import PartTimer, part_seconds
from bench.results import Results, Target, targets
from bench.steps import (
    BASELINE,
    BF16,
    DEFAULT,
    FP32,
    FP32_CHANNELS_LAST,
    OPTIONS,
    OURS,
    OUTPUTS,
    STANDARD,
    WARM_UP,
    Setting,
    Step,
    TrainingStep,
    compared_steps,
    compiled_bf16,
    peak_memories,
    read_options,
    write_teachers,
)
from torch.utils.flop_counter import FlopCounterMode

from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.utils.modes import cpu_has_bf16

needs_bf16 = pytest.mark.skipif(not cpu_has_bf16(), reason='PyTorch has no fast bf16 on this CPU')


@pytest.fixture(scope='module')
def files(tmp_path_factory) -> tuple[Path, str]:
    """The options that the script reads, with tiny networks, and an RRDBNet large enough for widths in steps of 16."""
    folder = tmp_path_factory.mktemp('files')
    opt = yaml.safe_load(OPTIONS.read_text())
    opt['network_g'].update(num_feat=4, num_block=2, num_grow_ch=4)
    opt['network_d'].update(num_feat=2)
    (folder / 'tiny.yml').write_text(yaml.safe_dump(opt))
    torch.manual_seed(0)
    write_checkpoint(folder / 'teacher.pth', RRDBNet(3, 3, num_feat=32, num_block=2, num_grow_ch=16).state_dict())
    return folder / 'tiny.yml', str(folder / 'teacher.pth')


@pytest.fixture(scope='module')
def setting(files, tmp_path_factory) -> Setting:
    options, teacher = files
    folder = tmp_path_factory.mktemp('steps')
    return Setting(read_options(options, 'cpu', 32, folder), write_teachers(teacher, folder)[0], 'cpu',
                   torch.get_num_threads(), 1, 32)


@pytest.fixture
def modules_run():
    """Every forward pass of a module, of any model: (its class, its output)."""
    passes = []
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, args, output: passes.append((type(module).__name__, output)))
    yield passes
    hook.remove()


def test_all_steps_are_measured_and_compared(files, tmp_path, capsys, monkeypatch):
    options, teacher = files
    monkeypatch.setattr(bench_train, 'fast_formats', lambda device: ['fp32'])
    monkeypatch.setattr(bench_train, 'matrix_rates', lambda formats, device: dict.fromkeys(formats, 1e9))

    bench_train.main(['--turns', '2', '--batch', '2', '--no-memory', '--profile', '--output', str(tmp_path)], options,
                     teacher)

    result = json.loads((tmp_path / 'results.json').read_text())
    assert [row['name'] for row in result['steps']] == [
        'ESRGANModel + forward of the unpruned teacher', 'SRGANModel + forward of the unpruned teacher',
        'KDGANModel: all fp32, contiguous', 'KDGANModel: channels_last', 'KDGANModel: pruned teacher',
        'KDGANModel: outputs alone', 'KDGANModel: outputs alone, outputs cached']
    seconds = np.array(result['seconds'])
    assert seconds.shape == (2, 7) and (seconds > 0).all()
    for index, row in enumerate(result['steps']):
        assert row['seconds'][1] == pytest.approx(np.median(seconds[:, index]))
        assert row['time_ratio'][1] == pytest.approx(np.median(seconds[:, index] / seconds[:, 0]))
        assert row['floor_seconds'] == pytest.approx(row['flops']['fp32'] / 1e9)
    journal = [json.loads(line) for line in (tmp_path / 'journal.jsonl').read_text().splitlines()]
    third = result['steps'][2]['name']
    assert [row['seconds'] for row in journal if row['step'] == third and row.get('turn') == 1] == [seconds[1, 2]]
    assert result['profiles'].keys() == {row['name'] for row in result['steps']}
    assert all(found['waits'] and found['busy'] is None for found in result['profiles'].values())
    text = (tmp_path / 'table.md').read_text()
    printed = capsys.readouterr().out
    assert text in printed and 'bf16 is left out' in printed
    assert all(result[part] in text for part in ('targets', 'protocol'))
    assert 'tiny.yml; teachers: RRDBNet, ' in text and 'LR 2x3x32x32' in text
    assert (tmp_path / 'plot.png').stat().st_size > 10_000


@pytest.mark.parametrize(('step', 'discriminator', 'teacher', 'distils'), [
    (STANDARD, 3, 'RRDBNet', 0), (BASELINE, 5, 'RRDBNet', 0), (FP32, 2, 'RRDBNet', 1),
    (Step(OURS, 'pruned', channels_last=True), 2, 'PrunedRRDBNet', 1)])
def test_a_step_runs_what_its_name_says(setting, modules_run, step, discriminator, teacher, distils):
    run = TrainingStep(step, setting)
    modules_run.clear()  # the distiller has tried both networks

    run()

    passes = collections.Counter(name for name, _ in modules_run)
    assert {'SlimRRDBNet': 1, 'VGGStyleDiscriminator': discriminator, teacher: 1}.items() <= passes.items()
    assert passes['FeatureDistillLoss'] == distils
    outputs = dict(modules_run)
    assert outputs['SlimRRDBNet'].requires_grad and not outputs[teacher].requires_grad
    assert outputs['SlimRRDBNet'].shape == (1, 3, 128, 128)
    features = next(output for name, output in modules_run if name == 'RRDB' and output.requires_grad)
    assert features.is_contiguous(memory_format=torch.channels_last) == step.channels_last


def test_ours_has_the_loss_of_the_baseline(setting):
    ours, theirs = TrainingStep(FP32, setting), TrainingStep(BASELINE, setting)
    theirs.model.net_d.load_state_dict(ours.model.net_d.state_dict())
    theirs.model.net_g.load_state_dict(ours.model.net_g.state_dict())
    theirs.model.lq, theirs.model.gt = ours.model.lq, ours.model.gt

    for run in (ours, theirs):
        run()

    expected = {name: value for name, value in theirs.model.log_dict.items() if name.startswith('l_')}
    assert expected and {name: ours.model.log_dict[name] for name in expected} == pytest.approx(expected, rel=1e-4)


@needs_bf16
@pytest.mark.parametrize(('step', 'student', 'teacher'), [
    (BASELINE, torch.float32, torch.float32), (FP32, torch.float32, torch.float32),
    (DEFAULT, torch.float32, torch.bfloat16), (BF16, torch.bfloat16, torch.bfloat16)])
def test_a_step_is_in_the_formats_of_its_name(setting, step, student, teacher):
    run = TrainingStep(step, setting)
    seen = {}
    for name, net in {'student': run.model.net_g, 'teacher': run.teacher}.items():
        net.conv_body.register_forward_hook(
            lambda module, args, output, name=name: seen.update({name: output.dtype}))

    run()

    assert seen == {'student': student, 'teacher': teacher}


def test_each_lever_stands_alone_and_together():
    assert compared_steps(['fp32'], []) == [
        BASELINE, STANDARD, FP32, FP32_CHANNELS_LAST, Step(OURS, 'pruned'), OUTPUTS, replace(OUTPUTS, cached=True)]
    steps = compared_steps(['fp32', 'bf16'], ['default'])
    assert len(steps) == len(set(steps)) == 17
    for lever in ({'channels_last': True}, {'teacher_amp': 'bf16'}, {'amp': 'bf16', 'teacher_amp': 'bf16'},
                  {'teacher': 'pruned'}, {'compile_mode': 'default'}):
        assert Step(OURS, **lever) in steps
    assert {DEFAULT, BF16, compiled_bf16('default')} <= set(steps)
    assert compiled_bf16('default').name == 'KDGANModel: amp bf16, teacher bf16, channels_last, compile (default)'
    alone = compared_steps(['fp32', 'bf16'], ['reduce-overhead', 'default'], eager=False)
    assert alone[:2] == [BASELINE, BF16] and len(alone) == 8
    assert [step.compile_d for step in alone[2:]] == [True, False, True] * 2
    assert alone[3].name.endswith('compile (reduce-overhead), D eager')


def test_every_step_runs_once_a_turn_in_changing_order():
    order = []

    taken = bench_train.step_times([lambda number=number: order.append(number) for number in range(4)], 'cpu', 6)

    turns = np.reshape(order, (WARM_UP + 6, 4))
    assert (np.sort(turns) == range(4)).all() and len(set(turns[:, 0])) > 1
    assert taken.shape == (6, 4) and (taken > 0).all()


@pytest.mark.parametrize('cached', [False, True])
def test_a_step_with_cached_outputs_runs_no_teacher(setting, modules_run, cached):
    run = TrainingStep(replace(OUTPUTS, cached=cached), setting)
    modules_run.clear()
    run()
    passes = collections.Counter(name for name, _ in modules_run)
    assert (passes['RRDBNet'], passes['SlimRRDBNet'], passes['ResponseDistillLoss']) == (0 if cached else 1, 1, 1)


def results(steps, ratios, peaks) -> Results:
    slow = np.array([[1.0], [10], [3]])  # the machine's moments
    nothing = [{'fp32': 8 * 10**9}] * len(steps)
    return Results(steps, slow * ratios, peaks, nothing, [0.5] * len(steps),
                   [{'rest': 1.0, 'losses': 2.0}, {'rest': 1.0, 'backward': 3.0}, *[None] * (len(steps) - 2)])


def test_targets_are_judged_by_ratios_within_a_turn():
    found = results([BASELINE, FP32, DEFAULT], [1, 0.93, 0.81], [2.0, 2.5, None])

    assert found.verdicts([Target(FP32, 0.93, 1.2), Target(DEFAULT, 0.8), Target(BF16, 0.52, 1.0)]).splitlines() == [
        'Targets, as shares of ESRGANModel + forward of the unpruned teacher:', '',
        '- KDGANModel: all fp32, contiguous: time 0.930 (0.930-0.930), <= 0.93 holds; '
        'peak memory 1.250, <= 1.2 does not hold',
        '- KDGANModel: teacher bf16, channels_last: time 0.810 (0.810-0.810), <= 0.8 does not hold',
        '- KDGANModel: amp bf16, teacher bf16, channels_last: not measured']
    rows = [[cell.strip() for cell in line.split('|')[2:-1]] for line in found.table(4).splitlines()[2:]]
    assert rows[1] == ['2.790', '0.930 (0.930-0.930)', '2.0', '0.500', '2.50 GiB (1.25)']
    assert rows[2][-1] == '-'


def test_what_must_be_reached_is_measured():
    measured = compared_steps(['fp32', 'bf16'], ['default'])
    assert {target.step for target in targets(['default'], 'cuda')} <= set(measured)
    assert compiled_bf16('default') not in {target.step for target in targets(['default'], 'cpu')}


def test_parts_that_a_step_does_not_have_are_left_open():
    table = results([BASELINE, FP32, DEFAULT], [1, 1, 1], [None] * 3).parts_table().splitlines()
    cells = [[cell.strip() for cell in line.split('|')[2:-1]] for line in table]
    assert cells[0] == ['losses', 'backward', 'rest'] and len(table) == 4
    assert cells[2:] == [['2.000', '-', '1.000'], ['-', '3.000', '1.000']]


def test_a_part_is_not_counted_in_the_part_around_it(monkeypatch):
    now = iter([0.0, 1, 3, 6, 10, 15])
    monkeypatch.setattr('time.perf_counter', lambda: next(now))
    timer = PartTimer('cpu')

    timer.start()
    timer.timed('outer', timer.timed('inner', lambda: None))()

    assert timer.stop() == {'rest': 1 + 5, 'outer': 2 + 4, 'inner': 3}


@pytest.mark.parametrize('step', [BASELINE, FP32])
def test_all_parts_of_a_step_are_timed_and_nothing_stays_wrapped(setting, step):
    run = TrainingStep(step, setting)
    before = (torch.autograd.backward, torch.autograd.grad, run.model.optimizer_g.step)

    seconds = part_seconds(run, 'cpu')

    assert seconds.keys() == {'rest', 'teacher forward', 'student forward', 'discriminator forward', 'losses',
                              'backward', 'optimizers', 'average of weights'}
    assert min(seconds.values()) > 0
    assert before == (torch.autograd.backward, torch.autograd.grad, run.model.optimizer_g.step)
    assert 'forward' not in vars(run.model.net_g) and 'model_ema' not in vars(run.model)


def test_operations_are_counted_by_format():
    conv = torch.nn.Conv2d(3, 5, 3, padding=1, bias=False)
    image = torch.rand(2, 3, 8, 8)
    forward = 2 * 2 * 8 * 8 * 3 * 5 * 9  # two a multiply-accumulate, two images

    assert count_flops(lambda: conv(image)) == {'fp32': forward}
    assert count_flops(lambda: conv(image).sum().backward()) == {'fp32': 2 * forward}  # none to the image
    assert count_flops(lambda: conv.bfloat16()(image.bfloat16())) == {'bf16': forward}


def test_the_count_is_pytorchs_where_that_can_count(setting):
    run = TrainingStep(BASELINE, setting)
    with FlopCounterMode(display=False) as counter:
        run()
    assert count_flops(run) == {'fp32': counter.get_total_flops()}


def test_the_floor_adds_up_what_each_format_takes():
    assert floor({'fp32': 30, 'bf16': 40}, {'fp32': 10.0, 'bf16': 20.0}) == 5.0
    rates = matrix_rates(['fp32'], 'cpu')
    assert rates.keys() == {'fp32'} and 1e8 < rates['fp32'] < 1e14


def test_peak_memory_is_that_of_a_process_of_its_own(setting):
    torch.ones(2**30, dtype=torch.uint8)  # 1 GiB that only this process ever had

    peak, = peak_memories([Step(OURS, 'pruned')], setting)

    own = peak_memory()
    assert peak is None if own is None else 0.1 < peak < own - 0.5


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--turns', '0'], '--turns, --batch and --threads must be 1 or more'),
    (['--device', 'cuda'], '--device cuda: PyTorch sees no GPU here'),
    (['--compile', 'fast'], 'invalid choice'),
    (['--lr-size', '48'], 'invalid choice')])
def test_what_cannot_be_measured_is_refused(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)

    with pytest.raises(SystemExit):
        bench_train.main(arguments)

    assert message in capsys.readouterr().err


def test_ranks_share_the_batch_of_the_single_process(files, tmp_path, monkeypatch):
    options, teacher = files
    monkeypatch.setattr(bench_ranks, 'fast_formats', lambda device: ['fp32'])
    settings = []
    monkeypatch.setattr(bench_ranks, 'TrainingStep',
                        lambda step, setting: settings.append(setting) or TrainingStep(step, setting))

    bench_ranks.main(['--turns', '2', '--batch', '1', '--output', str(tmp_path)], options, teacher)

    assert [(setting.batch, setting.threads) for setting in settings] == [(2, 2)]
    row, = json.loads((tmp_path / 'results.json').read_text())['steps']
    low, middle, high = row['throughput_ratio']
    assert row['name'] == FP32_CHANNELS_LAST.name and min(row['seconds']) > 0 and 0 < low <= middle <= high
    assert f'{middle:.3f} ({low:.3f}-{high:.3f})' in (tmp_path / 'table.md').read_text()


@pytest.mark.parametrize('arguments', [['--ranks', '1'], ['--turns', '0'], ['--batch', '0']])
def test_ranks_refuses(arguments, capsys):
    with pytest.raises(SystemExit):
        bench_ranks.main(arguments)

    assert 'or more' in capsys.readouterr().err
