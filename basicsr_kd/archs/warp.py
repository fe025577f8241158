"""Backward warping: an image moved by a flow."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor


def backward_warp(image: Tensor, flow: Tensor) -> Tensor:
    """Fetch every pixel from where the flow points, like TecoGAN-PyTorch: bilinear, with the border repeated outside.

    BasicSR's `flow_warp` is not used: it counts pixels in the image's type (bfloat16 counts to 256), on the CPU.

    Args:
        image: (n, c, h, w), h and w at least 2.
        flow: (n, 2, h, w), to the right and down, in pixels.

    Returns:
        (n, c, h, w) of the image's type; positions are float32 at least, under autocast too.
    """
    height, width = image.shape[2:]
    dtype = torch.promote_types(image.dtype, torch.float32)
    x = torch.linspace(-1, 1, width, dtype=dtype, device=image.device) + flow[:, 0] * (2 / (width - 1))
    y = torch.linspace(-1, 1, height, dtype=dtype, device=image.device)[:, None] + flow[:, 1] * (2 / (height - 1))
    return F.grid_sample(image.to(dtype), torch.stack((x, y), dim=-1), mode='bilinear', padding_mode='border',
                         align_corners=True).to(image.dtype)
