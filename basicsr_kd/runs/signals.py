"""Signals that ask a training to end (Slurm's, Ctrl-C, a closed terminal): it stops between two steps and saves.

Imports neither torch nor BasicSR before a run starts.
"""
from __future__ import annotations

import signal
import threading
from types import FrameType

ERROR = -1
"""Stands for a signal's number if something is wrong, and the run is to save and end as if it had got a signal."""
_KEY = 'basicsr_kd/stop'
_WORKER_SECONDS = 25  # torchrun kills all processes by SIGKILL after 30 seconds
_asked: int | None = None
_training = False
_told = False
epoch = 0
"""The current epoch, which BasicSR passes to its sampler, but not to its models."""


def watched() -> list[signal.Signals]:
    """The signals that are handled, as far as this system has them."""
    return [getattr(signal, name) for name in ('SIGTERM', 'SIGINT', 'SIGHUP') if hasattr(signal, name)]


def watch() -> None:
    """Handle the signals from now on, except those that this process was started to ignore (`nohup`)."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in watched():
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _heed)


def _heed(number: int, frame: FrameType | None) -> None:
    """Remember the first signal, or end the process if no iteration is done; a second one has its default effect."""
    global _asked
    for one in watched():
        if signal.getsignal(one) is _heed:
            signal.signal(one, signal.default_int_handler if one == signal.SIGINT else signal.SIG_DFL)
    _asked = number
    if not _training:
        raise SystemExit(128 + number)


def leave_to_the_main_process() -> None:
    """Keep a data loader's worker alive until the main process ends it, since that needs batches until it has saved.

    torchrun and Slurm send SIGTERM to workers as well, and so does the main process to a worker that hangs. In both
    cases the worker ends only after `_WORKER_SECONDS`.
    """
    for number in watched():
        signal.signal(number, _end_later if number == signal.SIGTERM else signal.SIG_IGN)


def _end_later(number: int, frame: FrameType | None) -> None:
    signal.setitimer(signal.ITIMER_REAL, _WORKER_SECONDS)  # then SIGALRM ends this process


def end_for_an_error() -> None:
    """Make all processes of this run save and end; the model that does so knows what is wrong."""
    global _asked
    _asked = _asked or ERROR


def begun() -> None:
    """Note that the first iteration is done: from now on there is something to save.

    Raises:
        SystemExit: A signal came earlier, and the process still runs. Python ignores exceptions in destructors and in
            hooks around a fork (such as logging's hook when a data loader starts its workers).
    """
    global _training
    if _asked and _asked != ERROR and not _training:
        raise SystemExit(128 + _asked)
    _training = True


def asked() -> int | None:
    """The signal that this process was sent, if any."""
    return _asked


def stop_after(iteration: int) -> int | None:
    """The signal to stop for at the end of this iteration, the same on all ranks; None to go on.

    A rank that got a signal writes it into the store where the processes met, to take effect two iterations later: no
    rank is that far ahead of another, since each step needs all ranks.
    """
    global _told
    import torch.distributed as dist
    if not (dist.is_available() and dist.is_initialized()):
        return _asked
    store = dist.distributed_c10d._get_default_store()
    if _asked and not _told:
        store.compare_set(_KEY, '', f'{iteration + 2} {_asked}')
        _told = True
    if not store.check([_KEY]):
        return None
    last, number = map(int, store.get(_KEY).split())
    return number if iteration >= last else None
