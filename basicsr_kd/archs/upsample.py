"""The enlargement of flows and frames in FRNet, by the degradation that it was trained for."""
from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

DEGRADATIONS = ('BD', 'BI')
_A = -0.75  # coefficient of the cubic convolution; MATLAB has -0.5


def upsampler(degradation: str, scale: int) -> nn.Module:
    """The enlargement that belongs to a degradation; a module from (n, c, h, w) to (n, c, scale·h, scale·w).

    Args:
        degradation: 'BD' (Gaussian blur, then every scale-th pixel): bicubic, with a buffer `kernels`; 'BI' (bicubic
            down-sampling): bilinear, without any tensors.
        scale: 4 or 2.

    Raises:
        ValueError: The degradation or the scale is another.
    """
    if scale not in (4, 2):
        raise ValueError(f'scale is {scale!r}. Expected 4 or 2.')
    if degradation not in DEGRADATIONS:
        raise ValueError(f"degradation is {degradation!r}. Expected 'BD' (Gaussian blur and every {scale}th pixel) or "
                         "'BI' (bicubic).")
    return BicubicUpsample(scale) if degradation == 'BD' else nn.Upsample(scale_factor=scale, mode='bilinear')


class BicubicUpsample(nn.Module):
    """`upsample_bd` as a module whose weights are a buffer `kernels` (scale, 4), as in public checkpoints."""

    kernels: Tensor

    def __init__(self, scale: int) -> None:
        super().__init__()
        self.register_buffer('kernels', bicubic_kernels(scale))

    def forward(self, image: Tensor) -> Tensor:
        rows = _lengthen(image, self.kernels)
        return _lengthen(rows.transpose(2, 3), self.kernels).transpose(2, 3)


def upsample_bd(image: Tensor, scale: int = 4) -> Tensor:
    """Enlarge like TensorFlow 1's bicubic `resize_images`, with which TecoGAN compares itself.

    Cubic convolution with a = -0.75, aligned at the top left corner: every scale-th pixel is an input pixel, unlike
    with `F.interpolate(mode='bicubic')`, which aligns centres and lies half an input pixel off. Borders are repeated.

    Args:
        image: (n, c, h, w).
        scale: How many times larger.

    Returns:
        (n, c, scale·h, scale·w) of the image's type, not clamped.
    """
    return BicubicUpsample(scale).to(image)(image)


def bicubic_kernels(scale: int) -> Tensor:
    """The weights (scale, 4) of the pixels -1, 0, 1, 2 for the positions 0, 1/scale, …; exact in float32 for 4 and 2.

    Keys, "Cubic convolution interpolation for digital image processing", 1981.
    """
    position = torch.arange(scale)[:, None] / scale
    distance = (position - torch.arange(-1, 3)).abs()
    near = ((_A + 2) * distance - (_A + 3)) * distance**2 + 1
    far = _A * (((distance - 5) * distance + 8) * distance - 4)
    return torch.where(distance <= 1, near, torch.where(distance < 2, far, 0.0))


def _lengthen(image: Tensor, kernels: Tensor) -> Tensor:
    """Enlarge along the last dimension: (n, c, h, w) to (n, c, h, scale·w).

    Sums of products instead of a convolution, which would lose digits in TF32 and under autocast: this is the image
    that the network adds its details to, and the flow by which it fetches pixels.
    """
    width = image.shape[3]
    padded = F.pad(image, (1, 2, 0, 0), mode='replicate')[..., None]
    first, *others = (padded[..., tap:tap + width, :] * kernels[:, tap] for tap in range(4))
    return sum(others, first).flatten(3)
