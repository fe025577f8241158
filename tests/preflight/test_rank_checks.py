"""Two processes (gloo, no GPU) whose options or files differ: both end with the same line, and neither waits."""
from __future__ import annotations

import copy
import io
from contextlib import redirect_stderr
from datetime import timedelta
from pathlib import Path
from typing import Any

import basicsr  # noqa: F401  (its import registers the plugin, also in the processes that are started here)
import pytest
import torch
import torch.distributed as dist
from helpers.warm import run_processes

from basicsr_kd import preflight
from basicsr_kd.errors import OptionsError
from basicsr_kd.preflight import ranks
from basicsr_kd.runs.distributed import leave_process_group


def told(opt: dict[str, Any]) -> str:
    """What a process says when it ends, or nothing where it goes on."""
    with redirect_stderr(io.StringIO()) as said:
        try:
            preflight.check_options(copy.deepcopy(opt), True)
        except SystemExit as stop:
            assert stop.code == 2
            return said.getvalue()
    return ''


def check_both(rank: int, opt: dict[str, Any], folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2,
                            timeout=timedelta(seconds=60))
    opt = {**opt, 'dist': True, 'rank': rank, 'world_size': 2, 'manual_seed': rank}
    assert told(opt) == ''
    other = {**opt, 'model_type': ('KDGANModel', 'SRModel')[rank]}
    assert told(other).startswith("basicsr_kd: model_type: 'KDGANModel' on rank 0, 'SRModel' on rank 1; all ranks need")
    if rank:
        opt['teacher'] = {'path': 'nowhere.pth'}
    assert 'basicsr_kd: teacher.path: ' in told(opt)
    dist.barrier()
    leave_process_group()


def test_both_processes_stop(kd_opt, tmp_path):
    run_processes(check_both, (kd_opt, tmp_path), 2)


def difference(first: dict[str, Any], second: dict[str, Any]) -> str:
    with pytest.raises(OptionsError) as error:
        ranks.must_agree([ranks.options_of_ranks({'dist': False, **opt})[0] for opt in (first, second)])
    return str(error.value)


def test_the_first_key_that_differs_is_named():
    first = {'rank': 0, 'num_gpu': 4, 'path': {'models': '/a'}, 'train': {'optim_g': {'lr': 1e-4}, 'total_iter': 9}}
    second = {'rank': 1, 'num_gpu': 8, 'path': {'models': '/b'}, 'train': {'optim_g': {'lr': 2e-4}, 'total_iter': 8}}
    assert difference(first, second).startswith('train.optim_g.lr: 0.0001 on rank 0, 0.0002 on rank 1; ')


def test_a_key_that_only_one_rank_has_is_named():
    assert difference({'scale': 4}, {'scale': 4, 'train': {'amp': 'bf16'}}).startswith(
        "train.amp: None on rank 0, 'bf16' on rank 1; ")


def test_a_rank_that_does_not_see_the_state_to_resume_is_told(tmp_path):
    for name in ('7.state', 'net_g_7.pth'):
        (tmp_path / name).touch()
    first, second = ({'auto_resume': True, 'path': {'training_states': str(folder), 'models': str(folder)}}
                     for folder in (tmp_path, tmp_path / 'not mounted'))
    assert difference(first, second).startswith("path.resume_state: '7.state' on rank 0, None on rank 1; ")
