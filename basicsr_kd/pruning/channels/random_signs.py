"""How far a network's output moves when the outputs of its layers change: its gradients under random signs.

The mean square over draws of the signs is the squared change summed over every value of the output.
"""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack

import torch
from torch import Tensor, nn

from basicsr_kd.utils.modes import fast_formats
from basicsr_kd.utils.progress import progressing

_TILE = 32
"""Side of the pieces that images are cut into, each with its own signs: more draws for the same work. Of 96, 48, 32,
24 and 16, measured on realesr-general-x4v3 pruned by 0.1, 0.3 and 0.5, this kept the output best."""
AT_ONCE = 4
"""Pieces that run at once: RealESRGAN_x4plus then takes half of the time that it takes one by one."""
DRAWS = 2
"""Draws of signs for each piece. Of RealESRGAN_x4plus' growth channels, the less important halves by two different
draws on 96 pieces share 0.86."""


def output_sensitivities(net: nn.Module, names: Iterable[str], images: Tensor, progress: bool) -> dict[str, Tensor]:
    """How far the output moves with the outputs of some layers: its squared gradient, summed over positions.

    If an activation works in place, as in an RRDBNet, the activation's output is taken: on the demo's teacher
    pruned by 0.4, `obs` then chose better (squared error 1.24e-5 after the refit, against 1.61e-5).

    Args:
        net: A network in evaluation mode, on the CPU, its parameters requiring gradients.
        names: Module paths of convolutions.
        images: Inputs of the network, `(n, c, h, w)` or clips `(n, t, c, h, w)`.
        progress: Whether to show a progress bar.

    Returns:
        For each path `(c)`: by how much the squared error of the output, summed over its values, grows with the mean
        squared error of this channel over its positions.
    """
    layers = {name: net.get_submodule(name) for name in names}
    found = {name: torch.zeros(()) for name in layers}
    for _, name, pairs in signed_gradients(net, layers, images, 'importance obs', progress, behind=True):
        for _, gradient in pairs:
            found[name] = found[name] + gradient.square().sum((0, 2, 3)) / DRAWS
    return found


@torch.no_grad()
def signed_gradients(net: nn.Module, layers: Mapping[str, nn.Module], images: Tensor, title: str, progress: bool,
                     behind: bool = False) -> Iterator[tuple[int, str, Sequence[tuple[Tensor, Tensor]]]]:
    """Run a network on pieces of images, and differentiate its output, under random signs, by the outputs of layers.

    It runs in bf16 on CPUs that are fast in it: rounding changes less than another draw of the signs does.

    Args:
        net: A network in evaluation mode, on the CPU, its parameters requiring gradients.
        layers: The layers, by name, whose outputs are given.
        images: The network's inputs, `(n, c, h, w)` or clips `(n, t, c, h, w)`.
        title: The progress bar's title.
        progress: Whether to show a progress bar.
        behind: Whether a layer with an activation that works in place gives the activation's output and gradient.

    Yields:
        How many pieces ran at once, the name of a layer, and, for each time that it ran, its output and the gradient at
        that output, float32.
    """
    written: dict[str, list[Tensor]] = {}

    def keep(name: str, output: Tensor) -> Tensor | None:
        written.setdefault(name, []).append(output)
        return None if behind else output.clone()

    # Outputs of linear layers and of networks of clips may have another first dimension than the pieces.
    alone = images.dim() == 5 or any(isinstance(layer, nn.Linear) for layer in layers.values())
    generator = torch.Generator().manual_seed(0)
    with ExitStack() as stack:
        for name, layer in layers.items():
            stack.callback(layer.register_forward_hook(
                lambda module, args, output, name=name: keep(name, output)).remove)
        for piece in pieces(images, 1 if alone else AT_ONCE, title, progress):
            with torch.enable_grad(), torch.autocast('cpu', torch.bfloat16, enabled='bf16' in fast_formats('cpu')):
                output = net(piece)
            flat = [(name, part) for name, parts in written.items() for part in parts]
            for left in reversed(range(DRAWS)):
                with torch.enable_grad():
                    signed = under_signs(output, generator)
                found = torch.autograd.grad(signed, [part for _, part in flat], allow_unused=True,
                                            retain_graph=left > 0, materialize_grads=True)
                pairs: dict[str, list[tuple[Tensor, Tensor]]] = {}
                for (name, part), gradient in zip(flat, found, strict=True):
                    pairs.setdefault(name, []).append((part.detach().float(), gradient.float()))
                for name, its in pairs.items():
                    yield len(piece), name, its
            written.clear()


def pieces(images: Tensor, at_once: int, title: str, progress: bool) -> Iterator[Tensor]:
    """Pieces of images or clips, some at once: `(k, c, h, w)` or `(k, t, c, h, w)`, all of one width."""
    tiles = [tile for row in images.split(_TILE, -2) for tile in row.split(_TILE, -1)]
    alike = torch.cat([tile for tile in tiles if tile.shape == tiles[0].shape]).split(at_once)
    return progressing(alike, title, len(alike), progress)


def under_signs(output: Tensor, generator: torch.Generator) -> Tensor:
    """The sum of an output's values, each with a random sign."""
    output = output.float()
    return (output * (torch.randint(0, 2, output.shape, generator=generator).to(output) * 2 - 1)).sum()
