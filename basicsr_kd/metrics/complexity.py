"""Size and work of a network: parameters, multiply-accumulates and activations at a stated input size."""
import torch
from mmengine.analysis import ActivationAnalyzer, FlopAnalyzer, parameter_count
from torch import nn

from basicsr_kd.archs.probe import is_recurrent
from basicsr_kd.utils.measured import Complexity, Part
from basicsr_kd.utils.modes import evaluating


@torch.no_grad()
def complexity(net: nn.Module, lr_size: tuple[int, int] = (64, 64), in_ch: int = 3) -> Complexity:
    """Count by running `net` on its own device, in eval mode, once for each count.

    A recurrent network (from frame to frame), such as FRNet, treats an image as one step of a stream, which is counted.

    Args:
        net: A network that takes one image (1, in_ch, h, w). Its modules' training flags are restored.
        lr_size: (height, width) of the input; the counts of a convolutional network grow with their product.
    """
    image = torch.zeros(1, in_ch, *lr_size, device=next(net.parameters()).device)
    with evaluating(net):
        # an activation behind convolutions that were pruned away is not called, which is as it should be
        flops, activations = (
            analyzer(net, (image,)).unsupported_ops_warnings(False).uncalled_modules_warnings(False)
            for analyzer in (FlopAnalyzer, ActivationAnalyzer))
        params, macs = parameter_count(net), flops.by_module()
        total = int(activations.total())
    nonzero = sum(int(parameter.count_nonzero()) for parameter in net.parameters())
    parts = {name: Part(int(params[name]), int(macs[name])) for name in _parts(net)}
    return Complexity(params=int(params['']), params_nonzero=nonzero, macs=int(macs['']), activations=total,
                      lr_size=lr_size, parts=parts)


def _parts(net: nn.Module) -> list[str]:
    """Names of a recurrent network's children that have parameters; empty for any other network."""
    if not is_recurrent(net):
        return []
    return [name for name, child in net.named_children() if next(child.parameters(), None) is not None]
