"""Order and random numbers of the training images, which a resumed run continues where it stopped."""
from __future__ import annotations

import math
import sys
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import basicsr.data
import basicsr.train
import numpy as np
import torch
from basicsr.data.data_sampler import EnlargedSampler
from torch.utils.data import DataLoader, Dataset

from basicsr_kd.data.seeds import seeded
from basicsr_kd.runs import resume, signals

current: dict[str, int] = {}
"""The numbers that decide the order of images and random numbers in this process, once its data set is built."""


def put_in_place(opt: Mapping[str, Any]) -> None:
    """Make BasicSR's `train.py`, also when run as a script, build its training data with the classes below."""
    batch = opt['datasets']['train']['batch_size_per_gpu']  # one process has one GPU; preflight refuses more
    basicsr.data.worker_init_fn = start_worker
    modules: tuple[Any, ...] = basicsr.train, sys.modules['__main__']
    for module in modules:
        if hasattr(module, 'train_pipeline') and hasattr(module, 'EnlargedSampler'):
            module.EnlargedSampler = partial(PlacedSampler, seed=opt['manual_seed'], batch=batch)
            module.build_dataloader = build_dataloader


class PlacedSampler(EnlargedSampler):
    """BasicSR's sampler, with whole batches only; it gives each image's seed, and begins where the run stopped.

    BasicSR rounds the iterations of an epoch up, but drops a last batch that is not full, so that a run of many epochs
    ended too early. Here some images come twice, to fill that batch.

    Args:
        seed: The run's seed.
        batch: Images in a batch of one process.
    """

    def __init__(self, dataset: Dataset, num_replicas: int, rank: int, ratio: int = 1, *, seed: int,
                 batch: int) -> None:
        super().__init__(dataset, num_replicas, rank, ratio)
        self.seed, self.batch = seed, batch
        self.iterations = math.ceil(len(dataset) * ratio / (batch * num_replicas))  # type: ignore[arg-type]
        self.num_samples = self.iterations * batch
        self.total_size = self.num_samples * num_replicas
        current.update({'manual_seed': seed, 'images in a batch': batch, 'iterations in an epoch': self.iterations})

    def set_epoch(self, epoch: int) -> None:
        super().set_epoch(epoch)
        signals.epoch = epoch

    def __iter__(self) -> Iterator[tuple[int, int]]:
        """Index and seed of each image, for `Seeded`, without the images that the run had before it stopped."""
        had = min(max(resume.done - self.epoch * self.iterations, 0), self.iterations) * self.batch
        epoch = self.epoch
        for place, index in enumerate(super().__iter__()):
            if place >= had:
                words = np.random.SeedSequence([self.seed, self.rank, epoch, place]).generate_state(1)
                yield index, int(words[0])


class Seeded(Dataset):
    """A data set whose images each have their own random numbers, no matter which process reads them and when."""

    def __init__(self, dataset: Dataset) -> None:
        self.dataset = dataset

    def __len__(self) -> int:
        return len(self.dataset)  # type: ignore[arg-type]

    def __getitem__(self, item: tuple[int, int]) -> Any:
        index, seed = item
        with seeded(seed):
            return self.dataset[index]


def build_dataloader(dataset: Dataset, dataset_opt: dict[str, Any], **settings: Any) -> DataLoader:
    """BasicSR's `build_dataloader`, over `Seeded` for training; starting an epoch leaves the process's random state."""
    if dataset_opt['phase'] != 'train':
        return basicsr.data.build_dataloader(dataset, dataset_opt, **settings)
    loader = basicsr.data.build_dataloader(Seeded(dataset), dataset_opt, **settings)
    loader.generator = torch.Generator()
    return loader


def start_worker(worker_id: int, num_workers: int, rank: int, seed: int) -> None:
    """Replace BasicSR's `worker_init_fn`, with the same arguments: images have seeds already."""
    signals.leave_to_the_main_process()
