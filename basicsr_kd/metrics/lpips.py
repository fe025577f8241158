"""LPIPS: the distance of two images in the features of a classifier (Zhang et al., CVPR 2018)."""
from __future__ import annotations

import functools
import warnings as python_warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from basicsr_kd.errors import MetricError
from basicsr_kd.metrics.backbones import backbone_state
from basicsr_kd.utils.arrays import as_pair, as_tensor
from basicsr_kd.utils.metric_names import METRICS

BACKBONES = {'alex': 'alexnet', 'vgg': 'vgg16', 'squeeze': 'squeezenet1_1'}


@functools.cache
def lpips_network(net: str = 'alex', weights: str | Path | None = None,
                  device: str | torch.device = 'cpu') -> nn.Module:
    """Build LPIPS version 0.1, once for each set of arguments.

    The linear layers come with the package `lpips`, the backbone from `backbone_state`: the package itself would try
    to download it even without an internet connection, and check nothing. PyTorch's random state stays as it was.

    Args:
        net: 'alex' (what papers mean by LPIPS), 'vgg' or 'squeeze'.
        weights: File of the backbone's weights, as torchvision publishes them.

    Returns:
        A network that takes two images (n, 3, h, w), RGB in [-1, 1], and gives distances (n, 1, 1, 1).

    Raises:
        MetricError: There is no such `net`.
        BackboneError: The backbone's weights cannot be had.
    """
    if net not in BACKBONES:
        raise MetricError(f'LPIPS: net is {net!r}. Expected one of {", ".join(BACKBONES)}.')
    state = backbone_state(BACKBONES[net], weights)
    import lpips
    with torch.random.fork_rng(devices=[]), python_warnings.catch_warnings():
        python_warnings.simplefilter('ignore')  # the package uses arguments that torchvision calls deprecated
        network = lpips.LPIPS(net=net, pnet_rand=True, verbose=False)
    # The package cuts `features` into slices but keeps the layers' numbers: slice2.3.weight is features.3.weight.
    network.net.load_state_dict({key: state[f'features.{key.partition(".")[2]}'] for key in network.net.state_dict()})
    return network.eval().requires_grad_(False).to(device)


@torch.inference_mode()
def lpips_distance(network: nn.Module, result: np.ndarray, truth: np.ndarray, border: int = 0) -> float:
    """LPIPS of two images on RGB, without `border` pixels on each side; 0 for equal ones, lower is better.

    Args:
        network: From `lpips_network`.
        result: uint8, (h, w, 3) BGR or (h, w) grey.
        truth: The ground truth, of the same size.

    Raises:
        MetricError: They are no pair of images, or are too small.
    """
    device = next(network.parameters()).device
    pair = as_pair(result, truth, border, METRICS['lpips'].smallest)
    images = [as_tensor(image).to(device) * 2 - 1 for image in pair]
    return network(*images).item()


def calculate_lpips(img: np.ndarray, img2: np.ndarray, crop_border: int, input_order: str = 'HWC', net: str = 'alex',
                    weights: str | Path | None = None, device: str | torch.device | None = None,
                    **kwargs: Any) -> float:
    """LPIPS as a metric of BasicSR (`val: metrics: … type: calculate_lpips`), always on RGB; lower is better.

    Args:
        img: The result, (h, w, 3) BGR or (h, w) grey, uint8; with `input_order` 'CHW' channels come first.
        img2: The ground truth.
        crop_border: Pixels left out on each side.
        net: 'alex', 'vgg' or 'squeeze'.
        weights: File of the backbone's weights; default: from PyTorch's cache, else downloaded.
        device: Where the network runs; default: the GPU, if there is one.

    Raises:
        MetricError: The images are no pair or are too small, or there is no such `net`.
        BackboneError: The backbone's weights cannot be had.
    """
    device = device or ('cuda' if torch.cuda.is_available() else 'cpu')
    result, truth = as_pair(img, img2, crop_border, METRICS['lpips'].smallest, input_order)
    return lpips_distance(lpips_network(net, weights, device), result, truth)
