"""Random numbers: of a data loader's workers, and such that are the same each time."""
from __future__ import annotations

import random
from collections.abc import Iterator
from contextlib import contextmanager

import basicsr.data
import numpy as np
import torch

from basicsr_kd.runs import signals


def seed_worker(worker_id: int, num_workers: int, rank: int, seed: int) -> None:
    """In the place of BasicSR's `worker_init_fn`, whose arguments it has: other numbers in every epoch too.

    BasicSR's seeds differ between workers and ranks, but not between epochs: workers that are started anew, as they are
    without `persistent_workers`, draw the same crops again. PyTorch's own seed of a worker follows from `manual_seed`
    as well, and differs in each epoch.
    """
    own = (torch.initial_seed() + num_workers * rank) % 2**32
    random.seed(own)
    np.random.seed(own)
    signals.leave_to_the_main_process()


def vary_worker_seeds() -> None:
    """Let the data loaders that BasicSR builds from now on use `seed_worker`."""
    basicsr.data.worker_init_fn = seed_worker


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """The random numbers of Python, NumPy and PyTorch's CPU from a seed; afterwards they go on as if nothing was."""
    python, numpy = random.getstate(), np.random.get_state()
    with torch.random.fork_rng(devices=[]):
        random.seed(seed)
        np.random.seed(seed)
        torch.default_generator.manual_seed(seed)
        try:
            yield
        finally:
            random.setstate(python)
            np.random.set_state(numpy)
