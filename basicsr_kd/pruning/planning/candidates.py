"""The ways of pruning that a plan tries, and the budget that all of them must meet."""
from __future__ import annotations

import re
from dataclasses import dataclass

from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import nn

from basicsr_kd.errors import PruningError

_UNITS = {'': 1, 'k': 1e3, 'm': 1e6, 'g': 1e9, 't': 1e12}


@dataclass(frozen=True)
class Budget:
    """The part of a network that must be left.

    Args:
        of: 'params', 'macs' or 'latency'.
        share: The share of the present cost, more than 0 and less than 1.
        said: The budget as the user wrote it.
    """
    of: str
    share: float
    said: str


def read_budget(text: str, params: int, macs: int) -> Budget:
    """Read a budget from text.

    Args:
        text: `latency=0.5`, `params=0.5` or `macs=0.5`: the share that is left; `params=8M`, `macs=300G` (for an input
            of 64x64) or `size=30MB` (of the .pth file, in float32): the amount that is left.
        params: Parameters of the network.
        macs: Multiply-accumulates of the network for an input of 64x64.

    Raises:
        PruningError: The text is none of these, or the network meets the budget already.
    """
    found = re.fullmatch(r'(latency|params|macs|size)=([0-9.]+(?:e[0-9]+)?)\s*([kmgt]?)(b?)', text.strip().lower())
    try:
        amount = float(found[2]) * _UNITS[found[3]] if found else 0.0
    except ValueError:  # such as a number with two points
        amount = 0.0
    if found is None or not amount or bool(found[4]) != (found[1] == 'size') or (found[1] == 'latency' and amount >= 1):
        raise PruningError(f'plan: budget {text!r}. Expected what is to be left: latency=0.5, params=0.5, macs=0.5 (a '
                           'share of what the network has now), params=8M, macs=300G or size=30MB.')
    of = 'params' if found[1] == 'size' else found[1]
    whole = {'params': params, 'macs': macs}.get(of, 1)
    share = amount / 4 / whole if found[1] == 'size' else amount if amount < 1 else amount / whole
    if share >= 1:
        has = f'{4 * params / 1e6:.1f} MB' if found[1] == 'size' else f'{whole:,} {of}'
        raise PruningError(f'plan: budget {text!r}, and the network has {has}: nothing has to go. Expected less.')
    return Budget(of, share, text)


@dataclass(frozen=True)
class Candidate:
    """A way of pruning.

    Args:
        layout: As for `prune`; 'blocks' reaches the budget by blocks alone.
        allocation: As for `prune`.
        importance: As for `prune`.
        depth: The share of residual blocks that stay before channels are removed.
    """
    layout: str
    allocation: str = 'global'
    importance: str = 'taylor'
    depth: float = 1.0

    @property
    def name(self) -> str:
        """A name for people, and for the file that keeps what was measured."""
        if self.layout == 'blocks':
            return 'blocks'
        words = [self.layout, *(['uniform'] if self.allocation == 'uniform' else []), self.importance]
        return f'{", ".join(words)}{"" if self.depth == 1 else f", {100 * self.depth:.0f} % of the blocks"}'


def find_candidates(net: nn.Module) -> list[Candidate]:
    """The ways that are worth a try for a network; ways that cannot reach the budget are found out later."""
    found = [Candidate('growth'), Candidate('growth', importance='obs'), Candidate('growth', depth=0.75),
             Candidate('balanced'), Candidate('width'), Candidate('growth', 'uniform'),
             Candidate('growth', 'uniform', depth=0.75), Candidate('blocks')]
    return found if isinstance(net, RRDBNet) else [one for one in found if one.allocation == 'global']
