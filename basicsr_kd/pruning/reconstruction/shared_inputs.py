"""Convolutions that share features: in a dense block each reads the inputs of the one before it, and more.

So one matrix of moments, that of the last convolution, serves a whole block: the others' matrices are parts of it.
"""
from __future__ import annotations

from collections.abc import Callable, Iterable
from contextlib import ExitStack

import torch
from torch import Tensor, nn


class Enough(Exception):
    """Everything that was wanted of a network has been seen: the rest of it need not run."""


@torch.no_grad()
def watch_inputs(net: nn.Module, names: Iterable[str], run: Callable[[], object],
                 use: Callable[[dict[str, nn.Conv2d], Tensor], None]) -> None:
    """Run a network until the last of some convolutions is reached, and hand on the inputs of all of them.

    Args:
        net: A network in evaluation mode, on the CPU.
        names: Module paths of convolutions; if one runs more than once, its first run counts.
        run: Runs the network on all images.
        use: Gets convolutions by path, and the input `(n, c, h, w)` of the last of them; the others read its first
            channels.
    """
    left = set(names)
    members: dict[str, nn.Conv2d] = {}
    inputs: list[Tensor] = []

    def close() -> None:
        if members:
            use(dict(members), inputs.pop())
            members.clear()

    def see(name: str, conv: nn.Conv2d, read: Tensor) -> None:
        if name not in left:
            return
        if members and not _continues(next(reversed(members.values())), inputs[-1], conv, read):
            close()
        members[name] = conv
        inputs[:] = [read]
        left.discard(name)
        if not left:
            raise Enough

    with ExitStack() as stack:
        for name in list(left):
            stack.callback(net.get_submodule(name).register_forward_pre_hook(
                lambda module, args, name=name: see(name, module, args[0])).remove)
        try:
            run()
        except Enough:
            pass
    close()


def _continues(last: nn.Conv2d, before: Tensor, conv: nn.Conv2d, read: Tensor) -> bool:
    """Whether a convolution looks at the same places as the last one, and reads the same channels and more."""
    alike = all(getattr(conv, key) == getattr(last, key)
                for key in ('kernel_size', 'stride', 'padding', 'dilation', 'padding_mode'))
    return (alike and read.shape[2:] == before.shape[2:] and read.shape[1] > before.shape[1] and
            torch.equal(read[:1, :before.shape[1]], before[:1]))
