"""PruneGANModel in two processes (gloo, no GPU): a stage leaves both with the network of a single process."""
from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import basicsr  # noqa: F401  (its import registers the plugin, also in the processes that are started here)
import torch
import torch.distributed as dist
from helpers.models import same, train_share, weights
from helpers.warm import run_processes

from basicsr_kd.runs.distributed import leave_process_group, on_master_first

PRUNE = {'random': {'ratio': 0.5, 'round_to': 1, 'importance': 'random'},
         'unstructured': {'ratio': 0.5, 'layout': 'unstructured'}}


def with_stages(opt: dict[str, Any], prune: dict[str, Any], rank: int, world_size: int) -> Any:
    """With a stage in the middle."""
    torch.manual_seed(rank)
    return train_share({**opt, 'prune': {**prune, 'steps': 2, 'every': 2}}, rank, world_size)


def save_what_is_learned(rank: int, opt: dict[str, Any], folder: Path) -> None:
    for name, prune in PRUNE.items():
        model = with_stages(opt, prune, rank, 2)
        moments = {str(index): state['exp_avg'] for index, state in model.optimizer_g.state_dict()['state'].items()}
        torch.save({'net': weights(model.get_bare_model(model.net_g)), 'average': weights(model.net_g_ema),
                    'moments': moments}, folder / f'{name}{rank}.pth')


def one_of_two(rank: int, opt: dict[str, Any], folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    save_what_is_learned(rank, opt, folder)
    threads = on_master_first(torch.get_num_threads)
    assert (threads, torch.get_num_threads()) == (os.cpu_count(), 1)
    dist.barrier()
    leave_process_group()


def test_both_processes_have_the_network_of_a_single_one(prune_opt, tmp_path):
    prune_opt['train'].pop('gan_opt')  # batch statistics of a discriminator are those of one process
    run_processes(one_of_two, (prune_opt, tmp_path), 2)
    for name in PRUNE:
        first, second = (torch.load(tmp_path / f'{name}{rank}.pth', weights_only=True) for rank in (0, 1))
        for key in ('net', 'average', 'moments'):
            assert same(first[key], second[key]), (name, key)
        if name == 'random':  # magnitudes that are nearly the same may be ranked another way
            alone = with_stages(prune_opt, PRUNE[name], 0, 1)
            torch.testing.assert_close(first['net'], weights(alone.net_g), rtol=1e-3, atol=1e-5)
