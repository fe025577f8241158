"""TecoGANModel in two processes (gloo, no GPU): both learn what a single one learns, decide alike and share clips."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import basicsr  # noqa: F401  (its import registers the plugin, also in the processes that are started here)
import pytest
import torch
import torch.distributed as dist
from basicsr.archs import build_network
from basicsr.data import build_dataloader, build_dataset
from helpers.models import same, start, weights
from helpers.video import FRNET, clip_batch, with_gan
from helpers.warm import run_processes

from basicsr_kd.runs.distributed import leave_process_group


def trained(opt: dict[str, Any], rank: int, world_size: int) -> Any:
    """Three iterations on this process's share of each batch."""
    torch.manual_seed(0)  # the same weights everywhere
    model = start({**opt, 'dist': world_size > 1, 'rank': rank, 'world_size': world_size})
    for iteration in range(1, 4):
        model.update_learning_rate(iteration)
        model.feed_data({'gt': clip_batch(iteration)['gt'][rank::world_size]})
        model.optimize_parameters(iteration)
    return model


def distilled(opt: dict[str, Any], teacher: Path) -> dict[str, Any]:
    section = {'type': 'FeatureDistillLoss', 'layers': ['srnet.resblocks.*', 'fnet.flow'], 'depth_match': 'even'}
    return {**opt, 'teacher': {'path': str(teacher)}, 'prune': {'target': 'srnet', 'layout': 'blocks', 'keep': 2,
                                                               'select': 'last'},
            'path': {**opt['path'], 'pretrain_network_g': str(teacher)},
            'train': {**opt['train'], 'distill_opt': section}}


def validated(model: Any, opt: dict[str, Any]) -> dict[str, float]:
    model.validation(build_dataloader(build_dataset(opt['datasets']['val']), opt['datasets']['val']), 3, None, False)
    return getattr(model, 'metric_results', {})


def work(rank: int, opt: dict[str, Any], teacher: Path, folder: Path) -> None:
    small = trained(distilled(opt, teacher), rank, 2)
    torch.save({'net': weights(small.get_bare_model(small.net_g)), 'ema': weights(small.net_g_ema),
                'adapters': weights(small.get_bare_model(small.distiller.adapters)),
                'scores': validated(small, opt)}, folder / f'small{rank}.pth')
    adversarial = trained(with_gan(opt), rank, 2)
    logits = torch.tensor([[1.0 - 2 * rank]]), torch.tensor([[-0.5]])
    # log σ(real) - log σ(fake) is 0.66 on rank 0 and -0.34 on rank 1, on average 0.16: alone they would not agree
    torch.save({'net': weights(adversarial.get_bare_model(adversarial.net_g)),
                'net_d': dict(adversarial.get_bare_model(adversarial.net_d).named_parameters()),
                'pauses': adversarial.discriminator_pauses(*logits, torch.tensor(0.0))}, folder / f'gan{rank}.pth')


def one_of_two(rank: int, opt: dict[str, Any], teacher: Path, folder: Path) -> None:
    torch.set_num_threads(1)
    dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    work(rank, opt, teacher, folder)
    dist.barrier()
    leave_process_group()


def test_two_processes_learn_and_score_as_one(frvsr_opt, tmp_path):
    torch.manual_seed(1)
    torch.save(build_network(FRNET).state_dict(), tmp_path / 'teacher.pth')
    run_processes(one_of_two, (frvsr_opt, tmp_path / 'teacher.pth', tmp_path), 2)
    first, second = (torch.load(tmp_path / f'small{rank}.pth', weights_only=True) for rank in (0, 1))
    model = trained(distilled(frvsr_opt, tmp_path / 'teacher.pth'), 0, 1)
    for key, net in (('net', model.net_g), ('ema', model.net_g_ema), ('adapters', model.distiller.adapters)):
        assert same(first[key], second[key]), key
        torch.testing.assert_close(first[key], weights(net), rtol=1e-3, atol=1e-4)
    assert first['scores'] == pytest.approx(validated(model, frvsr_opt), rel=1e-3) and not second['scores']

    first, second = (torch.load(tmp_path / f'gan{rank}.pth', weights_only=True) for rank in (0, 1))
    assert same(first['net'], second['net']) and same(first['net_d'], second['net_d'])
    assert first['pauses'] is second['pauses'] is False
