"""FNet, the optical flow estimation of FRVSR and TecoGAN."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

LEAST_SIDE = 8
"""Least side of a frame: frames are halved three times."""
_LARGEST_FLOW = 24  # pixels


class FNet(nn.Module):
    """The flow from one frame to another: three encoders, three decoders, and a last pair of convolutions.

    Sajjadi et al., "Frame-Recurrent Video Super-Resolution", CVPR 2018; keys and numbers are those of TecoGAN-PyTorch.
    1,745,506 parameters for colour.

    Args:
        in_nc: Channels of a frame.
    """

    def __init__(self, in_nc: int = 3) -> None:
        super().__init__()
        self.encoder1 = nn.Sequential(*_pair(2 * in_nc, 32), nn.MaxPool2d(2))
        self.encoder2 = nn.Sequential(*_pair(32, 64), nn.MaxPool2d(2))
        self.encoder3 = nn.Sequential(*_pair(64, 128), nn.MaxPool2d(2))
        self.decoder1 = nn.Sequential(*_pair(128, 256))
        self.decoder2 = nn.Sequential(*_pair(256, 128))
        self.decoder3 = nn.Sequential(*_pair(128, 64))
        self.flow = nn.Sequential(_conv(64, 32), nn.LeakyReLU(0.2, inplace=True), _conv(32, 2))

    def forward(self, frame: Tensor, other: Tensor) -> Tensor:
        """Estimate the flow by which `other` becomes `frame`: `backward_warp(other, flow)`.

        Args:
            frame: (n, in_nc, h, w), RGB in [0, 1].
            other: The same shape.

        Returns:
            (n, 2, h, w), to the right and down in pixels of these frames, within ±24. If a side is no multiple of 8,
            the three poolings leave out its end, and the flow there is reflected from the flow beside it.

        Raises:
            ValueError: A side is less than 8.
        """
        height, width = frame.shape[2:]
        if min(height, width) < LEAST_SIDE:
            raise ValueError(f'found frames of {height}x{width} pixels. Expected sides of at least {LEAST_SIDE}: FNet '
                             'halves them three times.')
        features = self.encoder3(self.encoder2(self.encoder1(torch.cat((frame, other), dim=1))))
        for decoder in (self.decoder1, self.decoder2, self.decoder3):
            features = F.interpolate(decoder(features), scale_factor=2, mode='bilinear')
        flow = torch.tanh(self.flow(features)) * _LARGEST_FLOW
        return F.pad(flow, (0, width - flow.shape[3], 0, height - flow.shape[2]), mode='reflect')


def _conv(inputs: int, outputs: int) -> nn.Conv2d:
    return nn.Conv2d(inputs, outputs, 3, padding=1)


def _pair(inputs: int, outputs: int) -> list[nn.Module]:
    """Two convolutions, each with its activation."""
    return [_conv(inputs, outputs), nn.LeakyReLU(0.2, inplace=True),
            _conv(outputs, outputs), nn.LeakyReLU(0.2, inplace=True)]
