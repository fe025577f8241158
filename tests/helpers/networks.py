"""Networks for the tests of architectures and pruning."""
import copy

import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import nn

TINY = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 2, 'num_grow_ch': 4}
STUDENT = {'type': 'SlimRRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 2, 'num_grow_ch': 4}


def varied_rrdbnet(scale: int = 4, num_feat: int = 64, num_block: int = 23, num_grow_ch: int = 32,
                   seed: int = 0) -> RRDBNet:
    """An RRDBNet with random weights whose channels differ in scale, as a trained one's do, and with biases."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        net = RRDBNet(3, 3, scale, num_feat, num_block, num_grow_ch)
        with torch.no_grad():
            for parameter in net.parameters():
                if parameter.dim() == 4:
                    parameter.mul_(torch.rand(len(parameter), 1, 1, 1) * 2)
                else:
                    parameter.uniform_(-0.1, 0.1)
    return net


def masked(net: nn.Module, kept: dict[str, list[int]]) -> nn.Module:
    """A copy of a network with every output channel that is not kept set to zero: weights and bias."""
    net = copy.deepcopy(net)
    for path, channels in kept.items():
        conv = net.get_submodule(path)
        gone = sorted(set(range(conv.out_channels)) - set(channels))
        with torch.no_grad():
            (conv.weight.transpose(0, 1) if isinstance(conv, nn.ConvTranspose2d) else conv.weight)[gone] = 0
            conv.bias[gone] = 0
    return net


def count(net: nn.Module) -> int:
    """Parameters of a network."""
    return sum(parameter.numel() for parameter in net.parameters())


@torch.no_grad()
def largest_difference(one: nn.Module, other: nn.Module, image: torch.Tensor) -> float:
    """The largest absolute difference between two networks' outputs."""
    return (one(image) - other(image)).abs().max().item()
