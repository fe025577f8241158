"""Trainings by BasicSR's own script, and all that they have at an iteration."""
from __future__ import annotations

import copy
import shutil
from pathlib import Path
from typing import Any

import basicsr.train
import torch

from helpers.entry import free_port, write_options
from helpers.warm import run_warm, start_warm


def as_written(opt: dict[str, Any], name: str, total: int, **changes: Any) -> dict[str, Any]:
    """Options as a user writes them, of those that BasicSR's parse_options leaves."""
    opt = copy.deepcopy(opt)
    for key in ('dist', 'rank', 'world_size', 'is_train', 'auto_resume'):
        opt.pop(key)
    for section in opt['datasets'].values():
        section.pop('phase'), section.pop('scale')
    opt['path'] = {'pretrain_network_g': opt['path']['pretrain_network_g'], 'resume_state': None}
    opt['name'] = name
    changes = copy.deepcopy(changes)
    opt['train'].update(total_iter=total, **changes.pop('train', {}))
    opt['datasets']['train'].update(changes)
    opt['val']['val_freq'] = 2
    opt['logger'].update(save_checkpoint_freq=1, print_freq=1)
    return opt


def run(folder: Path, opt: dict[str, Any], *arguments: str, processes: int = 1) -> str:
    """A training by BasicSR's script, as in a checkout of it; what it said."""
    script = folder / 'basicsr' / 'train.py'
    script.parent.mkdir(exist_ok=True)
    shutil.copy(basicsr.train.__file__, script)
    command = script, '-opt', write_options(folder / 'run.yml', opt), *arguments
    if processes == 1:
        done = run_warm(*command, cwd=folder)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr
    # what torchrun tells its processes
    shared = {'WORLD_SIZE': str(processes), 'MASTER_ADDR': '127.0.0.1', 'MASTER_PORT': str(free_port())}
    ranks = [{'RANK': str(rank), 'LOCAL_RANK': str(rank), **shared} for rank in range(processes)]
    said = folder / 'said.txt'
    said.unlink(missing_ok=True)
    started = [start_warm(*command, '--launcher', 'pytorch', cwd=folder, output=[said], **rank) for rank in ranks]
    for process in started:
        process.join()
    assert [process.exitcode for process in started] == [0] * processes, said.read_text()
    return said.read_text()


def files(folder: Path, name: str, iteration: int) -> dict[str, Any]:
    """All that a run has at an iteration; what only says where it lies is left out."""
    root = folder / 'experiments' / name
    found = {path.name: torch.load(path, weights_only=True) for path in root.glob(f'models/net_*_{iteration}.pth')}
    state = torch.load(root / f'training_states/{iteration}.state', weights_only=True)
    state.pop('options')
    return {**found, 'state': state, 'scores': (root / 'validations.jsonl').read_text()}


def assert_equal(one: Any, other: Any, where: str = '') -> None:
    assert type(one) is type(other), where
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other), where
    elif isinstance(one, dict):
        assert one.keys() == other.keys(), where
        for key in one:
            assert_equal(one[key], other[key], f'{where}/{key}')
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other), where
        for index, pair in enumerate(zip(one, other, strict=True)):
            assert_equal(*pair, f'{where}/{index}')
    else:
        assert one == other, where
