"""Sums over all positions of a convolution's inputs: second moments of patches, without making the patches."""
from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr_kd.utils.modes import fast_formats

POSITIONS = 200_000
"""The most positions that are looked at, over all images: only the middle of larger maps."""
_MANY = 20_000
"""From this number of positions on, the rounding of single values to bf16 averages out."""


@dataclass(frozen=True)
class Moments:
    """Moments of the values under a convolution's kernel, in the order (kernel position, channel), over all positions.

    Args:
        count: The number of positions.
        mean: `(taps * c)`, float64.
        gram: Centred second moments, `(taps * c, taps * c)`, float64: their mean, not their sum.
    """
    count: int
    mean: Tensor
    gram: Tensor

    def by_channel(self, channels: int, ridge: float) -> tuple[Tensor, Tensor]:
        """Mean, and Cholesky factor of the moments, in the order (channel, kernel position).

        The leading parts of both are then those of convolutions that read the first channels alone.

        Args:
            channels: The number of channels that are read.
            ridge: Added to the moments, as a share of their mean diagonal.
        """
        order = torch.arange(len(self.gram)).reshape(-1, channels).T.flatten()
        gram = self.gram[order][:, order]
        gram.diagonal().add_(ridge * gram.diagonal().mean().clamp(min=1e-12))
        return self.mean[order], torch.linalg.cholesky(gram)


@dataclass(frozen=True)
class Reading:
    """A convolution's padded input, and the part of its output, `rows` and `columns`, that this input gives.

    Args:
        padded: `(n, c, h, w)`: the convolution without padding makes that part of its output from it.
        rows: Rows of the output.
        columns: Columns of the output.
    """
    padded: Tensor
    rows: slice
    columns: slice


def reading(conv: nn.Conv2d, inputs: Tensor) -> Reading:
    """The input `(n, c, h, w)` of a convolution with its padding; only the middle if there is too much."""
    mode = 'constant' if conv.padding_mode == 'zeros' else conv.padding_mode
    padded = F.pad(inputs, conv._reversed_padding_repeated_twice, mode=mode)  # conv.padding may also be a word
    spans = [dilation * (kernel - 1) + 1 for kernel, dilation in zip(conv.kernel_size, conv.dilation, strict=True)]
    sizes = [(size - span) // stride + 1
             for size, span, stride in zip(padded.shape[2:], spans, conv.stride, strict=True)]
    share = min(1.0, (POSITIONS / max(len(inputs) * sizes[0] * sizes[1], 1)) ** 0.5)
    parts, windows = [], []
    for size, span, stride in zip(sizes, spans, conv.stride, strict=True):
        taken = max(min(size, 1), int(size * share))
        first = (size - taken) // 2
        parts.append(slice(first, first + taken))
        windows.append(slice(first * stride, first * stride + (taken - 1) * stride + span))
    return Reading(padded[:, :, windows[0], windows[1]], parts[0], parts[1])


def moments(conv: nn.Conv2d, padded: Tensor) -> Moments:
    """The moments of everything that a convolution sees of a padded input `(n, c, h, w)`.

    For large inputs, on CPUs that are fast in bf16, the input is rounded to bf16. Rounding adds about 1e-6 of each
    variance, far below any ridge.
    """
    centre = padded.mean((0, 2, 3))  # subtracted first, since float32 sums of squares of large means lose the rest
    values = padded - centre[:, None, None]
    half = values[:, 0].numel() >= _MANY and 'bf16' in fast_formats('cpu')
    if half:
        values = values.bfloat16().float()
    with _products_of_bf16() if half else nullcontext():
        if conv.stride == (1, 1) and conv.dilation == (1, 1):
            count, total, gram = _by_shifts(values, conv.kernel_size)
        else:
            patches = _patches(values, conv)
            count, total, gram = len(patches), patches.sum(0), patches.T @ patches
    mean = total.double() / count
    return Moments(count, mean + centre.double().repeat(conv.weight[0, 0].numel()),
                   gram.double() / count - torch.outer(mean, mean))


@contextmanager
def _products_of_bf16() -> Iterator[None]:
    """A context in which float32 matrices with bf16 values multiply in half of the time; sums are in float32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision('medium')
    try:
        yield
    finally:
        torch.set_float32_matmul_precision(before)


def _by_shifts(values: Tensor, kernel: tuple[int, ...]) -> tuple[int, Tensor, Tensor]:
    """Count, sum and second moments of all patches, as sums of products of the map with itself, shifted.

    Two places in the kernel matter only by their distance: 13 products give all 81 pairs of a 3x3 kernel. That holds if
    the kernel may reach beyond the map, into zeros; what it sees there is subtracted again, patch by patch.
    """
    images, channels, height, width = values.shape
    up, left = kernel[0] - 1, kernel[1] - 1
    wide = F.pad(values, (left, left, up, up)).permute(0, 2, 3, 1).contiguous()
    flat, line = wide.flatten(0, 2), wide.shape[2]
    taps = [(y, x) for y in range(kernel[0]) for x in range(kernel[1])]
    products: dict[tuple[int, int], Tensor] = {}
    for y in range(kernel[0]):
        for x in range(-left if y else 0, kernel[1]):
            step = y * line + x
            products[y, x] = flat[:len(flat) - step].T @ flat[step:]
            products[-y, -x] = products[y, x].T
    gram = torch.cat([torch.cat([products[other[0] - one[0], other[1] - one[1]] for other in taps], 1)
                      for one in taps])
    total = values.sum((0, 2, 3)).repeat(len(taps))
    beyond = torch.ones(wide.shape[1] - up, line - left, dtype=torch.bool)
    beyond[up:height, left:width] = False
    rows, columns = beyond.nonzero(as_tuple=True)
    outside = torch.cat([wide[:, rows + y, columns + x] for y, x in taps], 2).flatten(0, 1)
    return images * (height - up) * (width - left), total - outside.sum(0), gram - outside.T @ outside


def _patches(values: Tensor, conv: nn.Conv2d) -> Tensor:
    """The patches themselves, `(n * positions, taps * c)`."""
    unfolded = F.unfold(values, conv.kernel_size, conv.dilation, 0, conv.stride)  # (n, c * taps, positions)
    return unfolded.unflatten(1, (values.shape[1], -1)).permute(0, 3, 2, 1).flatten(2).flatten(0, 1)
