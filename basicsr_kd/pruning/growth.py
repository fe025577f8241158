"""The layout ``growth``: dense blocks lose growth channels, down to 0; the residual stream stays whole.

Supported networks are BasicSR's RRDBNet and what derives from it (SlimRRDBNet, PrunedRRDBNet).
"""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import Tensor, nn

from basicsr_kd.archs.pruned_rrdbnet_arch import PrunedRRDBNet
from basicsr_kd.archs.rrdbnet_shape import rrdbnet_options
from basicsr_kd.pruning.errors import PruningError


def network_options(net: nn.Module) -> dict[str, Any]:
    """The options of PrunedRRDBNet that describe a network, ``num_grow_ch`` as a flat list.

    Raises:
        PruningError: it is no RRDBNet.
    """
    if not isinstance(net, RRDBNet) or (options := rrdbnet_options(net.state_dict())) is None:
        raise PruningError(f'{type(net).__name__} cannot be pruned with layout growth. Supported: RRDBNet, '
                           'SlimRRDBNet, PrunedRRDBNet.')
    del options['type']
    options['scale'] = net.scale  # the tensors alone leave a doubt about it
    options['num_in_ch'] = net.conv_first.in_channels // {1: 16, 2: 4}.get(net.scale, 1)
    if isinstance(options['num_grow_ch'], int):
        options['num_grow_ch'] = [options['num_grow_ch']] * (4 * 3 * options['num_block'])
    return options


def build(options: Mapping[str, Any], state: Mapping[str, Tensor] | None = None) -> PrunedRRDBNet:
    """A network with these options: on the meta device, or made of the tensors of ``state`` (not copied).

    Built on the meta device in both cases, which draws no random numbers and fills no memory.
    """
    with torch.device('meta'):
        net = PrunedRRDBNet(**options)
    if state is not None:
        net.load_state_dict(state, assign=True)
    return net


def growth_convs(num_block: int) -> list[str]:
    """Module paths of the growing convolutions, in the order of ``num_grow_ch``."""
    return [f'body.{block}.rdb{dense}.conv{conv}'
            for block in range(num_block) for dense in (1, 2, 3) for conv in (1, 2, 3, 4)]


def with_growths(options: Mapping[str, Any], growths: Sequence[int]) -> dict[str, Any]:
    """The same network with other growth widths."""
    return {**options, 'num_grow_ch': list(growths)}
