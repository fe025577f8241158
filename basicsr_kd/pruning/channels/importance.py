"""Importance of channels: by magnitudes, by torch-pruning's criteria under the names of our options, or on images."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from basicsr_kd.pruning.channels.random_signs import pieces, signed_gradients, under_signs

_criteria = torch_pruning.importance

_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)


class FilterMagnitude:
    """The norm of the filters that write a channel, over all layers that write it (Li et al., ICLR 2017).

    torch-pruning also counts the weights that read the channel. They are small where their input is large, so they
    point to the wrong channels: on photos held out, the networks of docs/results/pruning.md came out 0.04 to 0.06 dB
    (demo teacher) and 0.2 to 10 dB (realesr-general-x4v3) worse in layout growth.

    Args:
        p: The power with which single weights are summed.
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
    # Distance from the layer's other filters: a filter near the middle can be replaced (He et al., CVPR 2019).
    'fpgm': _criteria.FPGMImportance,
    'random': _criteria.RandomImportance,
}
"""Importances that need no images. Magnitudes have mean 1 in every group: two layers cannot be compared, since (leaky)
ReLU lets a factor move from one to the next."""


class ChannelEffects:
    """Importance `taylor`: the squared effects of a group's channels, as one of torch-pruning's criteria.

    The effect is how far the output moves, to first order, when a channel becomes zero (Molchanov et al., "Importance
    Estimation for Neural Network Pruning", CVPR 2019: (Σ w·g)² over its weights). Labels are not needed: instead of a
    loss, the output itself is differentiated, weighted by random signs. The mean of that square over draws of the signs
    is the squared change summed over every value of the output.

    torch-pruning's own GroupTaylorImportance adds |w·g| over single weights, which overrates channels whose weights
    work against each other: pruned by it, the networks of docs/results/pruning.md are 0.1 to 4 dB worse.

    Args:
        net: A network on the CPU in evaluation mode, its parameters requiring gradients.
        images: The network's inputs, `(n, c, h, w)` or clips `(n, t, c, h, w)`; a few run at a time, so memory does not
            grow with n.
        progress: Whether to show a progress bar.
    """

    def __init__(self, net: nn.Module, images: Tensor, progress: bool) -> None:
        layers = {name: module for name, module in net.named_modules() if isinstance(module, _LAYERS)}
        self.effects: dict[nn.Module, Tensor] = {}
        for count, name, pairs in signed_gradients(net, layers, images, 'importance taylor', progress):
            moved = torch.zeros(())
            for output, gradient in pairs:
                products = output * gradient  # their sum over positions is that of w·g over the weights and the bias
                if isinstance(layers[name], nn.Linear):
                    products = products.movedim(-1, 1)
                moved = moved + products.unflatten(0, (count, -1)).transpose(1, 2).flatten(2).sum(2)
            self.effects[layers[name]] = self.effects.get(layers[name], 0) + moved.square().sum(0)

    def __call__(self, group: Any) -> Tensor:
        """The importance of each channel of torch-pruning's group."""
        total = torch.zeros(len(group[0].idxs))
        for item in group:
            effects = self.effects.get(item.dep.target.module)
            if effects is not None and group._DG.is_out_channel_pruning_fn(item.dep.handler):
                total.index_add_(0, torch.tensor(item.root_idxs), effects[item.idxs])
        return total


def weight_effects(net: nn.Module, images: Tensor, progress: bool) -> dict[str, Tensor]:
    """The squared effect of every single parameter, (w·g)², by its name. Arguments as for `ChannelEffects`."""
    parameters = dict(net.named_parameters())
    effects = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    generator = torch.Generator().manual_seed(0)
    for piece in pieces(images, 1, 'importance taylor', progress):
        with torch.enable_grad():
            signed = under_signs(net(piece), generator)
        found = torch.autograd.grad(signed, list(parameters.values()), allow_unused=True)
        for (name, parameter), gradient in zip(parameters.items(), found, strict=True):
            if gradient is not None:
                effects[name] += (parameter.detach() * gradient).square()
    return effects
