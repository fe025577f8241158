"""The order of a clip's frames: by the number in their names, without gaps."""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePath

from basicsr_kd.data.errors import ClipError

_DIGITS = re.compile(r'([0-9]+)')


def in_order(frames: Sequence[str], where: str) -> list[str]:
    """Sort frames by the one number that tells their names apart: `Frame 1.png, Frame 2.png, …, Frame 10.png`.

    Args:
        frames: Paths of files, or keys of an LMDB, in any order.
        where: The clip, for messages.

    Raises:
        ClipError: Fewer than two frames, names that differ in more than one number, a number that is missing or that
            two names have.
    """
    if len(frames) < 2:
        raise ClipError(f'{where} has {len(frames)} frame(s){"".join(f": {name}" for name in frames)}. Expected at '
                        'least two: the network goes from frame to frame.')
    frames = sorted(frames)
    parts = [_DIGITS.split(PurePath(frame).stem) for frame in frames]  # texts at 0, 2, …, numbers at 1, 3, …
    texts = [tuple(part[::2]) for part in parts]
    usual = Counter(texts).most_common(1)[0][0]
    for frame, text in zip(frames, texts, strict=True):
        if text != usual:
            raise _unlike(where, frame, frames[texts.index(usual)])
    columns = [[int(part[column]) for part in parts] for column in range(1, len(parts[0]), 2)]
    varying = [column for column in columns if len(set(column)) > 1]
    if len(varying) != 1:
        raise _unlike(where, frames[0], frames[-1])
    numbered = sorted(zip(varying[0], frames, strict=True))
    _check_gaps(numbered, where)
    return [frame for _, frame in numbered]


def _unlike(where: str, one: str, other: str) -> ClipError:
    return ClipError(f'{where} has frames {PurePath(one).name} and {PurePath(other).name}. Expected names that differ '
                     'in one number only, which gives their order: rename the frames, or move what is no frame away.')


def _check_gaps(numbered: Sequence[tuple[int, str]], where: str) -> None:
    for (number, frame), (following, next_frame) in zip(numbered, numbered[1:], strict=False):
        names = PurePath(frame).name, PurePath(next_frame).name
        if following == number:
            raise ClipError(f'{where} has two frames of number {number}: {names[0]} and {names[1]}. Remove one.')
        if following > number + 1:
            missing = str(number + 1) if following == number + 2 else f'{number + 1} to {following - 1}'
            raise ClipError(f'{where}: number {missing} is missing, {names[1]} follows {names[0]}. Add what is '
                            'missing, number the frames without gaps, or make two clips of it.')
