"""Size and work of a network: parameters, multiply-accumulates and activations at a stated input size."""
from dataclasses import dataclass

import torch
from mmengine.analysis import ActivationAnalyzer, FlopAnalyzer, parameter_count
from torch import nn

from basicsr_kd.metrics.modes import evaluating


@dataclass(frozen=True)
class Complexity:
    """What one forward pass of a network costs."""

    params: int
    """Number of parameters."""
    params_nonzero: int
    """Those that are not 0; less than `params` after unstructured pruning, which saves nothing else."""
    macs: int
    """Multiply-accumulates of one image of `lr_size`, as mmengine counts them: convolutions and matrix products, and
    one for each value an interpolation puts out (0.1 % of an RRDBNet); activations and additions are free."""
    activations: int
    """Values that the convolutions and matrix products put out for that image, as mmengine counts them (Radosavovic et
    al., Designing Network Design Spaces, CVPR 2020): nearer to time and memory than MACs where widths are small."""
    lr_size: tuple[int, int]
    """(height, width) of the low-resolution input that `macs` and `activations` hold for."""


@torch.no_grad()
def complexity(net: nn.Module, lr_size: tuple[int, int] = (64, 64), in_ch: int = 3) -> Complexity:
    """Count by running `net` on its own device, in eval mode, once for each count.

    Args:
        net: takes one image (1, in_ch, h, w). Its modules' training flags are as before afterwards.
        lr_size: (height, width) of the input; what is counted in a convolutional network grows with their product.
    """
    image = torch.zeros(1, in_ch, *lr_size, device=next(net.parameters()).device)
    with evaluating(net):
        macs, activations = (analyzer(net, (image,)).unsupported_ops_warnings(False).total()
                             for analyzer in (FlopAnalyzer, ActivationAnalyzer))
    nonzero = sum(int(parameter.count_nonzero()) for parameter in net.parameters())
    return Complexity(int(parameter_count(net)['']), nonzero, int(macs), int(activations), lr_size)
