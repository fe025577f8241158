"""The channels that each layout may remove."""
from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import nn

from basicsr_kd.errors import PruningError
from basicsr_kd.pruning.channels.groups import ChannelGroup
from basicsr_kd.pruning.cost import TensorCost, within

_GROWTH = re.compile(r'body\.\d+\.rdb[123]\.conv[1234]')
_RRDBNET_TAIL = ('conv_up1', 'conv_up2', 'conv_hr')


@dataclass(frozen=True)
class Removable:
    """The channels that a layout may remove.

    Args:
        stream: Groups that all get one width: the residual stream.
        free: Groups that may each have their own width.
        least: The least width of `free`: 0 if a convolution may vanish (an RRDBNet's growth), else 1, which the steps
            of `round_to` turn into the first multiple.
        skipped: Why channels stay, by module path, for channels that this layout would otherwise remove.
    """
    stream: list[ChannelGroup]
    free: list[ChannelGroup]
    least: int
    skipped: dict[str, str]


def find_removable(net: nn.Module, groups: Sequence[ChannelGroup], costs: dict[str, TensorCost], layout: str,
              target: str | None, of: str) -> Removable:
    """Sort a network's channel groups into those that `growth`, `width` or `balanced` may shrink.

    RRDBNet and networks derived from it: `growth` takes the four growing convolutions of every dense block, `width` the
    residual stream and, so that the result is a plain RRDBNet, the convolutions behind it. Those have few parameters
    but take much of the time, so `growth` takes them, too, if the budget is time. Any other network: channels that
    several convolutions write because they are added are its residual stream, all other channels its growth. A network,
    or a target, without a residual stream (SRVGGNetCompact, FRNet's `fnet`) is one chain: `width` takes all its
    channels, equally.

    Raises:
        PruningError: The layout finds nothing to remove.
    """
    inside = [group for group in groups if target is None or all(within(path, target) for path in group.producers)]
    if isinstance(net, RRDBNet):
        # All of these or none, else the result is no RRDBNet; a part of the network never has all.
        stream = [group for group in inside if target is None and group.root in ('conv_first', *_RRDBNET_TAIL)]
        behind = _RRDBNET_TAIL if of == 'latency' else ()
        free = [group for group in inside if _GROWTH.fullmatch(group.root) or group.root in behind]
        skipped: dict[str, str] = {}
    else:
        reasons = {group.root: _reason(group, costs) for group in inside}
        last = groups[-1].root if groups else ''  # channels of the output itself are never pruned
        skipped = {root: reason for root, reason in reasons.items() if reason and root != last}
        open_groups = [group for group in inside if not reasons[group.root]]
        stream = [group for group in open_groups if len(group.producers) > 1]
        free = [group for group in open_groups if len(group.producers) == 1]
    chain = not stream and all(len(group.producers) == 1 for group in groups if target is None or
                               any(within(path, target) for path in group.producers))
    kind = type(net).__name__
    where = f'{kind}: {target}' if target else kind
    if layout == 'balanced' and not stream and free:
        raise PruningError(f'{where} has no residual stream of its own, so layout balanced has nothing to balance. '
                           'Expected layout growth (each channel count its own)' +
                           (' or width (all equal).' if chain else '.'))
    if layout == 'width' and chain:
        stream, free = free, []
    removable = Removable(stream=stream if layout in ('width', 'balanced') else [],
                free=free if layout in ('growth', 'balanced') else [],
                least=0 if isinstance(net, RRDBNet) else 1, skipped=skipped)
    if not removable.stream and not removable.free:
        why = '; '.join(f'{path}: {reason}' for path, reason in list(skipped.items())[:4])
        raise PruningError(f'{where} has no channels that layout {layout} could take' + (f' ({why})' if why else '') +
                           '. Expected another layout' + (' or target.' if target else '.'))
    return removable


def _reason(group: ChannelGroup, costs: dict[str, TensorCost]) -> str:
    """Why a group's channels must stay; empty if they need not."""
    if group.blocked:
        return group.blocked
    pooled = [path for path in group.producers if (cost := costs.get(f'{path}.weight')) and cost.uses == 1]
    if len(pooled) == len(group.producers):
        return 'an attention: it works on the pooled image'
    return ''
