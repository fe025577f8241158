"""Size and work of a network: parameters, and multiply-accumulates at a stated input size."""
from dataclasses import dataclass

import torch
from mmengine.analysis import FlopAnalyzer, parameter_count
from torch import nn


@dataclass(frozen=True)
class Complexity:
    """What one forward pass of a network costs."""

    params: int
    """Number of parameters."""
    macs: int
    """Multiply-accumulates of one image of `lr_size`, as mmengine counts them: convolutions and matrix products, and
    one for each value an interpolation puts out (0.1 % of an RRDBNet); activations and additions are free."""
    lr_size: tuple[int, int]
    """(height, width) of the low-resolution input that `macs` holds for."""


@torch.no_grad()
def complexity(net: nn.Module, lr_size: tuple[int, int] = (64, 64), in_ch: int = 3) -> Complexity:
    """Count parameters and multiply-accumulates by running `net` once on its own device, in eval mode.

    Args:
        net: takes one image (1, in_ch, h, w). Its modules' training flags are as before afterwards.
        lr_size: (height, width) of the input; MACs of a convolutional network grow with their product.
    """
    was_training = {module: module.training for module in net.modules()}
    image = torch.zeros(1, in_ch, *lr_size, device=next(net.parameters()).device)
    net.eval()
    try:
        macs = FlopAnalyzer(net, (image,)).unsupported_ops_warnings(False).total()
    finally:
        for module, flag in was_training.items():
            module.training = flag
    return Complexity(params=int(parameter_count(net)['']), macs=int(macs), lr_size=lr_size)
