"""Size and work of a network: parameters, multiply-accumulates and activations at a stated input size."""
from dataclasses import dataclass, field

import torch
from mmengine.analysis import ActivationAnalyzer, FlopAnalyzer, parameter_count
from torch import nn

from basicsr_kd.archs.probe import is_recurrent
from basicsr_kd.utils.modes import evaluating


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
    parts: dict[str, dict[str, int]] = field(default_factory=dict)
    """Of a network that goes from frame to frame, `params` and `macs` of its parts: 'fnet', 'srnet'. What it does
    between them (enlarging the flow, warping) is in none of them."""


@torch.no_grad()
def complexity(net: nn.Module, lr_size: tuple[int, int] = (64, 64), in_ch: int = 3) -> Complexity:
    """Count by running `net` on its own device, in eval mode, once for each count.

    A network that goes from frame to frame, as FRNet, takes an image for one step of a stream: so do the counts.

    Args:
        net: takes one image (1, in_ch, h, w). Its modules' training flags are as before afterwards.
        lr_size: (height, width) of the input; what is counted in a convolutional network grows with their product.
    """
    image = torch.zeros(1, in_ch, *lr_size, device=next(net.parameters()).device)
    with evaluating(net):
        flops, activations = (analyzer(net, (image,)).unsupported_ops_warnings(False)
                              for analyzer in (FlopAnalyzer, ActivationAnalyzer))
        params, macs = parameter_count(net), flops.by_module()
        total = int(activations.total())
    nonzero = sum(int(parameter.count_nonzero()) for parameter in net.parameters())
    parts = {name: {'params': int(params[name]), 'macs': int(macs[name])} for name in _parts(net)}
    return Complexity(int(params['']), nonzero, int(macs['']), total, lr_size, parts)


def _parts(net: nn.Module) -> list[str]:
    """The children with parameters of a network that goes from frame to frame; none of another."""
    if not is_recurrent(net):
        return []
    return [name for name, child in net.named_children() if next(child.parameters(), None) is not None]
