"""Validation in two processes (gloo, no GPU): they share the images and give a single process's scores and files."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import basicsr  # noqa: F401  (its import registers the plugin, also in the processes that are started here)
import numpy as np
import torch
import torch.distributed as dist
from helpers.models import start, train
from helpers.validation import Board, FlatInception, loader, random_alexnet, without_teacher
from helpers.warm import run_processes

from basicsr_kd.errors import BackboneError
from basicsr_kd.metrics import lpips, set_scores
from basicsr_kd.runs.distributed import leave_process_group

METRICS = {'psnr': {'type': 'calculate_psnr', 'crop_border': 4}, 'ssim': {'type': 'calculate_ssim', 'crop_border': 4},
           'fid': {'type': 'calculate_fid'}, 'kid': {'type': 'calculate_kid', 'patch': 32},
           'lpips': {'type': 'calculate_lpips', 'crop_border': 4}}


def no_lpips(*args: Any) -> torch.nn.Module:
    raise BackboneError('only the other machine has it')


def validate(opt: dict[str, Any], ema_decay: float, rank: int, world_size: int) -> Any:
    torch.manual_seed(0)  # the same weights everywhere
    model = start({**opt, 'train': {**opt['train'], 'ema_decay': ema_decay}, 'dist': world_size > 1, 'rank': rank,
                   'world_size': world_size})
    train(model, 1, 1)
    enlarged = []
    forward = model.test
    model.test = lambda: enlarged.append(forward())
    model.board = None if rank else Board()
    for iteration in (1, 2):
        model.validation(loader(opt), iteration, model.board, True)
    train(model, 2, 2)  # nobody waits for a rank that validates
    model.enlarged = len(enlarged)
    return model


def one_of_two(rank: int, opt: dict[str, Any], folder: Path) -> None:
    torch.set_num_threads(1)
    set_scores.inception_network = FlatInception.build
    lpips.backbone_state = random_alexnet
    if rank:
        lpips.lpips_network = no_lpips
    dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2)
    for ema_decay in (0.9, 0):
        model = validate(opt, ema_decay, rank, 2)
        assert model.enlarged == 2 * (1 if rank else 2)  # of three images
        assert model.left_out == {'lpips': 'only the other machine has it'}  # both know it
        if rank == 0:
            torch.save([dict(model.metric_results), model.best_metric_results, model.board.images],
                       folder / f'{ema_decay}.pth')
    dist.barrier()
    leave_process_group()


def test_two_processes_give_the_scores_and_files_of_one(kd_opt, tmp_path, monkeypatch):
    opt = without_teacher(kd_opt)
    opt['val'].update(metrics=METRICS, pictures=2)
    opt['logger']['use_tb_logger'] = True
    opt['path']['visualization'] = str(tmp_path / 'two')
    run_processes(one_of_two, (opt, tmp_path), 2)
    opt['path']['visualization'] = str(tmp_path / 'one')
    monkeypatch.setattr(set_scores, 'inception_network', FlatInception.build)
    monkeypatch.setattr(lpips, 'lpips_network', no_lpips)
    for ema_decay in (0.9, 0):
        alone = validate(opt, ema_decay, 0, 1)
        results, best, pictures = torch.load(tmp_path / f'{ema_decay}.pth', weights_only=False)
        assert list(results) == ['psnr', 'ssim', 'fid', 'kid']
        assert results == alone.metric_results and best == alone.best_metric_results
        assert set(pictures) == {(f'pairs/{name}', iteration) for name in '01' for iteration in (1, 2)}
        assert all(np.array_equal(pictures[tag], picture) for tag, picture in alone.board.images.items())
    files = [{path.relative_to(tmp_path / folder): path.read_bytes() for path in (tmp_path / folder).rglob('*.png')}
             for folder in ('one', 'two')]
    assert len(files[0]) == 6 and files[0] == files[1]
