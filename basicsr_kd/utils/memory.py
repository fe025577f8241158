"""How much memory this machine has left, and sizes in words."""
from __future__ import annotations

from pathlib import Path

_MACHINE = Path('/proc/meminfo')
_GROUP = Path('/sys/fs/cgroup')
_FILES = (('memory.max', 'memory.current', 'memory.stat', 'inactive_file'),
          ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes', 'memory/memory.stat', 'total_inactive_file'))
"""Of control groups, second and first version: the limit, what is taken, and what of that can be given back."""


def free_memory() -> float:
    """Bytes that processes can still take, by the machine and by the container; infinite where nothing tells."""
    free = [float('inf')]
    if _MACHINE.is_file():
        free.append(_number(_MACHINE, 'MemAvailable:') * 1024)
    for limit, used, details, cache in _FILES:
        if (_GROUP / limit).is_file() and (text := (_GROUP / limit).read_text().strip()) != 'max':
            free.append(int(text) - int((_GROUP / used).read_text()) + _number(_GROUP / details, cache))
    return max(min(free), 0)


def in_words(size: float) -> str:
    """Bytes as `1.5 GiB`."""
    return f'{size / 2**30:.1f} GiB' if size >= 2**30 else f'{size / 2**20:.1f} MiB'


def _number(path: Path, name: str) -> int:
    return next(int(line.split()[1]) for line in path.read_text().splitlines() if line.split()[0] == name)
