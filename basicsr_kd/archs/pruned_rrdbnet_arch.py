"""An RRDBNet whose dense blocks, and the layers behind the body, each have their own widths."""
from __future__ import annotations

import os
from collections.abc import Sequence

import torch
from basicsr.archs.arch_util import default_init_weights
from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import Tensor, nn

from basicsr_kd.archs.rrdbnet_numbers import check_rrdbnet, growth_widths, rrdbnet_options, tail_widths
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.errors import CheckpointError


class PrunedDenseBlock(nn.Module):
    """A residual dense block whose four growing convolutions each have their own growth.

    Input and output `(n, num_feat, h, w)`. With a growth of 0 the convolution is missing in module and state dict
    (torch cannot build one without outputs), and the convolutions behind it have fewer inputs.

    Args:
        num_feat: Channels of the residual stream.
        growths: Output channels of conv1 to conv4, each 0 or more.
    """

    conv1: nn.Conv2d | None
    conv2: nn.Conv2d | None
    conv3: nn.Conv2d | None
    conv4: nn.Conv2d | None

    def __init__(self, num_feat: int, growths: Sequence[int]) -> None:
        super().__init__()
        total = num_feat
        for index, growth in enumerate(growths, start=1):
            conv = nn.Conv2d(total, growth, 3, 1, 1) if growth else None
            setattr(self, f'conv{index}', conv)
            total += growth
        self.conv5 = nn.Conv2d(total, num_feat, 3, 1, 1)
        self.lrelu = nn.LeakyReLU(negative_slope=0.2, inplace=True)
        default_init_weights([conv for conv in self.children() if isinstance(conv, nn.Conv2d)], 0.1)

    def forward(self, x: Tensor) -> Tensor:
        features = [x]
        for conv in (self.conv1, self.conv2, self.conv3, self.conv4):
            if conv is not None:
                features.append(self.lrelu(conv(_concatenate(features))))
        return self.conv5(_concatenate(features)) * 0.2 + x


class PrunedRRDB(nn.Module):
    """Three pruned dense blocks and a residual around them; `growths` holds their 12 widths."""

    def __init__(self, num_feat: int, growths: Sequence[int]) -> None:
        super().__init__()
        self.rdb1 = PrunedDenseBlock(num_feat, growths[:4])
        self.rdb2 = PrunedDenseBlock(num_feat, growths[4:8])
        self.rdb3 = PrunedDenseBlock(num_feat, growths[8:])

    def forward(self, x: Tensor) -> Tensor:
        return self.rdb3(self.rdb2(self.rdb1(x))) * 0.2 + x


class PrunedRRDBNet(RRDBNet):
    """BasicSR's RRDBNet after pruning of its growth channels and of the layers behind its body.

    With the same growth everywhere and full layers behind the body it is an RRDBNet: the same keys, and bit for bit the
    same output.
    Input `(n, num_in_ch, h, w)`, RGB in [0, 1]; output `(n, num_out_ch, scale * h, scale * w)`.

    Args:
        num_in_ch: Channels of the input.
        num_out_ch: Channels of the output.
        scale: 4, 2 or 1; 2 and 1 start with a pixel-unshuffle.
        num_feat: Channels of the residual stream.
        num_block: Residual-in-residual dense blocks.
        num_grow_ch: Growth channels: one number for all, or a flat list of 4 * 3 * num_block numbers in the order of
            the network (block, dense block, conv1 to conv4); 0 leaves a convolution out.
        num_tail_ch: Output channels of conv_up1, conv_up2 and conv_hr: three numbers, one for all, or None:
            `num_feat`.
        like: A checkpoint (`.pth`, `.safetensors`, ncnn's `.param`) whose tensor shapes give all of the above. Its
            weights are not loaded: that is `pretrain_network_g`.

    Raises:
        ValueError: A width, the length of the list or the scale is impossible.
        CheckpointError: `like` cannot be read or is not an RRDBNet.
    """

    def __init__(self,
                 num_in_ch: int = 3,
                 num_out_ch: int = 3,
                 scale: int = 4,
                 num_feat: int = 64,
                 num_block: int = 23,
                 num_grow_ch: int | Sequence[int] = 32,
                 num_tail_ch: int | Sequence[int] | None = None,
                 like: str | os.PathLike[str] | None = None) -> None:
        if like is not None:
            options = rrdbnet_options(read_state_dict(like))
            if options is None:
                raise CheckpointError(f'PrunedRRDBNet: the checkpoint {like} (like:) is not an RRDBNet. Expected the '
                                      'tensors conv_first, body.<n>.rdb<1-3>.conv<1-5>, conv_body, ..., conv_last.')
            num_in_ch, num_out_ch, scale = options['num_in_ch'], options['num_out_ch'], options['scale']
            num_feat, num_block, num_grow_ch = options['num_feat'], options['num_block'], options['num_grow_ch']
            num_tail_ch = options.get('num_tail_ch')
        check_rrdbnet('PrunedRRDBNet', scale, num_in_ch=num_in_ch, num_out_ch=num_out_ch, num_feat=num_feat,
                      num_block=num_block)
        growths, tail = growth_widths(num_grow_ch, num_block), tail_widths(num_tail_ch, num_feat)
        # RRDBNet makes everything but the body (no blocks, so its growth does not matter).
        super().__init__(num_in_ch, num_out_ch, scale, num_feat, num_block=0)
        self.body = nn.Sequential(*(PrunedRRDB(num_feat, growths[12 * index:12 * index + 12])
                                    for index in range(num_block)))
        if tail != [num_feat] * len(tail):
            up1, up2, hr = tail
            self.conv_up1 = nn.Conv2d(num_feat, up1, 3, 1, 1)
            self.conv_up2 = nn.Conv2d(up1, up2, 3, 1, 1)
            self.conv_hr = nn.Conv2d(up2, hr, 3, 1, 1)
            self.conv_last = nn.Conv2d(hr, num_out_ch, 3, 1, 1)


def _concatenate(features: list[Tensor]) -> Tensor:
    return torch.cat(features, 1) if len(features) > 1 else features[0]
