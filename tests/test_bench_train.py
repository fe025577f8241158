"""scripts/bench_train.py, on tiny networks."""
import collections
import json
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml
from basicsr.archs.rrdbnet_arch import RRDBNet

from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.metrics.precision import cpu_has_bf16

sys.path.insert(0, str(Path(__file__).parents[1] / 'scripts'))
import bench_train  # noqa: E402
from bench_networks import peak_memory  # noqa: E402
from bench_steps import (  # noqa: E402
    OPTIONS,
    OURS,
    WARM_UP,
    Setting,
    Step,
    build_step,
    compared_steps,
    peak_memories,
    read_options,
    write_teachers,
)


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


@pytest.fixture
def setting(files, tmp_path) -> Setting:
    options, teacher = files
    return Setting(read_options(options, 'cpu', 32, tmp_path), write_teachers(teacher, tmp_path)[0], 'cpu',
                   torch.get_num_threads(), 1, 32)


@pytest.fixture
def modules_run():
    """Every forward pass of a module, of any model: (its class, its output)."""
    passes = []
    hook = torch.nn.modules.module.register_module_forward_hook(
        lambda module, args, output: passes.append((type(module).__name__, output)))
    yield passes
    hook.remove()


def test_all_steps_are_measured_and_compared(files, tmp_path, capsys):
    options, teacher = files

    bench_train.main(['--turns', '2', '--batch', '1', '--no-memory', '--output', str(tmp_path)], options, teacher)

    result = json.loads((tmp_path / 'results.json').read_text())
    assert [row['name'] for row in result['steps']] == [
        'SRGANModel + forward of the unpruned teacher, fp32, contiguous',
        'SRGANModel + forward of the pruned teacher, fp32, contiguous',
        'ESRGANModel + forward of the unpruned teacher, fp32, contiguous',
        'ESRGANModel + forward of the pruned teacher, fp32, contiguous',
        'KDGANModel, unpruned teacher, fp32, contiguous', 'KDGANModel, pruned teacher, fp32, contiguous',
        'KDGANModel, unpruned teacher, fp32, channels_last', 'KDGANModel, pruned teacher, fp32, channels_last']
    seconds = np.array(result['seconds'])
    assert seconds.shape == (2, 8) and (seconds > 0).all()
    for index, row in enumerate(result['steps']):
        assert row['seconds'][1] == pytest.approx(np.median(seconds[:, index]))
        assert row['time_ratio'][1] == pytest.approx(np.median(seconds[:, index] / seconds[:, 0]))
    text = (tmp_path / 'table.md').read_text()
    assert text in capsys.readouterr().out
    assert all(result[part] in text for part in ('claim', 'saving', 'protocol'))
    assert 'tiny.yml; teachers: RRDBNet, ' in text and 'LR 1x3x32x32' in text


@pytest.mark.parametrize(('step', 'discriminator', 'teacher', 'distils'), [
    (Step('SRGANModel', 'unpruned'), 3, 'RRDBNet', 0), (Step('SRGANModel', 'pruned'), 3, 'PrunedRRDBNet', 0),
    (Step('ESRGANModel', 'unpruned'), 5, 'RRDBNet', 0), (Step(OURS, 'unpruned'), 3, 'RRDBNet', 1),
    (Step(OURS, 'pruned', channels_last=True), 3, 'PrunedRRDBNet', 1)])
def test_a_step_runs_what_its_name_says(setting, modules_run, step, discriminator, teacher, distils):
    run = build_step(step, setting)
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


@pytest.mark.skipif(not cpu_has_bf16(), reason='PyTorch has no fast bf16 on this CPU')
def test_amp_is_ours_alone(setting, modules_run):
    for step in (step for step in compared_steps('bf16', channels_last=True) if step.teacher == 'unpruned'):
        run = build_step(step, setting)
        modules_run.clear()
        run()
        formats = {output.dtype for name, output in modules_run if name == 'Conv2d'}
        assert formats == {torch.bfloat16 if step.amp == 'bf16' else torch.float32}, step.name


def test_a_step_that_is_like_basicsrs_is_there_whatever_is_asked_for():
    for amp, channels_last, count in (('fp32', False, 6), ('fp32', True, 8), ('bf16', False, 8), ('bf16', True, 8)):
        steps = compared_steps(amp, channels_last)
        assert len(steps) == len(set(steps)) == count
        assert {Step(OURS, teacher, *how) for teacher in ('unpruned', 'pruned')
                for how in (('fp32', False), (amp, channels_last))} == {step for step in steps if step.model == OURS}


def test_every_step_runs_once_a_turn_in_changing_order():
    order = []

    taken = bench_train.step_times([lambda number=number: order.append(number) for number in range(4)], 'cpu', 6)

    turns = np.reshape(order, (WARM_UP + 6, 4))
    assert (np.sort(turns) == range(4)).all() and len(set(turns[:, 0])) > 1
    assert taken.shape == (6, 4) and (taken > 0).all()


def test_ratios_are_taken_within_a_turn():
    steps = compared_steps('fp32', channels_last=False)
    slow = np.array([[1.0], [10], [3]])  # the machine's moments
    times = bench_train.Times(steps, slow * [1, 0.9, 1.2, 1.2, 1.04, 0.99])

    assert bench_train.claim(times) == (
        'KDGANModel step <= 1.05 x (SRGANModel step + teacher forward), whose GAN loss is the standard one too, in '
        'fp32 and contiguous: 1.040 (1.040-1.040) with the unpruned teacher, holds; 1.100 (1.100-1.100) with the '
        'pruned teacher, does not hold.\n\n'
        'KDGANModel step <= 1.05 x (ESRGANModel step + teacher forward), whose GAN loss is relativistic, in fp32 and '
        'contiguous: 0.867 (0.867-0.867) with the unpruned teacher, holds; 0.825 (0.825-0.825) with the pruned '
        'teacher, holds.')
    assert bench_train.saving(times) == (
        'Pruning the teacher by 0.3 first shortens the step of KDGANModel by 4.8 % (4.8-4.8) in fp32, contiguous.')
    table = bench_train.table(times.rows([2.5, *[None] * 5])).splitlines()
    assert [cell.strip() for cell in table[2].split('|')[2:5]] == ['3.000', '1.000 (1.000-1.000)', '2.50 GiB']
    assert [cell.strip() for cell in table[4].split('|')[2:5]] == ['3.600', '1.200 (1.200-1.200)', '-']


def test_peak_memory_is_that_of_a_process_of_its_own(setting):
    torch.ones(2**30, dtype=torch.uint8)  # 1 GiB that only this process ever had

    peak, = peak_memories([Step(OURS, 'pruned')], setting)

    own = peak_memory()
    assert peak is None if own is None else 0.1 < peak < own - 0.5


@pytest.mark.parametrize(('arguments', 'message'), [
    (['--turns', '0'], '--turns, --batch and --threads must be 1 or more'),
    (['--device', 'cuda'], '--device cuda: PyTorch sees no GPU here'),
    (['--amp', 'bf16'], '--amp bf16: PyTorch has no fast bf16 on this CPU'),
    (['--lr-size', '48'], 'invalid choice')])
def test_what_cannot_be_measured_is_refused(arguments, message, monkeypatch, capsys):
    monkeypatch.setattr(bench_train, 'fast_formats', lambda device: ['fp32'])
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)

    with pytest.raises(SystemExit):
        bench_train.main(arguments)

    assert message in capsys.readouterr().err
