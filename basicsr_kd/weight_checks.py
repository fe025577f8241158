"""The checks of `basicsr_kd.preflight` on the tensors of a checkpoint."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from basicsr_kd.archs.build import differences
from basicsr_kd.archs.recognise import number_differences
from basicsr_kd.option_errors import OptionsError


def must_fit(net: nn.Module, state: dict[str, Tensor], found: str, key: str) -> None:
    """A file's tensors are those of a network.

    Raises:
        OptionsError: The first that is not.
    """
    differs = differences(net, state)
    if differs:
        raise OptionsError(f'{found} does not fit {key} ({type(net).__name__}): '
                           f'{"; ".join([*number_differences(net, state), differs[0]])}')


def must_be_finite(state: dict[str, Tensor], found: str) -> None:
    """No tensor of a file has a NaN or infinity.

    Raises:
        OptionsError: The first that has.
    """
    broken = next((name for name, tensor in state.items() if not torch.isfinite(tensor).all()), None)
    if broken is not None:
        raise OptionsError(f'{found} has values that are not finite (NaN or infinity), first in {broken}. Use an '
                           'earlier checkpoint: this one has diverged')
