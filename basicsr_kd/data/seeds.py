"""Random numbers of Python, NumPy and PyTorch: seeded ones, and their state."""
from __future__ import annotations

import random
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """A context with random numbers of Python, NumPy and PyTorch's CPU from a seed; afterwards the old ones go on."""
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


def random_state() -> dict[str, Any]:
    """The state of this process's random numbers, as tensors and numbers, which `torch.load` reads safely."""
    version, words, gauss = random.getstate()
    numpy: dict[str, Any] = np.random.get_state(legacy=False)
    return {
        'python': [version, torch.tensor(words), gauss],
        'numpy': [torch.from_numpy(numpy['state']['key'].astype(np.int64)), int(numpy['state']['pos']),
                  int(numpy['has_gauss']), float(numpy['gauss'])],
        'torch': torch.get_rng_state(),
        'cuda': torch.cuda.get_rng_state() if torch.cuda.is_available() else None,
    }


def set_random_state(state: Mapping[str, Any]) -> None:
    """Restore what `random_state` returned; a GPU's state only if there is a GPU."""
    version, words, gauss = state['python']
    random.setstate((version, tuple(words.tolist()), gauss))
    key, position, has_gauss, cached = state['numpy']
    np.random.set_state(('MT19937', key.numpy().astype(np.uint32), position, has_gauss, cached))
    torch.set_rng_state(state['torch'])
    if state['cuda'] is not None and torch.cuda.is_available():
        torch.cuda.set_rng_state(state['cuda'])
