"""KDGANModel in two processes (gloo, no GPU): the student of a single process, and both decide alike."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import basicsr  # noqa: F401  (its import registers the plugin, also in the processes that are started here)
import torch
import torch.distributed as dist
from model_helpers import same, train_share, weights

from basicsr_kd.compat import leave_process_group
from basicsr_kd.models.balance import is_below

KINDS: dict[str, dict[str, Any]] = {
    'adapters': {'distill_opt': [{'type': 'FeatureDistillLoss'}, {'type': 'ResponseDistillLoss'}], 'distill_every': 2},
    'fitted adapters': {'distill_opt': {'type': 'FeatureDistillLoss', 'adapter_init': 'fit'}},
    'no adapters': {'distill_opt': {'type': 'ResponseDistillLoss'}, 'distill_schedule': {'type': 'cosine'}},
}


def with_kind(opt: dict[str, Any], kind: dict[str, Any], rank: int, world_size: int) -> Any:
    torch.manual_seed(0)  # the same weights everywhere
    return train_share({**opt, 'train': {**opt['train'], **kind}}, rank, world_size)


def learned(model: Any) -> dict[str, dict[str, torch.Tensor]]:
    return {'net': weights(model.get_bare_model(model.net_g)),
            'adapters': weights(model.get_bare_model(model.distiller.adapters))}


def save_what_is_learned(rank: int, opt: dict[str, Any], folder: Path) -> None:
    without_gan = {**opt, 'train': {key: value for key, value in opt['train'].items() if key != 'gan_opt'}}
    for name, kind in KINDS.items():
        torch.save(learned(with_kind(without_gan, kind, rank, 2)), folder / f'{name}{rank}.pth')
    # losses 0 and 1: each rank alone would decide otherwise
    assert [is_below(torch.tensor(float(rank)), threshold) for threshold in (0.4, 0.6)] == [False, True]
    paused = with_kind(opt, {'adaptive_d': 1000.0}, rank, 2)
    assert rank or paused.log_dict['d_paused'] == 1.0  # BasicSR gathers the log on rank 0


def one_of_two(rank: int, opt: dict[str, Any], folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    save_what_is_learned(rank, opt, folder)
    dist.barrier()
    leave_process_group()


def test_both_processes_learn_what_a_single_one_learns(kd_opt, tmp_path):
    torch.multiprocessing.spawn(one_of_two, (kd_opt, tmp_path), nprocs=2)
    kd_opt['train'].pop('gan_opt')  # batch statistics of a discriminator are those of one process
    for name, kind in KINDS.items():
        first, second = (torch.load(tmp_path / f'{name}{rank}.pth', weights_only=True) for rank in (0, 1))
        alone = learned(with_kind(kd_opt, kind, 0, 1))
        for key, found in first.items():
            assert same(found, second[key]), (name, key)
            torch.testing.assert_close(found, alone[key], rtol=1e-3, atol=1e-5)
