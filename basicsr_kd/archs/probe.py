"""The inputs that a network takes: images or clips, how many channels, which sizes."""
from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Any

import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import Tensor, nn

from basicsr_kd.archs.frnet_arch import FRNet
from basicsr_kd.archs.upsample import BicubicUpsample
from basicsr_kd.errors import PruningError

MULTIPLES = (1, 2, 4, 8, 16, 32, 64)
"""Networks want sides that are multiples of these: pixel-unshuffle, skips of a U-Net, windows of attention."""
_TRIAL, _LARGER = 17, 65  # least sides of the trial images; odd


def is_recurrent(net: nn.Module) -> bool:
    """Whether a network takes clips (n, t, c, h, w) and goes from frame to frame: FRNet, pruned or not."""
    return getattr(net, 'frames_in_sequence', False)


def makes_low_resolution(net: Any) -> bool:
    """Whether a recurrent network is of degradation BD, for which low resolution can be made from ground truth."""
    return isinstance(net.upsample_func, BicubicUpsample)


def input_channels(net: nn.Module) -> int:
    """The number of channels of a network's input, according to its first convolution."""
    if isinstance(net, RRDBNet):  # scale 2 and 1 start with a pixel-unshuffle
        return net.conv_first.in_channels // {1: 16, 2: 4}.get(net.scale, 1)
    if isinstance(net, FRNet):  # its first convolution is FNet's, which takes two frames
        return net.in_nc
    convs = (module for module in net.modules() if isinstance(module, (nn.Conv2d, nn.ConvTranspose2d)))
    first = next(convs, None)
    if first is None:
        raise PruningError(f'{type(net).__name__} has no convolution. Expected a network of images.')
    return first.in_channels


def probe_image(num_in_ch: int, device: torch.device, size: int = 16) -> Tensor:
    """A grey image (1, num_in_ch, size, size) in [0, 1] to find the shapes of features with."""
    return torch.full((1, num_in_ch, size, size), 0.5, device=device)


@torch.no_grad()
def enlargement(net: nn.Module, channels: int = 3, out_channels: int | None = None) -> tuple[int, int]:
    """How many times larger a network's output is, and the number that the sides of its input must be a multiple of.

    Args:
        net: A network of images; it may be on the meta device.
        channels: Channels of its input.
        out_channels: Channels of its output; None: any.

    Raises:
        ValueError: As in `tried_enlargement`.
    """
    device = next(net.parameters()).device

    def shape(side: int) -> Sequence[int]:
        with torch.random.fork_rng(devices=[]):
            return net(probe_image(channels, device, side)).shape

    return tried_enlargement(shape, channels, out_channels)


def tried_enlargement(shape: Callable[[int], Sequence[int]], channels: int = 3,
                      out_channels: int | None = None) -> tuple[int, int]:
    """`enlargement` for anything that runs a network.

    Args:
        shape: From the side of a square image to the shape of the output.
        channels: Channels of the input.
        out_channels: Channels of the output; None: any.

    Raises:
        ValueError: No trial image becomes larger by a whole number; the text says what happened to the first trial
            image.
    """
    errors = []
    for multiple, side in _trials():
        try:
            made = tuple(shape(side))
        except Exception as error:  # whatever the network's own code raises
            errors.append(f'{type(error).__name__}: {error}')
            continue
        scale = made[-1] // side
        if scale and made == (1, out_channels or made[1], scale * side, scale * side):
            return scale, multiple
        errors.append(f'it makes {made} of {(1, channels, side, side)}')
    raise ValueError(errors[0])


def _trials() -> Iterator[tuple[int, int]]:
    """Multiples and sides of trial images: an odd number of times the multiple, one small side and one of at least 64.

    The second one is for networks that take any size except small ones.
    """
    for multiple in MULTIPLES:
        for least in dict.fromkeys((_TRIAL, max(_LARGER, multiple))):
            yield multiple, multiple * (-(-least // multiple) // 2 * 2 + 1)
