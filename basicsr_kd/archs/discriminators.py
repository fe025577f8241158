"""Options of BasicSR's discriminators, read off the shapes of their tensors."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor


def discriminator_options(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Find which of BasicSR's discriminators of images a state dict belongs to.

    Args:
        state: Name to tensor; only names and shapes matter.

    Returns:
        `{'type': 'VGGStyleDiscriminator', num_in_ch, num_feat, input_size}` or `{'type': 'UNetDiscriminatorSN',
        num_in_ch, num_feat}`; None if it is neither.
    """
    if {'conv0_0.weight', 'linear2.weight'} <= state.keys():
        size = 256 if 'conv5_0.weight' in state else 128
        return {'type': 'VGGStyleDiscriminator', **_widths(state['conv0_0.weight']), 'input_size': size}
    if {'conv0.weight', 'conv8.weight_orig'} <= state.keys():  # spectral normalisation keeps the weight as that
        return {'type': 'UNetDiscriminatorSN', **_widths(state['conv0.weight'])}
    return None


def _widths(first: Tensor) -> dict[str, int]:
    return {'num_in_ch': first.shape[1], 'num_feat': len(first)}
