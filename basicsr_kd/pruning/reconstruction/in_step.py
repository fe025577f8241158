"""Two networks run side by side, layer by layer, so that the outputs of one need not all be kept."""
from __future__ import annotations

import queue
import threading
from collections.abc import Callable
from typing import Generic, TypeVar

import torch

from basicsr_kd.pruning.reconstruction.shared_inputs import Enough

_T = TypeVar('_T')


class InStep(Generic[_T]):
    """Work in its own thread that runs only while somebody waits for its next value.

    The two threads never compute at once: PyTorch's threads would get in each other's way.

    Args:
        work: Gets a function to give values with, which returns when the next value is wanted.
    """

    def __init__(self, work: Callable[[Callable[[_T], None]], object]) -> None:
        self._work = work
        self._wanted = threading.Semaphore(0)
        self._given: queue.SimpleQueue[tuple[_T | None, BaseException | None]] = queue.SimpleQueue()
        self._over = False
        self._threads = torch.get_num_threads()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def next(self) -> _T:
        """The next value; an error of the work is raised here."""
        self._wanted.release()
        value, error = self._given.get()
        if error is not None:
            raise error
        return value  # type: ignore[return-value]

    def close(self) -> None:
        """End the work, wherever it is."""
        self._over = True
        self._wanted.release()
        self._thread.join()

    def _run(self) -> None:
        torch.set_num_threads(self._threads)  # each Python thread has its own number
        try:
            self._wait()
            with torch.no_grad():
                self._work(self._give)
            raise RuntimeError('the network ended before its last layer was reached')
        except Enough:
            pass
        except BaseException as error:  # raised again in the thread that waits
            self._given.put((None, error))

    def _give(self, value: _T) -> None:
        self._given.put((value, None))
        self._wait()

    def _wait(self) -> None:
        self._wanted.acquire()
        if self._over:
            raise Enough
