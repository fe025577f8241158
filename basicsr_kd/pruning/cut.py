"""What pruning does to a network's tensors, as a value: kept apart so that it fits EMA and optimizer state as well."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cut:
    """A cut through the tensors of a network; plain lists and tensors, so that it can be sent to other processes.

    Args:
        dropped: Tensor name to dimension to the indices that go, sorted.
        renamed: Module path to its new path, or to None where the module goes with all its tensors.
        zeroed: Tensor name to a mask of its shape, True where its values become zero.
    """
    dropped: dict[str, dict[int, list[int]]] = field(default_factory=dict)
    renamed: dict[str, str | None] = field(default_factory=dict)
    zeroed: dict[str, Tensor] = field(default_factory=dict)

    def apply(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Cut anything that has the names and shapes of the network's tensors: weights, their EMA, Adam's moments.

        Args:
            tensors: Name to tensor, on any device; names this cut knows nothing of pass through.

        Returns:
            New tensors (also where nothing changes). Those of a module that goes, or has no channel left, are left out.
        """
        result = {}
        for name, tensor in tensors.items():
            new_name = self.new_name(name)
            if new_name is None:
                continue
            tensor = tensor.detach().clone()
            if name in self.zeroed:
                tensor[self.zeroed[name].to(tensor.device)] = 0
            for dim, gone in self.dropped.get(name, {}).items():
                index = torch.tensor(stays(tensor.shape[dim], gone), dtype=torch.long, device=tensor.device)
                tensor = tensor.index_select(dim, index)
            if tensor.numel() or not tensors[name].numel():
                result[new_name] = tensor
        return result

    def new_name(self, tensor: str) -> str | None:
        """What a tensor is called afterwards; None where its module is gone."""
        for old, new in self.renamed.items():
            if tensor.startswith(f'{old}.'):
                return None if new is None else new + tensor[len(old):]
        return tensor


def stays(size: int, gone: list[int]) -> list[int]:
    """The indices below `size` that are not among those gone."""
    lost = set(gone)
    return [index for index in range(size) if index not in lost]
