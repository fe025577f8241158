"""The discriminator of TecoGAN."""
from __future__ import annotations

from collections import OrderedDict

from torch import Tensor, nn

from basicsr_kd.archs.upsample import upsampler

_HALVINGS = 4


class SpatioTemporalDiscriminator(nn.Module):
    """Tells real triplets of frames from generated ones.

    It sees the frames, the same frames warped onto the middle one, and the enlarged low-resolution frames.

    Chu et al., "Learning Temporal Coherence via Self-Supervision for GAN-based Video Generation" (TecoGAN), SIGGRAPH
    2020. Keys and numbers are those of TecoGAN-PyTorch: 819,457 parameters for colour and 128 pixels.

    Args:
        in_nc: Channels of a frame.
        spatial_size: Height and width of the images, at least 16.
        tempo_range: Number of frames in a group: 3.
        degradation: 'BD' or 'BI'. With BD there is an `upsample_func` with its buffer, as in FRNet: nothing here uses
            it, but checkpoints of TecoGAN-PyTorch have it.
        scale: 4 or 2.

    Raises:
        ValueError: A number or the degradation is impossible.
    """

    def __init__(self, in_nc: int = 3, spatial_size: int = 128, tempo_range: int = 3, degradation: str = 'BD',
                 scale: int = 4) -> None:
        if tempo_range != 3:
            raise ValueError(f'SpatioTemporalDiscriminator: tempo_range is {tempo_range!r}. Expected 3: a frame, the '
                             'one before it and the one after it.')
        if not isinstance(spatial_size, int) or spatial_size < 2**_HALVINGS:
            raise ValueError(f'SpatioTemporalDiscriminator: spatial_size is {spatial_size!r}. Expected a whole number '
                             f'of at least {2**_HALVINGS}.')
        super().__init__()
        self.spatial_size = spatial_size
        self.conv_in = nn.Sequential(nn.Conv2d(3 * tempo_range * in_nc, 64, 3, padding=1),
                                     nn.LeakyReLU(0.2, inplace=True))
        self.discriminator_block = nn.Sequential(OrderedDict(
            block1=_halving(64, 64), block2=_halving(64, 64), block3=_halving(64, 128), block4=_halving(128, 256)))
        self.dense = nn.Linear(256 * (spatial_size // 2**_HALVINGS)**2, 1)
        self.upsample_func = upsampler(degradation, scale)

    def forward(self, images: Tensor) -> Tensor:
        """Judge triplets.

        Args:
            images: (n, 9 · in_nc, spatial_size, spatial_size), RGB in [0, 1]: the triplet, the warped triplet, the
                enlarged low-resolution triplet; in each, the three frames' red, their green, their blue.

        Returns:
            (n, 1) logits: the larger, the more real.

        Raises:
            ValueError: The images have another size.
        """
        height, width = images.shape[2:]
        if (height, width) != (self.spatial_size, self.spatial_size):
            raise ValueError(f'SpatioTemporalDiscriminator: found images of {height}x{width} pixels. Expected '
                             f'{self.spatial_size}x{self.spatial_size} (spatial_size, which is to be gt_size).')
        return self.dense(self.discriminator_block(self.conv_in(images)).flatten(1))


def _halving(inputs: int, outputs: int) -> nn.Sequential:
    return nn.Sequential(nn.Conv2d(inputs, outputs, 4, stride=2, padding=1, bias=False), nn.BatchNorm2d(outputs),
                         nn.LeakyReLU(0.2, inplace=True))
