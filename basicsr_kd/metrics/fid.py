"""FID: the Fréchet distance of two sets of images in Inception's features (Heusel et al., NeurIPS 2017)."""
from __future__ import annotations

import functools
import warnings as python_warnings
from collections.abc import Iterable
from pathlib import Path
from typing import Any, NoReturn
from unittest import mock

import torch
from torch import Tensor, nn

from basicsr_kd.errors import MetricError
from basicsr_kd.metrics.backbones import backbone_state

FEATURES = 2048


@functools.cache
def inception_network(weights: str | Path | None = None, device: str | torch.device = 'cpu') -> nn.Module:
    """Build BasicSR's Inception-v3 of pytorch-fid (pool features), once for each set of arguments.

    The state of PyTorch's random numbers stays as it was.

    Args:
        weights: File of its weights, as pytorch-fid publishes them.

    Returns:
        A network that takes images (n, 3, h, w), RGB in [0, 1], resizes them to 299x299 and gives [(n, 2048, 1, 1)].

    Raises:
        BackboneError: The weights cannot be had.
    """
    state = backbone_state('inception', weights)
    from basicsr.archs import inception  # here, since it needs parts of PyTorch and torchvision that may be removed
    with torch.random.fork_rng(devices=[]), python_warnings.catch_warnings(), \
            mock.patch.multiple(inception, LOCAL_FID_WEIGHTS='', load_url=lambda url, progress: state):
        # The constructor would load a file of its own choice, or download one: give it the weights that were checked.
        python_warnings.simplefilter('ignore')  # it uses arguments that torchvision calls deprecated
        network = inception.InceptionV3([3])
    return network.eval().to(device)


@torch.inference_mode()
def features(network: nn.Module, images: Iterable[Tensor]) -> Tensor:
    """Run Inception over batches of images.

    Args:
        network: From `inception_network`.
        images: Batches (n, 3, h, w), RGB in [0, 1]; sizes may differ from batch to batch.

    Returns:
        (n of all batches, 2048) float32 on the CPU.
    """
    device = next(network.parameters()).device
    return torch.cat([torch.empty(0, FEATURES), *(network(batch.to(device))[0].flatten(1).cpu() for batch in images)])


def frechet_distance(a: Tensor, b: Tensor) -> float:
    """The Fréchet distance between normal distributions fitted to two samples.

    |mean a - mean b|² + tr(A) + tr(B) - 2 tr((A B)^½), with covariances A and B (divided by n - 1). With centred
    samples X and Y, A = X'X / (n - 1), the last trace is the sum of singular values of X Y' / √((n - 1)(m - 1)): exact
    for any number of samples, while the root of the matrix A B is unreliable once it lacks rank.

    Args:
        a: A sample (n, d), n at least 2.
        b: Another one (m, d).

    Raises:
        MetricError: A sample has fewer than two members.
    """
    if min(len(a), len(b)) < 2:
        raise MetricError(f'FID between {len(a)} and {len(b)} images. Expected at least 2: one has no covariance.')
    means, roots = [], []
    for sample in (a.double(), b.double()):
        means.append(sample.mean(0))
        # The R of X = QR has at most d rows, and R'R = X'X.
        roots.append(torch.linalg.qr(sample - means[-1], mode='r').R / (len(sample) - 1) ** 0.5)
    cross = torch.linalg.matrix_norm(roots[0] @ roots[1].T, ord='nuc')
    distance = (means[0] - means[1]).square().sum() + sum(root.square().sum() for root in roots) - 2 * cross
    return max(distance.item(), 0.0)  # rounding may take it below 0


def calculate_fid(*args: Any, **kwargs: Any) -> NoReturn:
    """FID under a name of BasicSR's kind, for models that gather it; BasicSR itself would call it for a single image.

    Raises:
        MetricError: Always.
    """
    raise MetricError('calculate_fid: FID is a property of a set of images, not of one, and this model calls its '
                      'metrics image by image. KDGANModel, PruneGANModel and TecoGANModel gather it over the set; for '
                      'finished images or another model: `basicsr-kd evaluate --metrics fid`.')
