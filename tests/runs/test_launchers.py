"""Distributed runs as commands, without a GPU: two nodes, Slurm, and what must end in one line instead of a hang."""
from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from basicsr.utils import dist_util
from helpers.entry import free_port, stock_options, write_images, write_options

from basicsr_kd.runs import distributed

_LIMIT = 300  # seconds, against a hang


@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp('data')
    write_images(folder, count=4)
    return folder


def distilling(data: Path, teacher: Path, **train: Any) -> dict[str, Any]:
    """Options of a tiny KDGANModel run on a stock set."""
    options = stock_options('kd', data)
    options.update(model_type='KDGANModel', teacher={'path': str(teacher)},
                   network_g={'type': 'SlimRRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 2,
                              'num_grow_ch': 4})
    options['train'].update(distill_opt={'type': 'FeatureDistillLoss'}, **train)
    options['logger']['use_tb_logger'] = False
    return options


def start(*args: str | Path, cwd: Path, **environment: str) -> subprocess.Popen[str]:
    """A process without GPU, one thread, and nothing of a launcher in its environment but what is given."""
    env = {key: value for key, value in os.environ.items() if key not in ('PYTHONPATH', 'BASICSR_KD_AUTOLOAD')}
    env.update(OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='', **environment)
    return subprocess.Popen([sys.executable, *map(str, args)], cwd=cwd, env=env, text=True, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT)


def ends(processes: list[subprocess.Popen[str]]) -> list[tuple[int, str]]:
    """Exit status and output of each, within the time limit."""
    try:
        outputs = [process.communicate(timeout=_LIMIT)[0] for process in processes]
        return [(process.returncode, output) for process, output in zip(processes, outputs, strict=True)]
    finally:
        for process in processes:
            process.kill()


def test_two_nodes_train_together(tmp_path, data, teacher_file):
    train = write_options(tmp_path / 'train.yml', distilling(data, teacher_file))
    meeting = ('--nnodes', '2', '--nproc_per_node', '1', '--rdzv_backend', 'c10d', '--rdzv_id', 'job',
               '--rdzv_endpoint', f'127.0.0.1:{free_port()}', '--local_addr', '127.0.0.1')
    nodes = [start('-m', 'torch.distributed.run', *meeting, '-m', 'basicsr_kd.train', '-opt', train, '--launcher',
                   'pytorch', cwd=tmp_path) for _ in range(2)]
    for status, output in ends(nodes):
        assert status == 0, output
    (log,) = (tmp_path / 'experiments' / 'kd').glob('train_*.log')
    assert 'World size (gpu number): 2' in log.read_text()
    assert (tmp_path / 'experiments' / 'kd' / 'models' / 'net_g_2.pth').is_file()


def test_slurm_tasks_train_together(tmp_path, data):
    scontrol = tmp_path / 'bin' / 'scontrol'
    scontrol.parent.mkdir()
    scontrol.write_text('#!/bin/sh\n[ "$*" = "show hostnames node[1-2]" ] && printf "127.0.0.1\\nnode2\\n"\n')
    scontrol.chmod(scontrol.stat().st_mode | stat.S_IXUSR)
    options = stock_options('stock', data) | {'dist_params': {'backend': 'nccl', 'port': free_port()}}
    train = write_options(tmp_path / 'train.yml', options)
    tasks = [start('-m', 'basicsr_kd.train', '-opt', train, '--launcher', 'slurm', cwd=tmp_path,
                   PATH=f'{scontrol.parent}:{os.environ["PATH"]}', SLURM_PROCID=task, SLURM_LOCALID=task,
                   SLURM_NTASKS='2', SLURM_NODELIST='node[1-2]') for task in '01']
    first, second = ends(tasks)
    assert first[0] == second[0] == 0, first[1] + second[1]
    assert 'World size (gpu number): 2' in first[1]


@pytest.mark.parametrize(('launcher', 'missing', 'expected'), [
    ('pytorch', 'RANK', 'torchrun --nproc_per_node=N'), ('slurm', 'SLURM_PROCID', 'srun --ntasks=N')])
def test_a_launcher_that_has_not_started_the_process_is_told(launcher, missing, expected, monkeypatch, capsys):
    monkeypatch.delenv(missing, raising=False)
    with pytest.raises(SystemExit) as stop:
        dist_util.init_dist(launcher)
    error = capsys.readouterr().err
    assert stop.value.code == 2 and expected in error
    assert error.startswith(f'basicsr_kd: --launcher {launcher}: {missing} is not set') and error.count('\n') == 1


def test_more_processes_than_gpus_are_told(monkeypatch, capsys):
    for name in ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT', 'LOCAL_RANK'):
        monkeypatch.setenv(name, '0')
    monkeypatch.setenv('LOCAL_WORLD_SIZE', '4')
    monkeypatch.setenv('CUDA_VISIBLE_DEVICES', '0,1')
    monkeypatch.setattr(torch.cuda, 'device_count', lambda: 2)
    with pytest.raises(SystemExit) as stop:
        dist_util.init_dist('pytorch')
    error = capsys.readouterr().err
    assert stop.value.code == 2 and '4 processes on this machine, PyTorch finds 2 GPU(s) there' in error
    assert '(CUDA_VISIBLE_DEVICES: 0,1)' in error and '--nproc_per_node=2' in error


@pytest.mark.parametrize(('script', 'expected'), [
    (None, 'there is no command scontrol'),
    ('echo "no such node" >&2; exit 1', 'scontrol show hostnames node1 failed: no such node'),
    ('true', 'scontrol show hostnames node1 names no node'),
])
def test_slurm_without_its_command_is_told(script, expected, tmp_path, monkeypatch, capsys):
    if script:
        (tmp_path / 'scontrol').write_text(f'#!/bin/sh\n{script}\n')
        (tmp_path / 'scontrol').chmod(0o755)
    monkeypatch.setenv('PATH', f'{tmp_path}{":/bin:/usr/bin" if script else ""}')
    monkeypatch.delenv('LOCAL_RANK', raising=False)
    for name, value in {'SLURM_PROCID': '0', 'SLURM_NTASKS': '1', 'SLURM_NODELIST': 'node1'}.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(SystemExit) as stop:
        distributed.start_under_slurm('nccl')
    assert stop.value.code == 2 and expected in capsys.readouterr().err
