"""Random numbers of training images: by seed, rank, epoch and place, whoever reads them; the state of the process's."""
from __future__ import annotations

import io
import random

import numpy as np
import pytest
import torch
from basicsr.data.data_sampler import EnlargedSampler
from torch.utils.data import Dataset

from basicsr_kd.data import order
from basicsr_kd.data.seeds import random_state, set_random_state
from basicsr_kd.runs import resume


class Draws(Dataset):
    """What the three sources of random numbers say."""

    def __len__(self) -> int:
        return 3

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([random.random(), np.random.rand(), torch.rand(()).item()], dtype=torch.float64)


def draws(workers: int = 0, rank: int = 0, seed: int = 5, done: int = 0, epochs: int = 2) -> torch.Tensor:
    """(n, 3): what the batches of some epochs, each of two images, hold; of the iterations after `done`."""
    section = {'phase': 'train', 'batch_size_per_gpu': 2, 'num_worker_per_gpu': workers}
    sampler = order.PlacedSampler(Draws(), 2, rank, 3, seed=seed, batch=2)
    loader = order.build_dataloader(Draws(), section, num_gpu=0, sampler=sampler, seed=seed)
    batches = []
    for epoch in range(done // sampler.iterations, epochs):
        sampler.set_epoch(epoch)
        batches += list(loader)
    return torch.cat(batches)


@pytest.fixture(autouse=True)
def _from_the_beginning(monkeypatch):
    monkeypatch.setattr(resume, 'done', 0)
    monkeypatch.setattr(order, 'current', {})


def test_every_image_of_every_epoch_and_rank_has_its_own():
    found = torch.cat([draws(rank=rank) for rank in (0, 1)])
    assert found.shape == (2 * 2 * 6, 3) and len(found.flatten().unique()) == found.numel()


@pytest.mark.parametrize('workers', [1, 2])
def test_they_do_not_depend_on_who_reads_them(workers):
    assert torch.equal(draws(workers), draws())
    assert not torch.equal(draws(seed=6), draws())


def test_the_process_has_its_own_numbers():
    torch.manual_seed(1)
    before = random_state()
    draws()
    draws(workers=1)
    after = random_state()
    assert torch.equal(before['torch'], after['torch']) and torch.equal(before['python'][1], after['python'][1])


@pytest.mark.parametrize('done', range(6))
def test_a_run_that_goes_on_has_the_rest(monkeypatch, done):
    everything = draws()
    monkeypatch.setattr(resume, 'done', done)
    assert torch.equal(draws(done=done), everything[2 * done:])


def test_epochs_have_the_iterations_that_basicsr_counts():
    for count in (1, 3, 8, 9):
        theirs = EnlargedSampler(range(count), 1, 0, 1)
        ours = order.PlacedSampler(range(count), 1, 0, 1, seed=0, batch=4)
        assert len(list(ours)) == len(ours) == 4 * -(-count // 4)
        assert {index for index, _ in ours} == set(theirs)


def test_a_state_is_read_without_running_code_and_goes_on():
    random.gauss(0, 1), np.random.randn()  # one of two that are made at once waits
    file = io.BytesIO()
    torch.save(random_state(), file)
    expected = random.gauss(0, 1), np.random.randn(), torch.rand(3)
    file.seek(0)
    set_random_state(torch.load(file, weights_only=True))
    found = random.gauss(0, 1), np.random.randn(), torch.rand(3)
    assert found[:2] == expected[:2] and torch.equal(found[2], expected[2])
