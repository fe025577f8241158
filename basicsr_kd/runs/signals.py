"""The signals that ask a training to end (Slurm's, Ctrl-C, a closed terminal): it stops between two steps, and saves.

Imports neither torch nor BasicSR before a run starts.
"""
from __future__ import annotations

import signal
import threading
from types import FrameType

ERROR = -1
"""In the place of a signal's number: something is wrong, and the run is to save and end as if it had been sent one."""
_KEY = 'basicsr_kd/stop'
_WORKER_SECONDS = 25  # torchrun ends all by SIGKILL after 30
_asked: int | None = None
_training = False
_told = False
epoch = 0
"""The one that is going on, which BasicSR tells its sampler and not its models."""


def watched() -> list[signal.Signals]:
    """The signals that are heeded: those that this system has."""
    return [getattr(signal, name) for name in ('SIGTERM', 'SIGINT', 'SIGHUP') if hasattr(signal, name)]


def watch() -> None:
    """Heed the signals from here on, but for those that the caller's shell has this process ignore (`nohup`)."""
    if threading.current_thread() is not threading.main_thread():
        return
    for number in watched():
        if signal.getsignal(number) in (signal.SIG_DFL, signal.default_int_handler):
            signal.signal(number, _heed)


def _heed(number: int, frame: FrameType | None) -> None:
    """The first signal is remembered; before the first iteration it ends the process. A second one has its way."""
    global _asked
    for one in watched():
        if signal.getsignal(one) is _heed:
            signal.signal(one, signal.default_int_handler if one == signal.SIGINT else signal.SIG_DFL)
    _asked = number
    if not _training:
        raise SystemExit(128 + number)


def leave_to_the_main_process() -> None:
    """In a data loader's worker: it ends when the main process says so, which wants batches until it has saved.

    torchrun and Slurm send SIGTERM to workers as well; so does the main process, to one that hangs. Either way the
    worker has a while left.
    """
    for number in watched():
        signal.signal(number, _end_later if number == signal.SIGTERM else signal.SIG_IGN)


def _end_later(number: int, frame: FrameType | None) -> None:
    signal.setitimer(signal.ITIMER_REAL, _WORKER_SECONDS)  # then SIGALRM ends this process


def end_for_an_error() -> None:
    """Have all processes of this run save and end; the model that is asked to knows what is wrong."""
    global _asked
    _asked = _asked or ERROR


def begun() -> None:
    """The first iteration is done: from here on there is something to save.

    Raises:
        SystemExit: A signal came before, and what it was to end went on: Python ignores exceptions in destructors and
            where it forks (a data loader its workers, with logging's hooks around).
    """
    global _training
    if _asked and _asked != ERROR and not _training:
        raise SystemExit(128 + _asked)
    _training = True


def asked() -> int | None:
    """The signal that this process was sent, if any."""
    return _asked


def stop_after(iteration: int) -> int | None:
    """The signal to stop for at the end of this iteration: the same on all ranks, None to go on.

    A rank that was sent one says so in the store where the processes have met, for two iterations later: no rank is so
    far ahead of another, as each step needs all.
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
