"""Measures how much memory this process takes, as Linux reports it."""
from __future__ import annotations

import ctypes
from collections.abc import Callable
from pathlib import Path


def process_bytes() -> int | None:
    """Bytes that the process takes now; None outside Linux or where reading them is barred.

    The allocator is first asked to give free memory back, but in a process that has run for long it may keep some.
    """
    try:
        ctypes.CDLL(None).malloc_trim(0)
        return _status('VmRSS')
    except (OSError, AttributeError, TypeError):  # no Linux, no GNU C library
        return None


def growth_of_process(run: Callable[[], object], before: int | None = None) -> int | None:
    """Bytes by which the process grew at most while `run` ran; None outside Linux or where that is barred.

    Linux keeps the peak (VmHWM), and a 5 written into clear_refs resets it to what is in use. If the process holds free
    memory, `run` may use that unseen, and the figure is too small.

    Args:
        run: The call whose memory is measured.
        before: Bytes to compare with, from `process_bytes`; None: what the process takes when `run` starts.
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
