"""Checks of an RRDBNet's options, before torch meets them with an error about tensors."""
from __future__ import annotations

from collections.abc import Sequence


def check_rrdbnet(name: str, scale: int, **widths: int) -> None:
    """See that the scale is one that RRDBNet has and that every width is a positive whole number.

    Args:
        name: the network's class, for the message.
        scale: the scale.
        widths: option name to value.

    Raises:
        ValueError: naming the option, what it is and what it may be.
    """
    if scale not in (1, 2, 4):
        raise ValueError(f'{name}: scale is {scale!r}. Expected 4, 2 or 1 (an RRDBNet has no other).')
    for option, value in widths.items():
        if not _is_whole(value) or value < 1:
            raise ValueError(f'{name}: {option} is {value!r}. Expected a whole number of at least 1.')


def growth_widths(num_grow_ch: int | Sequence[int], num_block: int) -> list[int]:
    """One growth width for each of the 4 * 3 * num_block growing convolutions, in the order of the network.

    Args:
        num_grow_ch: one width for all, or the flat list itself (block by block, dense block by dense block).
        num_block: residual-in-residual dense blocks.

    Raises:
        ValueError: the list has another length, or a width is not a whole number of at least 0.
    """
    count = 4 * 3 * num_block
    widths = [num_grow_ch] * count if isinstance(num_grow_ch, int) else list(num_grow_ch)
    if len(widths) != count:
        raise ValueError(f'PrunedRRDBNet: num_grow_ch lists {len(widths)} widths. Expected {count}: four for each of '
                         f'the 3 dense blocks of {num_block} blocks (or one number for all).')
    for index, width in enumerate(widths):
        if not _is_whole(width) or width < 0:
            raise ValueError(f'PrunedRRDBNet: num_grow_ch[{index}] is {width!r}. Expected a whole number of at least 0 '
                             '(0 leaves that convolution out).')
    return widths


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
