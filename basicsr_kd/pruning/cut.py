"""Cutting channels out of a state dict."""
from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch
from torch import Tensor

from basicsr_kd.pruning.groups import ChannelGroup


def cut_channels(state: Mapping[str, Tensor], groups: Sequence[ChannelGroup],
                 kept: Mapping[str, list[int]]) -> dict[str, Tensor]:
    """Leave only the kept channels of every group in a network's tensors.

    Args:
        state: name to tensor, convolutions as ``<module path>.weight`` and ``.bias``.
        groups: the channel groups.
        kept: for each group's root, its channels that stay.

    Returns:
        New tensors; a convolution with no output left is not among them.
    """
    dropped: dict[tuple[str, int], set[int]] = {}
    for group in groups:
        gone = set(range(group.size)) - set(kept[group.root])
        for member in group.members:
            dropped.setdefault((member.conv, member.dim), set()).update(member.index[channel] for channel in gone)
    result = {}
    for name, tensor in state.items():
        conv = name.rpartition('.')[0]
        for dim in range(min(tensor.dim(), 2)):
            gone = dropped.get((conv, dim), set())
            stays = [channel for channel in range(tensor.shape[dim]) if channel not in gone]
            tensor = tensor.index_select(dim, torch.tensor(stays, dtype=torch.long))
        if tensor.shape[0]:
            result[name] = tensor
    return result
