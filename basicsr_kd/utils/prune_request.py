"""The request for a pruning, and its rules: one place for Python, options file and command line. No torch."""
from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any, Literal, get_args

from basicsr_kd.errors import PruneOptionError

Of = Literal['params', 'macs', 'latency']
Device = Literal['cpu', 'cuda']
Runtime = Literal['torch', 'openvino', 'onnxruntime']
Dtype = Literal['fp32', 'bf16', 'fp16']
Layout = Literal['growth', 'width', 'balanced', 'blocks', 'unstructured']
Allocation = Literal['global', 'uniform']
Importance = Literal['obs', 'taylor', 'l1', 'l2', 'lamp', 'fpgm', 'random']
Select = Literal['least', 'last']
CHOICES: dict[str, tuple[str, ...]] = {
    name: get_args(kind) for name, kind in (('of', Of), ('layout', Layout), ('allocation', Allocation),
                                            ('importance', Importance), ('select', Select), ('device', Device),
                                            ('runtime', Runtime), ('dtype', Dtype))}
PLACE = ('device', 'runtime', 'dtype', 'size')
"""The options that say where time is measured."""


@dataclass(frozen=True, kw_only=True)
class Request:
    """The options of `basicsr_kd.pruning.prune`, which describes them; here they are possible and go together.

    Raises:
        PruneOptionError: An option is impossible; the text names it, its value and what is possible.
    """
    ratio: float | None = None
    of: str = 'params'
    layout: str = 'growth'
    allocation: str = 'global'
    importance: str = 'l2'
    round_to: int = 16
    keep: int | None = None
    select: str = 'least'
    target: str | None = None
    device: str | None = None
    runtime: str | None = None
    dtype: str | None = None
    size: int | None = None
    reconstruct: bool = False
    minutes: float = 0

    def __post_init__(self) -> None:
        blocks, unstructured = self.layout == 'blocks', self.layout == 'unstructured'
        for option, choices in CHOICES.items():
            value = getattr(self, option)
            _refuse_if(value not in choices and not (value is None and option in PLACE), option, f'is {value!r}. '
                       f'Expected one of: {", ".join(choices)}.')
        _refuse_if(self.keep is not None and not blocks, 'keep', 'counts the blocks that stay, so it needs layout '
                   f'blocks; found layout {self.layout}, which takes ratio.')
        _refuse_if(self.keep is not None and self.ratio is not None, 'ratio', f'{self.ratio!r} and keep {self.keep!r} '
                   'both say how much stays. Leave one out.')
        _refuse_if(self.keep is None and self.ratio is None, 'ratio', 'is missing: the share to take away, from 0 to '
                   f'less than 1{" (or keep: how many blocks stay)" if blocks else ""}.')
        _refuse_if(self.ratio is not None and not (_is_number(self.ratio) and 0 <= self.ratio < 1), 'ratio',
                   f'is {self.ratio!r}. Expected a number from 0 to less than 1: the share to take away.')
        for option, number in (('round_to', self.round_to), ('keep', self.keep), ('size', self.size)):
            _refuse_if(number is not None and not (_is_number(number) and isinstance(number, int) and number >= 1),
                       option, f'is {number!r}. Expected a whole number of at least 1.')
        for option in PLACE if self.of != 'latency' else ():
            _refuse_if(getattr(self, option) is not None, option, f'{getattr(self, option)!r} says where time is '
                       f'measured, so it needs of latency; found of {self.of}.')
        _refuse_if(self.of == 'latency' and (self.layout != 'growth' or self.allocation != 'global' or
                                             self.target is not None), 'of', 'latency measures the blocks of the whole '
                   'network in all their widths, so it needs layout growth, allocation global and no target; found '
                   f'layout {self.layout}, allocation {self.allocation}, target {self.target}.')
        _refuse_if(self.device == 'cuda' and self.runtime not in (None, 'torch'), 'runtime', f'{self.runtime} runs on '
                   'the CPU here; on device cuda time is measured in torch.')
        _refuse_if(self.select == 'last' and not blocks, 'select', 'says which blocks go, so it needs layout blocks; '
                   f'found layout {self.layout}.')
        _refuse_if(self.reconstruct and unstructured, 'reconstruct', 'refits the layers behind pruned channels or '
                   'blocks, and layout unstructured prunes none. Leave it out, or use layout growth, width, balanced '
                   'or blocks.')
        _refuse_if(not (_is_number(self.minutes) and 0 <= self.minutes < math.inf), 'minutes', f'is {self.minutes!r}. '
                   'Expected a number of at least 0: how long pruning may take.')
        _refuse_if(bool(self.minutes) and unstructured, 'minutes', 'is for gradient steps after the refit, and layout '
                   'unstructured is not refitted. Leave it out, or use layout growth, width, balanced or blocks.')
        _refuse_if(self.importance == 'obs' and self.layout not in ('growth', 'blocks'), 'importance', 'obs prices the '
                   f'channels inside of blocks, layout growth; found layout {self.layout}. Expected taylor there.')
        _refuse_if(self.importance == 'fpgm' and unstructured, 'importance', 'fpgm ranks whole channels, and layout '
                   'unstructured takes single weights. Expected l1, l2, taylor, lamp or random.')

    @property
    def why_images(self) -> str | None:
        """Why calibration images are needed, in words; None if they are not."""
        return needs_calibration(layout=self.layout, importance=self.importance, reconstruct=self.reconstruct,
                                 select=self.select, minutes=self.minutes)

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
        parts += [f'{option} {value}' for option in PLACE if (value := getattr(self, option)) is not None]
        parts += ['reconstruct'] if self.reconstruct else []
        return ', '.join(parts + ([f'minutes {self.minutes:g}'] if self.minutes else []))


def needs_calibration(*, layout: str, importance: str | None, reconstruct: bool, select: str,
                      minutes: float = 0) -> str | None:
    """Why a pruning needs calibration images, in words; None if it does not."""
    if layout == 'blocks' and select == 'least':
        return 'layout blocks with select least'
    if layout != 'blocks' and importance in ('obs', 'taylor'):
        return f'importance {importance}'
    return 'reconstruct' if reconstruct else 'minutes' if minutes else None


def _refuse_if(wrong: bool, option: str, reason: str) -> None:
    if wrong:
        raise PruneOptionError(option, reason)


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)
