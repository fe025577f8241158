"""SRNet, which makes a frame of FRVSR and TecoGAN from the low-resolution frame and the warped frame before it."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn


def space_to_depth(image: Tensor, scale: int) -> Tensor:
    """Put the pixels of each scale x scale square into channels, in TensorFlow's order: row, column, channel.

    `F.pixel_unshuffle` has the order channel, row, column, which does not fit TecoGAN's weights.

    Args:
        image: (n, c, scale·h, scale·w).
        scale: Side of the squares.

    Returns:
        (n, scale²·c, h, w).
    """
    channels = image.shape[1]
    return F.pixel_unshuffle(image, scale).unflatten(1, (channels, scale**2)).transpose(1, 2).flatten(1, 2)


class ResidualBlock(nn.Module):
    """Convolution, ReLU, convolution, and the input added; no normalisation; (n, nf, h, w) stays (n, nf, h, w)."""

    def __init__(self, nf: int) -> None:
        super().__init__()
        self.conv = nn.Sequential(nn.Conv2d(nf, nf, 3, padding=1), nn.ReLU(inplace=True),
                                  nn.Conv2d(nf, nf, 3, padding=1))

    def forward(self, features: Tensor) -> Tensor:
        return self.conv(features) + features


class SRNet(nn.Module):
    """Residual blocks at low resolution, then one transposed convolution for each doubling.

    29,440 + nb · 73,856 + 73,856 + 1,731 parameters for colour, 64 features and scale 4.

    Args:
        in_nc: Channels of a low-resolution frame, and of the frame before at high resolution.
        out_nc: Channels of the output.
        nf: Channels of the residual stream.
        nb: Residual blocks.
        upsample_func: Enlarges the low-resolution frame, to which the output is added.
        scale: 4 or 2.
    """

    def __init__(self, in_nc: int, out_nc: int, nf: int, nb: int, upsample_func: nn.Module, scale: int) -> None:
        super().__init__()
        self.conv_in = nn.Sequential(nn.Conv2d((scale**2 + 1) * in_nc, nf, 3, padding=1), nn.ReLU(inplace=True))
        self.resblocks = nn.Sequential(*(ResidualBlock(nf) for _ in range(nb)))
        doublings = [layer for _ in range(scale // 2) for layer in (
            nn.ConvTranspose2d(nf, nf, 3, stride=2, padding=1, output_padding=1), nn.ReLU(inplace=True))]
        self.conv_up = nn.Sequential(*doublings)
        self.conv_out = nn.Conv2d(nf, out_nc, 3, padding=1)
        self.upsample_func = upsample_func

    def forward(self, frame: Tensor, before: Tensor) -> Tensor:
        """Make one frame.

        Args:
            frame: (n, in_nc, h, w), RGB in [0, 1].
            before: The warped frame before it, as `space_to_depth` gives it: (n, scale²·in_nc, h, w).

        Returns:
            (n, out_nc, scale·h, scale·w), about [0, 1] but not clamped.
        """
        features = self.conv_up(self.resblocks(self.conv_in(torch.cat((frame, before), dim=1))))
        return self.conv_out(features) + self.upsample_func(frame)
