"""KDGANModel in two processes (gloo, no GPU): the student of a single process, and both decide alike."""
from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import basicsr  # noqa: F401  (its import registers the plugin, also in the processes that are started here)
import torch
import torch.distributed as dist
from helpers.models import batch, same, start, weights
from helpers.warm import run_processes

from basicsr_kd.models.training.balance import is_below
from basicsr_kd.runs.distributed import leave_process_group

KINDS: dict[str, dict[str, Any]] = {
    'adapters': {'distill_opt': [{'type': 'FeatureDistillLoss'}, {'type': 'ResponseDistillLoss'}], 'distill_every': 2},
    'fitted adapters': {'distill_opt': {'type': 'FeatureDistillLoss', 'adapter_init': 'fit'}},
    'no adapters': {'distill_opt': {'type': 'ResponseDistillLoss'}, 'distill_schedule': {'type': 'cosine'}},
    'discriminator': {'distill_opt': {'type': 'FeatureDistillLoss'}, 'relativistic': False},
}


def of_kind(opt: dict[str, Any], name: str, folder: Path) -> dict[str, Any]:
    """Options of a run that two processes can share; BatchNorm would see the batch of one process only."""
    opt = copy.deepcopy(opt)
    opt['train'].update(KINDS[name])
    opt['network_d'] = {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 2}
    if name != 'discriminator':
        opt['train'].pop('gan_opt')
    opt['path'].update(models=str(folder / 'models'), training_states=str(folder / 'states'))
    return opt


def begin(opt: dict[str, Any], rank: int = 0, world_size: int = 1) -> Any:
    torch.manual_seed(0)  # the same weights everywhere
    return start({**opt, 'dist': world_size > 1, 'rank': rank, 'world_size': world_size})


def train_share(model: Any, first: int, last: int) -> Any:
    """Iterations `first` … `last` on this process's share of each batch."""
    for iteration in range(first, last + 1):
        model.update_learning_rate(iteration)
        share = slice(model.opt['rank'], None, model.opt['world_size'])
        model.feed_data({name: images[share] for name, images in batch(iteration).items()})
        model.optimize_parameters(iteration)
    return model


def learned(model: Any) -> dict[str, torch.Tensor]:
    nets = {'net': model.net_g, 'adapters': model.distiller.adapters} | ({'d': model.net_d} if model.with_gan else {})
    return {f'{which}.{key}': tensor for which, net in nets.items()
            for key, tensor in weights(model.get_bare_model(net)).items()}


def work(rank: int, opt: dict[str, Any], folder: Path) -> None:
    for name in KINDS:
        model = train_share(begin(of_kind(opt, name, folder / name), rank, 2), 1, 2)
        model.save(0, 2)
        torch.save(learned(train_share(model, 3, 3)), folder / f'{name}{rank}.pth')
    resumed = begin({**of_kind(opt, 'discriminator', folder / 'alone'), 'auto_resume': True}, rank, 2)
    torch.save(learned(train_share(resumed, 3, 3)), folder / f'resumed{rank}.pth')
    # losses 0 and 1: each rank alone would decide otherwise
    assert [is_below(torch.tensor(float(rank)), threshold) for threshold in (0.4, 0.6)] == [False, True]
    paused = copy.deepcopy(opt)
    paused['train']['adaptive_d'] = 1000.0
    model = train_share(begin(paused, rank, 2), 1, 2)
    assert rank or model.log_dict['d_paused'] == 1.0  # BasicSR gathers the log on rank 0
    opt['train']['broadcast_buffers'] = True
    model = begin(opt, rank, 2)
    statistics = model.get_bare_model(model.net_d).bn0_1.running_mean.fill_(100.0 * rank)
    train_share(model, 1, 1)
    assert statistics.abs().max() < 10  # rank 1 went on from those of rank 0


def one_of_two(rank: int, opt: dict[str, Any], folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    work(rank, opt, folder)
    dist.barrier()
    leave_process_group()


def both(folder: Path, name: str) -> dict[str, torch.Tensor]:
    """What the two processes have learned, which is the same."""
    first, second = (torch.load(folder / f'{name}{rank}.pth', weights_only=True) for rank in (0, 1))
    assert same(first, second), name
    return first


def test_both_processes_learn_what_a_single_one_learns_and_go_on_from_each_other(kd_opt, tmp_path):
    alone = train_share(begin(of_kind(kd_opt, 'discriminator', tmp_path / 'alone')), 1, 2)
    alone.save(0, 2)
    expected = learned(train_share(alone, 3, 3))
    run_processes(one_of_two, (kd_opt, tmp_path), 2)
    near = {'rtol': 0, 'atol': 1e-5}
    torch.testing.assert_close(both(tmp_path, 'resumed'), expected, **near)
    for name in KINDS:
        opt = of_kind(kd_opt, name, tmp_path / name)
        found = both(tmp_path, name)
        resumed = begin({**opt, 'auto_resume': True})
        torch.testing.assert_close(learned(train_share(resumed, 3, 3)), found, **near)
        opt['path'].update(models=str(tmp_path / 'models'), training_states=str(tmp_path / 'states'))
        torch.testing.assert_close(found, learned(train_share(begin(opt), 1, 3)), **near)
