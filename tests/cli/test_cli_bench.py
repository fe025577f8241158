"""`basicsr-kd bench`: what it writes, and what it refuses. What takes how long is not looked at."""
from __future__ import annotations

from pathlib import Path

import cv2
import msgspec
import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact

from basicsr_kd.archs.frnet_arch import FRNet
from basicsr_kd.bench.schema import Bench
from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.cli.main import main
from basicsr_kd.deploy.export.export import ToleranceError
from basicsr_kd.metrics.complexity import complexity
from basicsr_kd.metrics.process_memory import process_bytes


@pytest.fixture
def tool(tmp_path, monkeypatch, capsys):
    """Runs the command in a folder with teacher.pth and student.pth: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    for name, width in (('teacher', 16), ('student', 8)):
        write_checkpoint(f'{name}.pth', SRVGGNetCompact(num_feat=width, num_conv=2, upscale=4).state_dict())

    def run(*args):
        try:
            status = main(['bench', *args])
        except SystemExit as error:  # argparse
            status = error.code
        return status, *capsys.readouterr()
    return run


@pytest.fixture
def no_peaks(monkeypatch):
    """Memory is not measured, which takes processes and their time."""
    monkeypatch.setattr('basicsr_kd.bench.measure.peaks',
                        lambda files, lr_size, param_key, progress: dict.fromkeys(files))


SHORT = ('--size', '16x24', '--turns', '3', '--dtype', 'fp32')


def test_two_networks_in_pytorch_and_onnx_runtime(tool):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    status, output, errors = tool('--weights', 'teacher.pth', 'student.pth', *SHORT, '--runtime', 'torch,onnxruntime',
                                  '--json', 'new/bench.json', '--plot', 'new/bench.png')

    assert (status, errors) == (0, '')
    found = msgspec.json.decode(Path('new/bench.json').read_bytes(), type=Bench)
    assert found.lr_size == (16, 24) and found.left_out == []
    assert [(row.network, row.runtime) for row in found.rows] == [
        (name, runtime) for name in ('teacher', 'student') for runtime in ('torch-nchw', 'torch', 'onnxruntime')]
    first, student = found.rows[0], found.rows[4]
    macs = [complexity(SRVGGNetCompact(num_feat=width, num_conv=2, upscale=4), (16, 24)).macs for width in (16, 8)]
    assert (first.macs, student.macs) == tuple(macs) and student.macs_ratio == pytest.approx(macs[1] / macs[0])
    assert first.time_ratio == first.network_ratio == 1
    assert student.network_ratio == pytest.approx(student.speed.seconds[1] / found.rows[1].speed.seconds[1])
    assert student.time_ratio == pytest.approx(student.speed.seconds[1] / first.speed.seconds[1])
    for row in found.rows:
        assert row.speed.turns == 3 and row.threads == 1 and row.speed.lr_size == (16, 24)
        assert process_bytes() is None or row.speed.peak_bytes > 0
    assert cv2.imread('new/bench.png') is not None
    lines = output.splitlines()
    assert all(title in lines[0] for title in ('time / first', 'MACs / first', 'memory'))
    assert 'PyTorch' in lines[2] and 'NCHW' in lines[2] and 'ONNX Runtime' in lines[4]
    assert 'random 24x16 image' in output and 'Written: new/bench.json, new/bench.png' in output


def test_a_recurrent_network_is_timed_step_by_step(tool, no_peaks):
    write_checkpoint('frnet.pth', FRNet(nf=8, nb=1).state_dict())
    assert tool('--weights', 'frnet.pth', *SHORT, '--runtime', 'torch', '--threads', '1,2', '--json', 'a.json')[0] == 0
    found = msgspec.json.decode(Path('a.json').read_bytes(), type=Bench)
    assert [(row.runtime, row.threads) for row in found.rows] == [('torch-nchw', 1), ('torch-nchw', 2), ('torch', 1),
                                                                  ('torch', 2)]
    assert torch.get_num_threads() == found.device.threads


def test_a_network_that_does_not_work_in_a_runtime_is_left_out_with_the_reason(tool, no_peaks, monkeypatch):
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')

    def fails(*args, **options):
        raise ToleranceError('x.onnx does not do what student.pth does', [])
    monkeypatch.setattr('basicsr_kd.bench.measure.export', fails)
    status, output, _ = tool('--weights', 'student.pth', *SHORT, '--runtime', 'torch,onnxruntime')

    assert status == 0 and 'student in onnxruntime, fp32, is left out: x.onnx does not do what' in output
    assert 'ONNX Runtime' not in output


@pytest.mark.parametrize(('args', 'found'), [
    (['--dtype', 'int8'], '--dtype int8 needs --calibration DIR'),
    (['--calibration', 'x'], '--calibration is for --dtype int8'),
    (['--turns', '2'], '--turns is 2. Expected at least 3'),
    (['--plot', 'x.jpg'], 'ends in .png'),
    (['--plot', 'student.pth.png', '--json', 'student.pth'], 'student.pth exists'),
    (['--dtype', 'fp16'], "'fp16' is none of fp32, bf16, int8"),
    (['--runtime', 'torch,tensorrt'], "'tensorrt' is none of torch, onnxruntime"),
    (['--threads', '0'], 'is no number of threads'),
    (['--size', '64x'], '64x is no size'),
])
def test_what_does_not_go_together_is_refused(tool, args, found):
    status, _, errors = tool('--weights', 'student.pth', *args)
    assert status == 2 and found in errors


def test_a_size_that_a_network_does_not_take_is_refused_before_the_work(tool):
    write_checkpoint('x2.pth', RRDBNet(3, 3, scale=2, num_feat=8, num_block=1, num_grow_ch=4).state_dict())
    status, _, errors = tool('--weights', 'student.pth', 'x2.pth', '--size', '33', '--runtime', 'torch')
    assert status == 2 and '33x33 pixels, and x2.pth takes multiples of 2' in errors


def test_nothing_left_to_time_is_refused(tool, monkeypatch):
    monkeypatch.setattr('basicsr_kd.bench.plan.fast_formats', lambda device: ['fp32'])
    status, _, errors = tool('--weights', 'student.pth', '--dtype', 'bf16', '--runtime', 'torch', '--json', 'a.json')
    assert status == 2 and 'nothing is left to time. bf16 in torch is left out' in errors
    assert not Path('a.json').exists()
