"""The checks of `basicsr_kd.preflight` on the tensors of a checkpoint."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from basicsr_kd.archs.build import differences
from basicsr_kd.archs.rrdbnet_shape import rrdbnet_options
from basicsr_kd.option_errors import OptionsError


def must_fit(net: nn.Module, state: dict[str, Tensor], found: str, key: str) -> None:
    """A file's tensors are those of a network.

    Raises:
        OptionsError: The first that is not.
    """
    differs = differences(net, state)
    if differs:
        options = rrdbnet_options(state) or {}
        holds = ', '.join(f'{name} {value}' for name, value in options.items() if isinstance(value, int))
        raise OptionsError(f'{found} does not fit {key} ({type(net).__name__}): {differs[0]}' +
                           (f'; the file holds {holds}' if holds else ''))


def must_be_finite(state: dict[str, Tensor], found: str) -> None:
    """No tensor of a file has a NaN or infinity.

    Raises:
        OptionsError: The first that has.
    """
    broken = next((name for name, tensor in state.items() if not torch.isfinite(tensor).all()), None)
    if broken is not None:
        raise OptionsError(f'{found} has values that are not finite (NaN or infinity), first in {broken}. Use an '
                           'earlier checkpoint: this one has diverged')
