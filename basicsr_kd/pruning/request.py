"""What is asked of a pruning, checked."""
from __future__ import annotations

import difflib
from dataclasses import dataclass
from typing import Any

from torch import nn

from basicsr_kd.errors import PruningError
from basicsr_kd.pruning.channels.importance import IMPORTANCES

CHOICES: dict[str, tuple[str, ...]] = {
    'of': ('params', 'macs'),
    'layout': ('growth', 'width', 'balanced', 'blocks', 'unstructured'),
    'allocation': ('global', 'uniform'),
    'importance': IMPORTANCES,
    'select': ('least', 'last'),
}


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of :func:`basicsr_kd.pruning.prune`, where each is described."""
    ratio: float | None
    of: str
    layout: str
    allocation: str
    importance: str
    round_to: int
    keep: int | None
    select: str
    target: str | None
    reconstruct: bool

    def check(self, net: nn.Module) -> None:
        """See that every option is possible by itself and fits the others.

        Raises:
            PruningError: naming the option, what it is and what it may be.
        """
        for option, choices in CHOICES.items():
            if getattr(self, option) not in choices:
                raise PruningError(f'prune: {option} is {getattr(self, option)!r}. Expected one of: '
                                   f'{", ".join(choices)}.')
        if self.layout == 'blocks' and (self.ratio is None) == (self.keep is None):
            raise PruningError('prune: layout blocks needs either ratio (the share to take away) or keep (how many '
                               'blocks stay).')
        if self.layout != 'blocks' and self.keep is not None:
            raise PruningError(f'prune: keep is {self.keep!r}, which is for layout blocks. Expected ratio.')
        if self.keep is None and (not _is_number(self.ratio) or not 0 <= self.ratio < 1):  # type: ignore[operator]
            raise PruningError(f'prune: ratio is {self.ratio!r}. Expected a number from 0 to less than 1: the share to '
                               'take away.')
        for option, value in (('round_to', self.round_to), ('keep', self.keep)):
            if value is not None and (not _is_number(value) or not isinstance(value, int) or value < 1):
                raise PruningError(f'prune: {option} is {value!r}. Expected a whole number of at least 1.')
        if self.reconstruct and self.layout == 'unstructured':
            raise PruningError('prune: reconstruct refits the layers behind pruned channels or blocks, and layout '
                               'unstructured prunes none. Expected layout growth, width, balanced or blocks.')
        if self.importance == 'fpgm' and self.layout == 'unstructured':
            raise PruningError('prune: importance fpgm ranks whole channels, and layout unstructured takes single '
                               'weights. Expected l1, l2, taylor, lamp or random.')
        if self.target is not None:
            paths = [name for name, _ in net.named_modules() if name]
            if self.target not in paths:
                close = difflib.get_close_matches(str(self.target), paths, n=1, cutoff=0.4)
                raise PruningError(f'prune: target {self.target!r} is no module of {type(net).__name__}' +
                                   (f'; did you mean {close[0]!r}?' if close else '.'))

    def words(self) -> str:
        """The options that matter, for the log."""
        wanted = f'ratio {self.ratio} of {self.of}' if self.keep is None else f'keep {self.keep} blocks'
        parts = [wanted, f'layout {self.layout}']
        if self.layout == 'blocks':
            parts.append(f'select {self.select}')
        else:
            parts += [f'allocation {self.allocation}', f'importance {self.importance}']
        if self.layout not in ('blocks', 'unstructured'):
            parts.append(f'round_to {self.round_to}')
        parts += [f'target {self.target}'] if self.target else []
        return ', '.join(parts + (['reconstruct'] if self.reconstruct else []))


def needs_calibration(*, layout: str, importance: str | None, reconstruct: bool,
                      select: str) -> str | None:
    """Why a pruning needs calibration images, in words; None where it does not."""
    if layout == 'blocks' and select == 'least':
        return 'layout blocks with select least'
    if layout != 'blocks' and importance == 'taylor':
        return 'importance taylor'
    return 'reconstruct' if reconstruct else None


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
