"""What a channel is worth: by magnitudes, torch-pruning's criteria under the names of the options, or on images."""
from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack
from typing import Any

import torch
import torch_pruning
from torch import Tensor, nn

from basicsr_kd.utils.modes import fast_formats
from basicsr_kd.utils.progress import progressing

_criteria = torch_pruning.importance

_LAYERS = (nn.Conv2d, nn.ConvTranspose2d, nn.Linear)
_TILE = 32
"""Side of the pieces that images are cut into, each with signs of its own: more draws for the same work. Of 96, 48, 32,
24 and 16, measured on realesr-general-x4v3 pruned by 0.1, 0.3 and 0.5, this kept the output best."""


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


class ChannelEffects:
    """Importance `taylor`: the squared effects of a group's channels, in the form of torch-pruning's criteria.

    How far the output moves, to first order, when a channel becomes zero (Molchanov et al., "Importance Estimation for
    Neural Network Pruning", CVPR 2019: (Σ w·g)² over its weights), here without labels: instead of a loss, the output
    itself is differentiated, weighted by random signs. The mean of that square over draws of the signs is the squared
    change summed over every value of the output.

    torch-pruning's own GroupTaylorImportance adds |w·g| over single weights, which overrates channels whose weights
    work against each other: pruned by it, the networks of docs/results/pruning.md are 0.1 to 4 dB worse.

    Args:
        net: a network on the CPU in evaluation mode, its parameters requiring gradients.
        images: its inputs, ``(n, c, h, w)`` or clips ``(n, t, c, h, w)``; one at a time, so memory does not grow
            with n.
        progress: whether to show a progress bar.
    """

    def __init__(self, net: nn.Module, images: Tensor, progress: bool) -> None:
        layers = {name: module for name, module in net.named_modules() if isinstance(module, _LAYERS)}
        self.effects: dict[nn.Module, Tensor] = {}
        for gradients in _gradients(net, images, progress):
            for name, layer in layers.items():
                if (gradient := gradients.get(f'{name}.weight')) is None:
                    continue
                outputs = 1 if isinstance(layer, nn.ConvTranspose2d) else 0
                moved = (layer.weight.detach() * gradient).transpose(0, outputs).flatten(1).sum(1)
                if layer.bias is not None:
                    moved += layer.bias.detach() * gradients[f'{name}.bias']
                self.effects[layer] = self.effects.get(layer, 0) + moved.square()

    def __call__(self, group: Any) -> Tensor:
        """One value for each channel of torch-pruning's group."""
        total = torch.zeros(len(group[0].idxs))
        for item in group:
            effects = self.effects.get(item.dep.target.module)
            if effects is not None and group._DG.is_out_channel_pruning_fn(item.dep.handler):
                total.index_add_(0, torch.tensor(item.root_idxs), effects[item.idxs])
        return total


def weight_effects(net: nn.Module, images: Tensor, progress: bool) -> dict[str, Tensor]:
    """The squared effect of every single parameter, (w·g)², by its name. Arguments as for ChannelEffects."""
    parameters = dict(net.named_parameters())
    effects = {name: torch.zeros_like(parameter) for name, parameter in parameters.items()}
    for gradients in _gradients(net, images, progress):
        for name, gradient in gradients.items():
            effects[name] += (parameters[name].detach() * gradient).square()
    return effects


def output_sensitivities(net: nn.Module, names: Iterable[str], images: Tensor, progress: bool) -> dict[str, Tensor]:
    """How far the output moves with what some layers write: the squared gradient of the output, summed over positions.

    In bf16 where the CPU is fast in it: RealESRGAN_x4plus then takes 24 s for 16 images of 80 x 120 in place of 75 s.

    Args:
        net: as for ChannelEffects.
        names: module paths of the layers.
        images: inputs of the network.
        progress: whether to show a progress bar.

    Returns:
        Path to ``(c)``: by how much the squared error of the output, summed over its values, grows with the mean
        squared error of this channel over its positions.
    """
    found: dict[str, Tensor] = {}
    written: dict[str, list[Tensor]] = {name: [] for name in names}
    with ExitStack() as stack:
        for name, outputs in written.items():
            stack.callback(net.get_submodule(name).register_forward_hook(
                lambda module, args, output, outputs=outputs: outputs.append(output)).remove)
        for signed in _signed_outputs(net, images, 'importance obs', progress, 'bf16' in fast_formats('cpu')):
            flat = [(name, output) for name, outputs in written.items() for output in outputs]
            gradients = torch.autograd.grad(signed, [output for _, output in flat], allow_unused=True)
            for (name, output), gradient in zip(flat, gradients, strict=True):
                squares = torch.zeros(output.shape[1]) if gradient is None else gradient.float().square().sum((0, 2, 3))
                found[name] = found.get(name, torch.zeros(())) + squares
            for outputs in written.values():
                outputs.clear()
    return found


def _gradients(net: nn.Module, images: Tensor, progress: bool) -> Iterator[Mapping[str, Tensor]]:
    """For each piece of the images, the gradient of the output under random signs, where there is one."""
    names, parameters = zip(*net.named_parameters(), strict=True)
    for signed in _signed_outputs(net, images, 'importance taylor', progress):
        found = torch.autograd.grad(signed, parameters, allow_unused=True)
        yield {name: gradient for name, gradient in zip(names, found, strict=True) if gradient is not None}


def _signed_outputs(net: nn.Module, images: Tensor, title: str, progress: bool,
                    half: bool = False) -> Iterator[Tensor]:
    """For each piece of the images, the sum of the output under random signs."""
    generator = torch.Generator().manual_seed(0)
    tiles = [tile for row in images.split(_TILE, -2) for tile in row.split(_TILE, -1)]
    pieces = torch.cat([tile for tile in tiles if tile.shape == tiles[0].shape])  # without narrow rests
    for piece in progressing(pieces.split(1), title, len(pieces), progress):
        with torch.enable_grad():
            with torch.autocast('cpu', torch.bfloat16, enabled=half):
                output = net(piece)
            output = output.float()
            signs = torch.randint(0, 2, output.shape, generator=generator).to(output) * 2 - 1
            yield (output * signs).sum()
