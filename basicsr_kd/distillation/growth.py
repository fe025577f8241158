"""Room for growth channels that a pruned RRDBNet teacher does not have."""
from __future__ import annotations

import re
from collections.abc import Mapping

from torch import Tensor

_DENSE_BLOCK = re.compile(r'(body\.\d+\.rdb[123])\.conv5\.weight')


def pad_growth(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Bring the tensors of an RRDBNet to those widths of growth in which another is wider.

    The further channels keep the values that they have in the wider network, and nothing of the narrower one reads
    them yet: the output stays the same, and they can still learn.

    Args:
        state: Name to tensor of the narrower network; convolutions may be missing (growth 0).
        own: The same of the network with the widths wanted, as many features and blocks, at least as wide everywhere.

    Returns:
        New tensors where they differ.
    """
    padded = dict(state)
    for block in [match[1] for name in own if (match := _DENSE_BLOCK.fullmatch(name))]:
        columns = list(range(len(own[f'{block}.conv5.weight'])))  # where the inputs that the narrower one has are
        width = len(columns)
        for conv in range(1, 6):
            weight, bias = f'{block}.conv{conv}.weight', f'{block}.conv{conv}.bias'
            if weight not in own:
                continue
            padded[weight], padded[bias] = own[weight].clone(), own[bias].clone()
            rows = len(state[weight]) if weight in state else 0
            padded[weight][:rows] = 0
            if rows:
                padded[weight][:rows, columns] = state[weight]
                padded[bias][:rows] = state[bias]
            columns += range(width, width + rows)
            width += len(own[weight])
    return padded
