"""What pruning does to a network's tensors, kept as a value so that it also fits EMA and optimizer state."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import torch
from torch import Tensor


@dataclass(frozen=True)
class Cut:
    """A cut through the tensors of a network; plain lists and tensors, so that it can be sent to other processes.

    Args:
        dropped: For each tensor name, dimension and the sorted indices to remove from it.
        renamed: The new path of each module path, or None if the module is removed with all its tensors.
        zeroed: For each tensor name, a mask of the tensor's shape, True where values become zero.
    """
    dropped: dict[str, dict[int, list[int]]] = field(default_factory=dict)
    renamed: dict[str, str | None] = field(default_factory=dict)
    zeroed: dict[str, Tensor] = field(default_factory=dict)

    def apply(self, tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Cut any tensors that have the names and shapes of the network's: weights, their EMA, Adam's moments.

        Args:
            tensors: Tensors by name, on any device; names that this cut does not know pass through.

        Returns:
            New tensors, even if nothing changes, without those of modules that are removed or have no channel left.
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
        """The new name of a tensor; None if its module is removed."""
        for old, new in self.renamed.items():
            if tensor.startswith(f'{old}.'):
                return None if new is None else new + tensor[len(old):]
        return tensor


def stays(size: int, gone: list[int]) -> list[int]:
    """The indices below `size` that are not in `gone`."""
    lost = set(gone)
    return [index for index in range(size) if index not in lost]
