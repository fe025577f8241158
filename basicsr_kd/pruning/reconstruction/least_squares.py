"""Refitting one convolution by least squares, on every position of its output."""
from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d
from torch.nn.grad import conv2d_weight

from basicsr_kd.pruning.reconstruction.moments import moments, reading

RIDGE = 1e-3
"""Weight of the penalty on a change of the weights, relative to the mean squares of the inputs.

Ten times less gains 0.2 dB of 53 on a small RRDBNet, but loses 3 dB on a chain of 32 layers fitted on 10,000 positions;
float32 sums need at least 1e-5.
"""
POSITIONS_A_WEIGHT = 2
"""The least number of positions for each weight of an output channel."""


def can_refit(weight: Tensor, positions: int) -> bool:
    """Whether this number of positions is enough for the weights of an output channel."""
    return positions >= POSITIONS_A_WEIGHT * weight[0].numel()


def refit(conv: nn.Conv2d, inputs: Tensor, wanted: Tensor) -> bool:
    """Change the weights of a convolution (and its bias) so that it gives the wanted output for these inputs.

    Minimises the squared error, plus `RIDGE` on the change of the weights: weights that the inputs do not determine
    stay as they are.

    Args:
        conv: A convolution without groups; changed in place.
        inputs: The convolution's inputs, `(n, c_in, h, w)`.
        wanted: The wanted outputs, `(n, c_out, h, w)`.

    Returns:
        Whether it was changed; False if there is no solution (values that are not finite).
    """
    part = reading(conv, inputs)
    made = conv2d(part.padded, conv.weight, conv.bias, conv.stride, 0, conv.dilation)
    missing = wanted[:, :, part.rows, part.columns] - made
    seen = moments(conv, part.padded)
    weight_shape = conv.weight.shape
    slopes = conv2d_weight(part.padded, weight_shape, missing, conv.stride, 0, conv.dilation)
    products = slopes.permute(2, 3, 1, 0).flatten(0, 2).double() / seen.count  # (taps * c_in, c_out)
    gram = seen.gram
    missing_mean = missing.mean((0, 2, 3)).double()
    if conv.bias is None:
        gram = gram + torch.outer(seen.mean, seen.mean)
    else:
        products -= torch.outer(seen.mean, missing_mean)
    gram.diagonal().add_(RIDGE * gram.diagonal().mean())
    factor, failed = torch.linalg.cholesky_ex(gram)
    if failed or not torch.isfinite(gram).all() or not torch.isfinite(products).all():
        return False
    change = torch.cholesky_solve(products, factor)
    out_channels, in_channels, height, width = weight_shape
    conv.weight += change.T.reshape(out_channels, height, width, in_channels).permute(0, 3, 1, 2).float()
    if conv.bias is not None:
        conv.bias += (missing_mean - seen.mean @ change).float()
    return True
