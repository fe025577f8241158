"""KID: a distance of two sets in Inception's features without FID's bias (Bińkowski et al., ICLR 2018), on patches."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NoReturn

import torch
from torch import Tensor

from basicsr_kd.errors import MetricError
from basicsr_kd.utils.measured import Kid

RESAMPLES = 1000
HALVES = 200
MOST = 8192
"""Largest number of patches in total, since time grows with its square; above it every image gives fewer."""


def kernel(a: Tensor, b: Tensor) -> Tensor:
    """KID's polynomial kernel (x·y / d + 1)³ of each of (n, d) with each of (m, d): (n, m)."""
    return (a @ b.T / a.shape[1] + 1) ** 3


def patch_kid(result: Sequence[Tensor], truth: Sequence[Tensor], seed: int = 0) -> Kid:
    """KID between patches of results and of their ground truths.

    It is the unbiased estimate of the squared maximum mean discrepancy: the mean of
    k(x, x') + k(y, y') - k(x, y') - k(y, x') over pairs of patches (a U-statistic: Gretton et al., JMLR 2012, Lemma 6).
    Only pairs from two *different images* count, since patches of one image resemble each other, and a result its own
    ground truth, more than those of two images do. So a result equal to its ground truth has exactly 0.

    The interval is a bootstrap over images (percentiles), with all patches of an image in or out together. For the
    floor, the patches of every ground truth image are split into two random halves, and one half stands for the result.

    Args:
        result: Features of the patches, (p, d) for each image; p is at least 2 and as in `truth`.
        truth: Features of the same patches of the ground truth.
        seed: Random seed of the bootstrap and of the halves.

    Raises:
        MetricError: There are fewer than three images, an image has fewer than two patches, or images do not match.
    """
    counts = [len(features) for features in truth]
    if [len(features) for features in result] != counts or len(counts) < 3 or min(counts) < 2:
        raise MetricError(f'KID: the images have {[len(features) for features in result]} patches in the result and '
                          f'{counts} in the ground truth. Expected the same, at least 3 images and 2 patches in each.')
    step = -(-sum(counts) // MOST)
    counts = [max(2, count // step) for count in counts]
    x, y = (torch.cat([features[_spread(len(features), count)] for features, count in zip(side, counts, strict=True)])
            .double() for side in (result, truth))
    generator = torch.Generator().manual_seed(seed)
    signs = torch.cat([_random_halves(count, generator) for count in counts])
    distances, halves = _sums(x, y, signs, counts)

    pairs = torch.tensor(counts).double().outer(torch.tensor(counts).double()).triu(1)
    half_counts = torch.tensor(counts).div(2, rounding_mode='floor').double()
    floors = halves / half_counts.outer(half_counts).triu(1).sum()
    drawn = torch.randint(len(counts), (RESAMPLES, len(counts)), generator=generator)
    times = torch.stack([row.bincount(minlength=len(counts)) for row in drawn]).double()
    totals, weights = (((times @ matrix) * times).sum(1) for matrix in (distances, pairs))
    resampled = (totals / weights)[weights > 0]  # without draws of one image alone, which have no pairs
    return Kid(value=(distances.sum() / pairs.sum()).item(), low=resampled.quantile(0.025).item(),
               high=resampled.quantile(0.975).item(), floor=floors.mean().item(),
               floor_low=floors.quantile(0.025).item(), floor_high=floors.quantile(0.975).item(), patches=len(x))


def _sums(x: Tensor, y: Tensor, signs: Tensor, counts: Sequence[int]) -> tuple[Tensor, Tensor]:
    """Sums of k(x, x') + k(y, y') - k(x, y') - k(y, x') over the pairs of patches of two images.

    Returns:
        The sums for each pair of images (above the diagonal of a matrix), and the total sums for each way of halving
        `y`: `signs` (p, r) is 1 for patches that stand for x, -1 for the others, 0 for those left out.
    """
    images = len(counts)
    image_of = torch.arange(images).repeat_interleave(torch.tensor(counts))
    ends = torch.tensor(counts).cumsum(0).tolist()
    distances, halves = torch.zeros(images, images, dtype=torch.double), torch.zeros(signs.shape[1], dtype=torch.double)
    for image, end in enumerate(ends[:-1]):
        own, others = slice(end - counts[image], end), slice(end, None)
        among_truth = kernel(y[own], y[others])
        found = (kernel(x[own], x[others]) + among_truth
                 - kernel(x[own], y[others]) - kernel(y[own], x[others]))
        distances[image].index_add_(0, image_of[others], found.sum(0))
        halves += (signs[own] * (among_truth @ signs[others])).sum(0)
    return distances, halves


def _random_halves(count: int, generator: torch.Generator) -> Tensor:
    """A tensor (count, HALVES): each column has as many 1 as -1, and one 0 if `count` is odd."""
    signs = torch.zeros(count, dtype=torch.double)
    signs[:count // 2], signs[count - count // 2:] = 1, -1
    return torch.stack([signs[torch.randperm(count, generator=generator)] for _ in range(HALVES)], dim=1)


def _spread(count: int, wanted: int) -> Tensor:
    """`wanted` of `count` positions, evenly."""
    return torch.linspace(0, count - 1, wanted).round().long()


def calculate_kid(*args: Any, **kwargs: Any) -> NoReturn:
    """KID under a name of BasicSR's kind, for models that gather it; see `calculate_fid`.

    Raises:
        MetricError: Always.
    """
    raise MetricError('calculate_kid: KID is a property of a set of images, not of one, and this model calls its '
                      'metrics image by image. KDGANModel, PruneGANModel and TecoGANModel gather it over the set; for '
                      'finished images or another model: `basicsr-kd evaluate --metrics kid`.')
