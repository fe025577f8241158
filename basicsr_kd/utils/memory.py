"""The free memory of this machine, and sizes in words."""
from __future__ import annotations

from pathlib import Path

_MACHINE = Path('/proc/meminfo')
_GROUP = Path('/sys/fs/cgroup')
_FILES = (('memory.max', 'memory.current', 'memory.stat', 'inactive_file'),
          ('memory/memory.limit_in_bytes', 'memory/memory.usage_in_bytes', 'memory/memory.stat', 'total_inactive_file'))
"""Files of control groups, version 2 and 1: the limit, the memory in use, and the part of it that can be freed."""


def free_memory() -> float:
    """Bytes that processes can still take, by the machine's and the container's limits; infinite if none is known."""
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
