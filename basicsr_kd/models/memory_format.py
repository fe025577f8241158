"""The memory order of networks: n, c, h, w, or channels_last, in which convolutions are faster."""
from __future__ import annotations

import torch
from basicsr.archs.discriminator_arch import VGGStyleDiscriminator
from torch import nn


def to_memory_format(net: nn.Module, memory_format: torch.memory_format) -> nn.Module:
    """Give a network's weights a memory order, in place, also to one that cannot work in it all the way."""
    if isinstance(net, VGGStyleDiscriminator):
        # it flattens with view(), which needs the memory order n, c, h, w that channels_last does away with
        last_norm = net.bn5_1 if net.input_size == 256 else net.bn4_1
        last_norm.register_forward_hook(lambda module, args, output: output.contiguous())
    return net.to(memory_format=memory_format)
