"""Rounds weights so that their errors cancel on the inputs of a convolution.

GPTQ (Frantar et al., ICLR 2023) rounds one weight after the other and moves the remaining ones to make up for it. With
the Cholesky factor of the inputs' second moments this is Babai's nearest plane algorithm, from the last weight to the
first (Chen et al., "The geometry of LLM quantization", 2025). One factor serves all convolutions of a dense block,
since each reads the first channels of what the next one reads.
"""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.utils import parametrize

from basicsr_kd.pruning.reconstruction.moments import moments, reading
from basicsr_kd.pruning.reconstruction.shared_inputs import watch_inputs
from basicsr_kd.quantisation.quantiser import WEIGHT_LEVELS, RoundedWeight, weight_steps
from basicsr_kd.utils.progress import Progress

_RIDGE = 1e-3
"""Value added to the moments' diagonal, as a share of its mean."""


@torch.no_grad()
def round_weights(net: nn.Module, paths: list[str], images: Tensor, progress: bool = False) -> None:
    """Round the weights of convolutions by their inputs on images, and shift their biases by the mean error.

    Args:
        net: The network with its quantisers set; its weights change in place.
        paths: The convolutions, in the order in which they run.
        images: Images `(n, c, h, w)`; all run at once, up to the last of the convolutions.
        progress: Whether to show a bar.
    """
    with Progress('rounding', len(paths), progress) as bar:

        def use(convs: dict[str, nn.Conv2d], inputs: Tensor) -> None:
            *_, last = convs.values()
            seen = moments(last, reading(last, inputs).padded)
            mean, factor = (value.float() for value in seen.by_channel(last.in_channels, _RIDGE))
            for conv in convs.values():
                _round(conv, mean, factor)
                bar.update()

        watch_inputs(net, paths, lambda: net(images), use)


@torch.no_grad()
def round_to_nearest(net: nn.Module, paths: list[str]) -> None:
    """Round each weight by itself."""
    for path in paths:
        conv = net.get_submodule(path)
        parametrize.register_parametrization(conv, 'weight', RoundedWeight(weight_steps(conv.weight)))  # type: ignore[arg-type]


def _round(conv: nn.Conv2d, mean: Tensor, factor: Tensor) -> None:
    weights = conv.weight.detach().flatten(1).T  # (n, o): a row is one place of the kernel, for all outputs
    steps = weight_steps(conv.weight)
    count = len(weights)
    missing = torch.zeros_like(weights)  # original minus rounded weights
    for row in reversed(range(count)):
        wanted = weights[row] + factor[row + 1:count, row] @ missing[row + 1:] / factor[row, row]
        rounded = (wanted / steps).round().clamp(-WEIGHT_LEVELS, WEIGHT_LEVELS) * steps
        missing[row] = weights[row] - rounded
    conv.weight.copy_((weights - missing).T.view_as(conv.weight))
    if conv.bias is not None:
        conv.bias += mean[:count] @ missing
    parametrize.register_parametrization(conv, 'weight', RoundedWeight(steps))
