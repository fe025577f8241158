"""GPUs and processes that are not as the options have them: one line that says what to do."""
from __future__ import annotations

import pytest
import torch

from basicsr_kd.errors import OptionsError
from basicsr_kd.preflight import devices


@pytest.fixture(autouse=True)
def _no_launcher_around(monkeypatch):
    for name in ('CUDA_VISIBLE_DEVICES', 'LOCAL_RANK', 'WORLD_SIZE'):
        monkeypatch.delenv(name, raising=False)


def check(monkeypatch, gpus: int, num_gpu: int, dist: bool = False, **environment: str) -> None:
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: gpus)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    devices.check_device({'num_gpu': num_gpu, 'dist': dist, 'is_train': True})


@pytest.mark.parametrize(('gpus', 'num_gpu', 'dist', 'environment', 'expected'), [
    (1, 2, False, {}, 'num_gpu: found 2, this machine has 1 GPU'),
    (1, 1, False, {'CUDA_VISIBLE_DEVICES': '0,5'}, 'CUDA_VISIBLE_DEVICES: found 0,5, of which PyTorch finds 1 GPU'),
    (0, 0, False, {'CUDA_VISIBLE_DEVICES': '7'}, 'CUDA_VISIBLE_DEVICES: found 7, of which PyTorch finds 0 GPU'),
    (0, 0, True, {'CUDA_VISIBLE_DEVICES': '7'}, 'CUDA_VISIBLE_DEVICES: found 7, of which PyTorch finds 0 GPU'),
    (0, 8, True, {}, 'num_gpu: found 8, this machine has no GPU'),
    (2, 0, True, {}, 'num_gpu: found 0, but a launcher gives each process a GPU'),
    (2, 2, False, {}, 'num_gpu: found 2 without a launcher; start with torchrun --nproc_per_node=2'),
    (0, 0, False, {'WORLD_SIZE': '2', 'LOCAL_RANK': '0'},
     'torchrun has started 2 processes, .* add --launcher pytorch'),
])
def test_what_is_refused(gpus, num_gpu, dist, environment, expected, monkeypatch):
    with pytest.raises(OptionsError, match=expected):
        check(monkeypatch, gpus, num_gpu, dist, **environment)


@pytest.mark.parametrize(('gpus', 'num_gpu', 'dist', 'environment'), [
    (0, 0, False, {}),
    (0, 0, False, {'CUDA_VISIBLE_DEVICES': ''}),
    (0, 0, False, {'CUDA_VISIBLE_DEVICES': '-1'}),
    (0, 0, False, {'CUDA_VISIBLE_DEVICES': '0'}),
    (0, 0, False, {'CUDA_VISIBLE_DEVICES': 'NoDevFiles'}),  # of Slurm, for a job without GPUs
    (1, 1, False, {'CUDA_VISIBLE_DEVICES': 'MIG-aaaa,MIG-bbbb'}),  # a process has one of these
    (4, 0, False, {'CUDA_VISIBLE_DEVICES': '0,1,2,3,9'}),  # on the CPU
    (4, 8, True, {}),  # two machines of four
    (0, 0, True, {'WORLD_SIZE': '2', 'LOCAL_RANK': '0'}),
])
def test_what_is_fine(gpus, num_gpu, dist, environment, monkeypatch):
    check(monkeypatch, gpus, num_gpu, dist, **environment)
