"""What the tensors of a file must be before a network is made of them: plain numbers, finite, and of a size that is."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch
from torch import Tensor

from basicsr_kd.errors import CheckpointError

_NUMBERS = ('weight', 'bias', 'running_mean', 'running_var')
"""Last words of the names of what a network computes with, in floating point."""
_CONVERTED = (torch.int8, torch.uint8, torch.int16, torch.bool)
"""What such values are where a file is of a quantised network; `differences` sees to other whole numbers."""
_INDEX = 100, 10
"""The largest index in the name of a tensor, and so many more for each tensor: layers without weights count, too."""


_SHARED = 2**30
"""Bytes of values that stand in the file once for several places: tied weights are less, and more may fill memory."""
_DIGITS = 9
"""Of such an index: Python does not read numbers of thousands."""


def must_be_usable(state: Mapping[str, Tensor], path: Path) -> None:
    """Refuse tensors that load into a network and make it wrong, end the process or fill the memory.

    Args:
        state: Name to tensor, as in the file.
        path: The file.

    Raises:
        CheckpointError: A tensor is sparse, quantised, nested, complex or without values, a weight is of 8 bits or
            bool, a value is not finite, or a shape or a name declares more than there is in the file.
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
    """What a tensor is that no network can compute with; empty where it can."""
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
