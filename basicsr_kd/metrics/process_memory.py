"""How much memory this process takes, as Linux tells it."""
from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path


def process_bytes() -> int | None:
    """What it takes now; None outside of Linux and where it is barred.

    Free memory that the allocator has not given back is asked for first; in a process that has run long it may hold on
    to some.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
        return _status('VmRSS')
    except (OSError, AttributeError, TypeError):  # no Linux, no GNU C library
        return None


def growth_of_process(run: Callable[[], object], before: int | None = None) -> int | None:
    """Bytes by which it grew at most while `run` ran; None outside of Linux and where it is barred.

    Linux keeps the peak (VmHWM), and a 5 written into clear_refs sets it back to what is in use. Memory that is free in
    the process would be used unseen, and the figure is too small then.

    Args:
        run: What takes memory.
        before: Against what it grew, from `process_bytes`; None: what it takes when `run` starts.
    """
    started = process_bytes()
    if started is None:
        return None
    try:
        Path('/proc/self/clear_refs').write_text('5')
    except OSError:  # a kernel or container without the file
        return None
    run()
    return _status('VmHWM') - (started if before is None else before)


def _status(entry: str) -> int:
    lines = Path('/proc/self/status').read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith(f'{entry}:'))
