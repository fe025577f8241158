"""The order in which convolutions run, and which of them end a residual branch: found by running the network."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

TOLERANCE = 2e-6
"""Rounding of float32 over a few operations, as a share of the largest value."""


@dataclass
class ConvRun:
    """The part of a convolution in a forward pass.

    Args:
        name: Its module path.
        size: Height and width of its output.
        skips: The modules that end with it and add their own input to it, as residual blocks do, from the inside out:
            module path, and the factor of the convolution's output in the sum. The last conv5 of an RRDB has two:
            `(body.0.rdb3, 0.2), (body.0, 0.04)`.
        calls: How often it runs in one pass.
    """
    name: str
    size: tuple[int, int]
    skips: list[tuple[str, float]] = field(default_factory=list)
    calls: int = 1


@torch.no_grad()
def trace_convs(net: nn.Module, names: Sequence[str], image: Tensor,
                run: Callable[[Any, Tensor], Any] = nn.Module.__call__) -> list[ConvRun]:
    """Run a network and watch some of its convolutions.

    Args:
        net: A network in evaluation mode, on the CPU.
        names: Module paths of the convolutions; those that do not run are not in the result.
        image: The network's input, `(1, c, h, w)`.
        run: Gives the network its input.

    Returns:
        One entry for each convolution, in the order in which they run.
    """
    tracer = _Tracer()
    around = {name.rsplit('.', depth)[0] for name in names for depth in range(1, name.count('.') + 1)}
    handles = [net.get_submodule(name).register_forward_hook(partial(tracer.after_conv, name)) for name in names]
    for path in around:
        module = net.get_submodule(path)
        handles.append(module.register_forward_pre_hook(partial(tracer.before_module, path)))
        handles.append(module.register_forward_hook(partial(tracer.after_module, path)))
    try:
        run(net, image)
    finally:
        for handle in handles:
            handle.remove()
    return list(tracer.runs.values())


class _Tracer:
    """Follows the output of the last convolution outwards, through the modules that end with it."""

    def __init__(self) -> None:
        self.runs: dict[str, ConvRun] = {}
        self._inputs: dict[str, Any] = {}
        self._last: tuple[str, Tensor, float] | None = None

    def after_conv(self, name: str, conv: nn.Module, args: Any, output: Tensor) -> None:
        if name in self.runs:
            self.runs[name].calls += 1
        else:
            self.runs[name] = ConvRun(name, (output.shape[2], output.shape[3]))
        self._last = (name, output.clone(), 1.0)

    def before_module(self, path: str, module: nn.Module, args: Any) -> None:
        # Cloned, since activations that work in place may change it.
        self._inputs[path] = args[0].clone() if args and isinstance(args[0], Tensor) else None

    def after_module(self, path: str, module: nn.Module, args: Any, output: Any) -> None:
        entered = self._inputs.pop(path)
        if self._last is None or not isinstance(output, Tensor):
            self._last = None
            return
        name, last, scale = self._last
        if name.startswith(f'{path}.') and output.shape == last.shape:
            if torch.equal(output, last):
                return
            if entered is not None and entered.shape == output.shape:
                factor = _factor(output - entered, last, TOLERANCE * output.abs().max().item())
                if factor is not None:
                    self.runs[name].skips.append((path, scale * factor))
                    self._last = (name, output.clone(), scale * factor)
                    return
        self._last = None


def _factor(product: Tensor, value: Tensor, tolerance: float) -> float | None:
    """The factor f with `product = f * value`; None if there is none, or the product is too small to tell."""
    factor = ((product * value).sum() / value.square().sum()).item()
    exact = (product - factor * value).abs().max().item() <= tolerance
    return factor if exact and product.abs().max().item() > 100 * tolerance else None
