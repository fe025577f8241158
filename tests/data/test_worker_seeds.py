"""The random numbers of data loaders' workers: others in every worker, rank and epoch, the same for the same seed."""
from __future__ import annotations

import random

import basicsr.data
import numpy as np
import pytest
import torch
from basicsr.data import build_dataloader
from torch.utils.data import Dataset

from basicsr_kd.data.seeds import vary_worker_seeds

SECTION = {'phase': 'train', 'batch_size_per_gpu': 1, 'num_worker_per_gpu': 2}


class Draws(Dataset):
    """What the three sources of random numbers say."""

    def __len__(self) -> int:
        return 2

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([random.random(), np.random.rand(), torch.rand(()).item()], dtype=torch.float64)


@pytest.fixture
def ours(monkeypatch):
    monkeypatch.setattr(basicsr.data, 'worker_init_fn', basicsr.data.worker_init_fn)  # put back afterwards
    vary_worker_seeds()


def draws(rank: int, monkeypatch: pytest.MonkeyPatch, main_seed: int = 0) -> torch.Tensor:
    """(4, 3): two epochs of two workers."""
    monkeypatch.setattr(basicsr.data, 'get_dist_info', lambda: (rank, 2))
    torch.manual_seed(main_seed)
    loader = build_dataloader(Draws(), SECTION, dist=True, sampler=torch.utils.data.SequentialSampler(Draws()), seed=0)
    return torch.cat([batch for _ in range(2) for batch in loader])


def test_workers_ranks_and_epochs_differ(ours, monkeypatch):
    all_draws = torch.cat([draws(rank, monkeypatch) for rank in (0, 1)])[:, :2]  # even with the same seed of torch
    assert len(all_draws.flatten().unique()) == 2 * 2 * 2 * 2
    assert len(torch.cat([draws(rank, monkeypatch, rank) for rank in (0, 1)])[:, 2].unique()) == 2 * 2 * 2


def test_the_same_seed_gives_the_same_numbers(ours, monkeypatch):
    assert torch.equal(draws(1, monkeypatch), draws(1, monkeypatch))
