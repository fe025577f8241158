"""metrics/speed.py and utils/modes.py: who is timed when, and memory against what a network must take."""
import os
import sys
import time

import pytest
import torch
from helpers.entry import run_python
from torch import nn

from basicsr_kd.metrics import speed, timing
from basicsr_kd.metrics.speed import device_info, forward_times, measure_speed
from basicsr_kd.utils.modes import cpu_has_bf16, fast_formats, full_fp32

IMAGE = torch.rand(1, 3, 4, 4)


class Recorder(nn.Module):
    """Writes down when it runs and in which format; takes some seconds."""

    def __init__(self, name: str, record: list, seconds: float = 0.0) -> None:
        super().__init__()
        self.name = name
        self.record = record
        self.seconds = seconds

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        assert not self.training and torch.is_inference_mode_enabled()
        assert image.is_contiguous(memory_format=torch.channels_last)
        kind = 'bf16' if torch.is_autocast_enabled('cpu') else 'fp32'
        self.record.append((self.name, kind))
        time.sleep(self.seconds)
        return image


def test_networks_take_turns_in_all_formats_and_each_turn_starts_with_another():
    record: list = []
    networks = {name: Recorder(name, record) for name in 'ab'}

    times, _ = forward_times(networks, IMAGE, ['fp32', 'bf16'], turns=4)

    everyone = {(name, kind) for name in 'ab' for kind in ('fp32', 'bf16')}
    turns = [record[start:start + 4] for start in range(0, len(record), 4)]
    assert len(turns) == timing.WARM_UP + 4 and all(set(turn) == everyone for turn in turns)
    assert {turn[0] for turn in turns} == everyone
    assert set(times) == everyone and {len(taken) for taken in times.values()} == {4}


def test_the_slower_network_takes_longer_and_the_spread_is_around_the_median():
    found, _ = measure_speed({'slow': Recorder('slow', [], 0.02), 'fast': Recorder('fast', [])}, (8, 6), ['fp32'],
                             'cpu', turns=3)

    slow, fast = found['slow']['fp32'], found['fast']['fp32']
    assert 0.02 <= slow.seconds[0] <= slow.seconds[1] <= slow.seconds[2] < 0.2 and fast.seconds[1] < 0.02
    assert slow.lr_size == (8, 6) and slow.turns == 3


def test_time_that_is_spent_ends_the_turns_but_not_before_three():
    record: list = []

    times, _ = forward_times({'a': Recorder('a', record, 0.02)}, IMAGE, ['fp32'], turns=50, budget=0.01)

    assert len(times['a', 'fp32']) == 3 and len(record) == timing.WARM_UP + 3


@pytest.mark.parametrize('error', [RuntimeError, ValueError, MemoryError])
def test_a_format_that_a_network_cannot_run_in_is_left_out_with_the_reason(error):
    class NoHalf(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            if torch.is_autocast_enabled('cpu'):
                raise error('not implemented for BFloat16\nException raised from ...')
            return image

    found, failures = measure_speed({'a': NoHalf(), 'b': nn.Identity()}, (4, 4), ['fp32', 'bf16'], 'cpu', turns=2)

    assert {name: list(kinds) for name, kinds in found.items()} == {'a': ['fp32'], 'b': ['fp32', 'bf16']}
    assert failures == {('a', 'bf16'): f'{error.__name__}: not implemented for BFloat16'}


def test_memory_that_ends_when_it_is_measured_is_such_a_reason(monkeypatch):
    def fails(net: nn.Module, image: torch.Tensor, kind: str) -> None:
        raise RuntimeError('out of memory')
    monkeypatch.setattr(speed, '_peak_bytes', fails)

    assert measure_speed({'a': nn.Identity()}, (4, 4), ['fp32'], 'cpu', turns=1) == (
        {'a': {}}, {('a', 'fp32'): 'RuntimeError: out of memory'})


def test_the_settings_are_restored_when_the_timing_is_interrupted(monkeypatch):
    monkeypatch.setattr(torch.backends.cudnn, 'benchmark', False)  # BasicSR's train.py turns it on for good

    class Interrupted(nn.Module):
        def forward(self, image: torch.Tensor) -> torch.Tensor:
            assert torch.backends.cudnn.benchmark
            raise KeyboardInterrupt

    assert not torch.backends.cudnn.benchmark
    with pytest.raises(KeyboardInterrupt):
        forward_times({'a': Interrupted()}, IMAGE, ['fp32'], turns=1)
    assert not torch.backends.cudnn.benchmark


def tf32() -> tuple[bool, bool]:
    return torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32


@pytest.mark.parametrize('allowed', [(True, False), (False, True)])
def test_full_fp32_forbids_tf32_and_restores_what_was_set(allowed):
    default = tf32()
    try:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = allowed
        with pytest.raises(ZeroDivisionError), full_fp32():
            assert tf32() == (False, False)
            raise ZeroDivisionError
        assert tf32() == allowed
    finally:
        torch.backends.cudnn.allow_tf32, torch.backends.cuda.matmul.allow_tf32 = default


PEAKS = """
import torch
from basicsr_kd.metrics.speed import measure_speed

class Net(torch.nn.Module):

    def __init__(self):
        super().__init__()
        self.weight = torch.nn.Parameter(torch.ones(2**20))

    def forward(self, image):  # takes 3 x 2**22 values of memory for a moment, then far fewer
        return torch.ones(3 * 2**22).sum() + torch.ones(2**18) * image.sum()

before = [torch.ones(2**22) for _ in range(8)]
del before
for _ in range(3):
    print(measure_speed({'a': Net()}, (4, 4), ['fp32'], 'cpu', turns=1)[0]['a']['fp32'].peak_bytes)
"""


@pytest.mark.skipif(not sys.platform.startswith('linux') or not os.path.exists('/proc/self/clear_refs'),
                    reason='this system does not tell the peak of a process')
def test_peak_memory_is_the_weights_and_what_a_pass_takes(tmp_path):
    run = run_python('-c', PEAKS, cwd=tmp_path)  # a process of its own, since the heap of one with a past has holes

    expected = 4 * (2**20 + 3 * 2**22)
    assert [int(line) for line in run.stdout.split()] == [pytest.approx(expected, rel=0.05)] * 3, run.stderr


def test_where_the_system_does_not_tell_there_is_no_peak(monkeypatch):
    def barred(*args, **kwargs):
        raise PermissionError
    monkeypatch.setattr('pathlib.Path.write_text', barred)

    assert measure_speed({'a': nn.Identity()}, (4, 4), ['fp32'], 'cpu', turns=1)[0]['a']['fp32'].peak_bytes is None


def test_the_device_is_named_with_its_threads():
    info = device_info('cpu')

    assert info.type == 'cpu' and info.name and info.threads == torch.get_num_threads()
    assert info.torch == torch.__version__


@pytest.mark.parametrize('has', [False, True])
def test_bf16_is_worth_timing_where_the_cpu_has_it(monkeypatch, has):
    monkeypatch.setattr('basicsr_kd.utils.modes.cpu_has_bf16', lambda: has)
    assert fast_formats('cpu') == ['fp32', 'bf16'][:1 + has]


@pytest.mark.parametrize('has', [False, True])
def test_a_gpu_always_has_fp16_and_not_always_bf16(monkeypatch, has):
    monkeypatch.setattr(torch.cuda, 'is_bf16_supported', lambda including_emulation: has and not including_emulation)
    assert fast_formats('cuda') == (['fp32', 'bf16', 'fp16'] if has else ['fp32', 'fp16'])


@pytest.mark.skipif(not cpu_has_bf16(), reason='PyTorch has no fast bf16 on this CPU')
def test_bf16_is_faster_than_fp32_where_it_is_called_fast():
    net = nn.Sequential(*(nn.Conv2d(64, 64, 3, padding=1) for _ in range(4)))
    times, _ = forward_times({'a': net}, torch.rand(1, 64, 64, 64), ['fp32', 'bf16'], turns=9)

    assert min(times['a', 'bf16']) < min(times['a', 'fp32'])
