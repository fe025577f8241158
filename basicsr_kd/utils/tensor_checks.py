"""Checks of a file's tensors before a network is built from them: plain finite numbers of a possible size."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from basicsr_kd.errors import CheckpointError

_NUMBERS = ('weight', 'bias', 'running_mean', 'running_var')
"""Last words of the names of tensors that a network computes with, in floating point."""
_CONVERTED = (torch.int8, torch.uint8, torch.int16, torch.bool)
"""Types of such tensors in the file of a quantised network; `differences` finds other whole numbers."""
_INDEX = 100, 10
"""The largest index in a tensor's name, and the addition to it for each tensor: layers without weights count, too."""


_SHARED = 2**30
"""Bytes of values that the file stores once for several places: tied weights have fewer, and more may fill memory."""
_DIGITS = 9
"""Most digits of such an index: Python does not read numbers with thousands of digits."""


def must_be_usable(state: Mapping[str, Tensor], path: Path) -> None:
    """Check that no tensor loads into a network but makes it wrong, ends the process or fills the memory.

    Args:
        state: Name to tensor, as in the file.
        path: The file.

    Raises:
        CheckpointError: A tensor is sparse, quantised, nested, complex or without values, a weight is of 8 bits or
            bool, a value is not finite, or a shape or a name declares more than the file has.
    """
    last = _INDEX[0] + _INDEX[1] * len(state)
    spare, seen = _SHARED, set()
    for name, tensor in state.items():
        kind = _not_plain(name, tensor)
        if kind:
            raise CheckpointError(f'{path}: {name} is {kind}. Expected plain tensors of floating-point numbers: save '
                                  "the network's float weights, before it is quantised or converted.")
        storage = tensor.untyped_storage()
        spare += (0 if storage.data_ptr() in seen else storage.nbytes()) - tensor.numel() * tensor.element_size()
        seen.add(storage.data_ptr())
        if spare < 0:
            raise CheckpointError(f'{path}: {name} is {tuple(tensor.shape)}, more values than the file holds. '
                                  'Expected tensors with all of their values.')
        if any(len(part) > _DIGITS or int(part) > last for part in name.split('.') if part.isdecimal()):
            raise CheckpointError(f'{path}: {name[:200]} counts further than its {len(state)} tensors go. Expected the '
                                  'layers of one network.')
        if tensor.is_floating_point() and not torch.isfinite(tensor).all():
            raise CheckpointError(f'{path} has values that are not finite (NaN or infinity), first in {name}. The '
                                  'training that wrote it has diverged: use an earlier checkpoint.')


def _not_plain(name: str, tensor: Tensor) -> str:
    """Why no network can compute with a tensor, in words; empty if one can."""
    if tensor.is_nested:
        return 'a nested tensor'
    if tensor.is_quantized:
        return f'quantised ({tensor.dtype})'
    if tensor.layout != torch.strided:
        return f'sparse ({tensor.layout})'
    if tensor.is_meta:
        return 'on the meta device, without values'
    converted = name.rpartition('.')[2] in _NUMBERS and tensor.dtype in _CONVERTED
    return f'of {tensor.dtype}' if converted or tensor.is_complex() else ''
