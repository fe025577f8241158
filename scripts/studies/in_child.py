"""Something done in a process of its own, forked from this one, which has all its imports."""
import os
import resource
import signal
import sys
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import torch

MEMORY = 6 * 2**30
"""Bytes that a child may take on top of what there is; one that wants more fails, in place of the machine."""


def in_child(work: Callable[[], object], folder: Path, log: Path, seconds: float) -> tuple[int | None, str]:
    """Do something in a folder, with its output in a file.

    Args:
        work: what; a number that it returns is the exit status.
        folder: where.
        log: the file.
        seconds: after which it is killed.

    Returns:
        The status as `os.waitpid` has it, None where it was killed; and what it said.
    """
    child = os.fork()
    if not child:
        _do(work, folder, log)
    end, status = time.monotonic() + seconds, None
    while status is None and time.monotonic() < end:
        found, code = os.waitpid(child, os.WNOHANG)
        status = code if found else None
        time.sleep(0.005)
    if status is None:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    return status, log.read_text(errors='replace')


def _do(work: Callable[[], object], folder: Path, log: Path) -> None:
    """In the child: never returns."""
    code = 1
    try:
        os.chdir(folder)
        written = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC)
        for stream in (1, 2):
            os.dup2(written, stream)
        sys.stdout, sys.stderr = (open(stream, 'w', closefd=False) for stream in (1, 2))
        taken = int(Path('/proc/self/statm').read_text().split()[0]) * resource.getpagesize()
        resource.setrlimit(resource.RLIMIT_AS, (taken + MEMORY, taken + MEMORY))
        found = work()
        code = found if isinstance(found, int) else 0
    except SystemExit as ended:
        if isinstance(ended.code, str):
            print(ended.code, file=sys.stderr)
        code = 0 if ended.code is None else ended.code if isinstance(ended.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def end_of(status: int | None, said: str) -> str:
    """'hung', 'crashed', 'traceback', 'ran', or 'refused'."""
    if status is None:
        return 'hung'
    if os.WIFSIGNALED(status):
        return 'crashed'
    if 'Traceback' in said:
        return 'traceback'
    return 'refused' if os.WEXITSTATUS(status) else 'ran'


torch.set_num_threads(1)  # a pool of threads does not outlive a fork
