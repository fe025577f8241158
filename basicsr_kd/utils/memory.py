"""How much memory this machine has left, and sizes in words."""
from __future__ import annotations

import os


def free_memory() -> float:
    """Bytes that processes can still take; infinitely many where the machine does not tell."""
    if not os.path.isfile('/proc/meminfo'):
        return float('inf')
    with open('/proc/meminfo') as file:
        return next(int(line.split()[1]) * 1024 for line in file if line.startswith('MemAvailable'))


def in_words(size: float) -> str:
    """Bytes as `1.5 GiB`."""
    return f'{size / 2**30:.1f} GiB' if size >= 2**30 else f'{size / 2**20:.1f} MiB'
