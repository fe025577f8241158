"""What a channel is worth: torch-pruning's criteria under the names of the options."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch_pruning
from torch import Tensor

_criteria = torch_pruning.importance

MAGNITUDES: dict[str, Callable[[], Callable[[Any], Tensor | None]]] = {
    # Magnitude of all weights of a channel, coming in and going out (Li et al., ICLR 2017).
    'l1': lambda: _criteria.GroupMagnitudeImportance(p=1),
    'l2': lambda: _criteria.GroupMagnitudeImportance(p=2),
    # Share of the squared magnitude of all channels that are at least as large (Lee et al., ICLR 2021).
    'lamp': _criteria.LAMPImportance,
    # Distance from the layer's other filters: what is near the middle can be replaced (He et al., CVPR 2019).
    'fpgm': _criteria.FPGMImportance,
    'random': _criteria.RandomImportance,
}
"""What needs no images. Magnitudes have mean 1 in every group: those of two layers do not compare, since (leaky) ReLU
lets a factor move from one to the next."""
IMPORTANCES = ('taylor', *MAGNITUDES)
