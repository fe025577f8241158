"""What a channel is worth: torch-pruning's criteria under the names of the options."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch_pruning
from torch import Tensor

_criteria = torch_pruning.importance


class FilterMagnitude:
    """The norm of the filters that write a channel, over all layers that do (Li et al., ICLR 2017).

    torch-pruning counts the weights that read the channel, too. They are small where what they read is large, so they
    speak for the wrong channels: on photos held out, the networks of docs/results/pruning.md came out 0.04 to 0.06 dB
    (demo teacher) and 0.2 to 10 dB (realesr-general-x4v3) worse in layout growth.

    Args:
        p: the power that single weights are summed with.
    """

    _WRITING = (torch_pruning.prune_conv_out_channels, torch_pruning.prune_linear_out_channels)

    def __init__(self, p: int) -> None:
        self.magnitude = _criteria.GroupMagnitudeImportance(p=p)

    def __call__(self, group: Any) -> Tensor | None:
        return self.magnitude([item for item in group if item.dep.pruning_fn in self._WRITING])


MAGNITUDES: dict[str, Callable[[], Callable[[Any], Tensor | None]]] = {
    'l1': lambda: FilterMagnitude(p=1),
    'l2': lambda: FilterMagnitude(p=2),
    # Share of the squared magnitude of all channels that are at least as large (Lee et al., ICLR 2021).
    'lamp': _criteria.LAMPImportance,
    # Distance from the layer's other filters: what is near the middle can be replaced (He et al., CVPR 2019).
    'fpgm': _criteria.FPGMImportance,
    'random': _criteria.RandomImportance,
}
"""What needs no images. Magnitudes have mean 1 in every group: those of two layers do not compare, since (leaky) ReLU
lets a factor move from one to the next."""
IMPORTANCES = ('taylor', *MAGNITUDES)
