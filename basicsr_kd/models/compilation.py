"""Compiled networks: `torch.compile` in place, so that their keys keep their names."""
from __future__ import annotations

import torch
import torch._functorch.config
from torch import nn

_WITHOUT_CUDA_GRAPHS = {'reduce-overhead': 'default', 'max-autotune': 'max-autotune-no-cudagraphs'}


def compile_in_place(net: nn.Module, mode: str, repeats: bool = False) -> None:
    """Have a network run compiled from its next call on; a copy of it does not. Hooks must be there before that call.

    Args:
        net: The bare network.
        mode: As in `torch.compile`.
        repeats: Whether it runs several times before one backward pass, or has several for one run. Memory that the
            first backward pass may overwrite, and CUDA graphs, do not go with that.
    """
    if repeats:
        torch._functorch.config.donated_buffer = False  # PyTorch's own advice where a graph is retained
        mode = _WITHOUT_CUDA_GRAPHS.get(mode, mode)
    net.compile(mode=mode)
