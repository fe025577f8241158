"""Tiled inference on tensors, as validation uses it."""
from __future__ import annotations

import torch
from torch import Tensor, nn

from basicsr_kd.deploy.pieces import OVERLAP, Tiling, cut


@torch.no_grad()
def run_tiled(net: nn.Module, image: Tensor, tile: int, overlap: int = OVERLAP, scale: int | None = None) -> Tensor:
    """Run an enlarging network on tensors piece by piece.

    Args:
        net: The network, in evaluation mode: (n, c, h, w) in, (n, c', scale·h, scale·w) out. If the image is on another
            device, pieces are moved to the network's device and back.
        image: Images (n, c, h, w) in the network's value range.
        tile: See `Tiling`.
        overlap: See `Tiling`.
        scale: How many times larger the output is; None: found from the first piece.

    Returns:
        (n, c', scale·h, scale·w) on the image's device, in the network's number format.

    Raises:
        ValueError: `tile` or `overlap` is negative, or the network does not enlarge `scale` times.
    """
    height, width = image.shape[2:]
    device = next((parameter.device for parameter in net.parameters()), image.device)
    output = None
    for piece in cut(height, width, Tiling(tile, overlap)):
        part = image[(...,) + piece.seen]
        made = net(part.to(device))
        scale = scale or made.shape[2] // part.shape[2]
        if made.shape[2:] != piece.size(scale):
            raise ValueError(f'{type(net).__name__} makes {made.shape[2]}x{made.shape[3]} of '
                             f'{part.shape[2]}x{part.shape[3]} pixels; expected {scale} times the size')
        if output is None:
            output = made.new_empty((*made.shape[:2], scale * height, scale * width), device=image.device)
        output[(...,) + piece.place(scale)] = made[(...,) + piece.kept(scale)]
    assert output is not None
    return output
