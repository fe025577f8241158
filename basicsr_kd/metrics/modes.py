"""Evaluation mode for a while."""
from collections.abc import Iterator
from contextlib import contextmanager

from torch import nn


@contextmanager
def evaluating(net: nn.Module) -> Iterator[None]:
    """While a network is only looked at: evaluation mode.

    Afterwards every module of it is in the mode that it was in, which `net.train(flag)` would give to all alike, those
    too that are kept in evaluation mode on purpose. So it is where an exception ends it.
    """
    modes = [(module, module.training) for module in net.modules()]
    net.eval()
    try:
        yield
    finally:
        for module, training in modes:
            module.training = training
