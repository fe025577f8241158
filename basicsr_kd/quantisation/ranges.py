"""Evens out ranges: channels that share a step get one range first, which costs nothing and changes no output.

A convolution in 8 bits has one step for all channels that it reads. If one channel reaches 3 times as far as another
(like the growth of an RRDBNet's dense blocks beside their stream), the other has only 85 of 256 values left. So each
channel gets a factor, and the convolutions that read it get the inverse in their weights. The factor itself goes into
the weights that make the channel if only an activation lies between, since LeakyReLU, ReLU and PReLU are positively
homogeneous (Nagel et al., ICCV 2019, equalise pairs of layers in this way); else it is part of the rounding.
"""
from __future__ import annotations

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from basicsr_kd.quantisation.placing import Group, Source

_SHARES = [place / 20 for place in range(13)]
"""Shares of a range that may lie below 0."""
_SILENT = 1e-6
"""Share of a group's widest range below which a channel counts as never reached."""


def even_out(net: nn.Module, groups: list[Group]) -> int:
    """Bring channels to one range and set the steps; weights change in place, the network's function does not.

    Args:
        net: The network with the convolutions; its quantisers have recorded ranges on calibration images.
        groups: The groups of its quantisers.

    Returns:
        The number of channels that are 0 on all images. They get the range of their group.
    """
    return sum(_even_out(net, group) for group in groups)


def _even_out(net: nn.Module, group: Group) -> int:
    if [source.image for source in group.sources] == [True] and group.sources[0].quantiser.reaches[1].max() <= 1:
        group.sources[0].quantiser.set(0.0, 1.0)  # 8-bit pixels stay as they are
        return 0
    lows, highs = (torch.cat(parts) for parts in zip(*(source.quantiser.reaches for source in group.sources),
                                                     strict=True))
    widest = torch.maximum(-lows, highs)
    silent = widest <= _SILENT * widest.max()
    lows, highs = (torch.where(silent, widest.max() * sign, bound) for sign, bound in ((-1, lows), (1, highs)))
    share, reach = _common_range(lows, highs, _weights_by_channel(net, group))
    channels = [len(source.quantiser.reaches[0]) for source in group.sources]
    for source, units in zip(group.sources, reach.split(channels), strict=True):
        _scale(source, 1 / units)
        source.quantiser.set(-share, 1.0)
    by_source = dict(zip(map(id, group.sources), reach.split(channels), strict=True))
    for path, sources in group.readers.items():
        units = torch.cat([by_source[id(source)] for source in sources])
        net.get_submodule(path).weight.data.mul_(units[:, None, None])  # type: ignore[operator]
    return int(silent.sum())


def _common_range(lows: Tensor, highs: Tensor, weights: Tensor) -> tuple[float, Tensor]:
    """The share of a range of length 1 that lies below 0, and the divisors `(c)` that fit each channel into it.

    It is the share with which rounding errors matter least after the weights of the convolutions that read them.
    """
    found: list[tuple[float, float, Tensor]] = []
    for share in _SHARES:
        if share == 0 and lows.min() < 0:
            continue
        units = highs / (1 - share) if share == 0 else torch.maximum(highs / (1 - share), -lows / share)
        found.append(((units.square() * weights).sum().item(), share, units))
    _, share, units = min(found, key=lambda one: one[0])
    return share, units.clamp(min=1e-12)


def _weights_by_channel(net: nn.Module, group: Group) -> Tensor:
    """Sum of squared weights `(c)` over all convolutions that read a channel."""
    sums = {id(source): torch.zeros(len(source.quantiser.reaches[0])) for source in group.sources}
    for path, sources in group.readers.items():
        weight = net.get_parameter(f'{path}.weight').data
        for source, part in _parts(weight.square().sum((0, 2, 3)), sources):
            sums[id(source)] += part
    return torch.cat([sums[id(source)] for source in group.sources])


def _parts(values: Tensor, sources: list[Source]) -> Iterator[tuple[Source, Tensor]]:
    """Split values of input channels by the sources that they belong to."""
    yield from zip(sources, values.split([len(source.quantiser.reaches[0]) for source in sources]), strict=True)


def _scale(source: Source, factor: Tensor) -> None:
    """Multiply each channel of a source by its factor."""
    if source.maker is None:
        source.quantiser.factor = factor[None, :, None, None]
        return
    source.maker.weight.data.mul_(factor[:, None, None, None])
    if source.maker.bias is not None:
        source.maker.bias.data.mul_(factor)
