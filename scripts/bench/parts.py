"""Where a training step spends its time: passes of each network, losses, backward passes, optimizers."""
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from typing import Any
from unittest import mock

import torch

from bench.steps import TrainingStep

REST = 'rest'


class PartTimer:
    """Seconds by part; a part inside of another is not counted in that.

    Args:
        device: 'cpu' or 'cuda'. A GPU is waited for where a part begins and ends, so that the whole takes longer.
    """

    def __init__(self, device: str) -> None:
        self.seconds: dict[str, float] = {}
        self._synchronize = torch.cuda.synchronize if device == 'cuda' else lambda: None
        self._running = [REST]
        self._since = 0.0

    @contextmanager
    def part(self, name: str) -> Iterator[None]:
        self._switch()
        self._running.append(name)
        yield
        self._switch()
        self._running.pop()

    def timed(self, name: str, function: Callable[..., Any]) -> Callable[..., Any]:
        """The function, as a part."""
        def run(*args: Any, **kwargs: Any) -> Any:
            with self.part(name):
                return function(*args, **kwargs)
        return run

    def _switch(self) -> None:
        self._synchronize()
        now = time.perf_counter()
        self.seconds[self._running[-1]] = self.seconds.get(self._running[-1], 0.0) + now - self._since
        self._since = now

    def start(self) -> None:
        self._synchronize()
        self.seconds, self._since = {}, time.perf_counter()

    def stop(self) -> dict[str, float]:
        self._switch()
        return self.seconds


def part_seconds(run: TrainingStep, device: str) -> dict[str, float]:
    """Seconds of one step by part, without those it does not have; together the whole step.

    Backward is that of all networks. Compiled networks take no part in this: what is timed is called from Python.
    """
    model, timer = run.model, PartTimer(device)
    parts = [(run.teacher, 'forward', 'teacher forward'), (model.net_g, 'forward', 'student forward'),
             (model.net_d, 'forward', 'discriminator forward'), (model.cri_pix, 'forward', 'losses'),
             (model.cri_gan, 'forward', 'losses'), (torch.autograd, 'backward', 'backward'),
             (torch.autograd, 'grad', 'backward'), (model.optimizer_g, 'step', 'optimizers'),
             (model.optimizer_d, 'step', 'optimizers'), (model, 'model_ema', 'average of weights')]
    if run.distils:
        parts.append((model.distiller, 'loss_terms', 'losses'))
    with ExitStack() as patches:
        for thing, name, part in parts:
            patches.enter_context(mock.patch.object(thing, name, timer.timed(part, getattr(thing, name))))
        timer.start()
        run()
        return timer.stop()
