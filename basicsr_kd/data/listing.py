"""Lists of clips: BasicSR's `meta_info_REDS_GT.txt` and others of its form, and REDS' clips for validation."""
from __future__ import annotations

import os
import re
from dataclasses import dataclass

from basicsr_kd.data.errors import ClipError

PARTITIONS = {'REDS4': ('000', '011', '015', '020'), 'official': tuple(f'{clip:03d}' for clip in range(240, 270))}
"""Clips of REDS that are for validation, as in BasicSR, which calls the official ones 240 to 269."""
_LINE = re.compile(r'(?P<name>\S+)(?:\s+(?P<frames>\d+)(?:\s+\((?P<height>\d+),\s*(?P<width>\d+)(?:,\s*\d+)?\))?)?')


@dataclass(frozen=True)
class Listed:
    """What a list says of a clip."""

    frames: int | None
    size: tuple[int, int] | None
    """Height and width."""


def read_listing(path: str | os.PathLike[str]) -> dict[str, Listed]:
    """Read a list of clips: a line a clip, `000 100 (720,1280,3)`, or `000 100`, or just `000`.

    Where it tells the size, the frames' headers need not be read, which takes long for many files.

    Raises:
        ClipError: No such file, no line, or a line of another form.
    """
    try:
        with open(path) as file:
            lines = [line.strip() for line in file]
    except OSError as error:
        raise ClipError(f'{path} cannot be read: {error.strerror}. Expected a list of clips.') from error
    clips = {}
    for number, line in enumerate(lines, start=1):
        match = _LINE.fullmatch(line)
        if line and not match:
            raise ClipError(f'{path}, line {number}: found {line!r}, expected name, frames and size of a clip: '
                            '000 100 (720,1280,3)')
        if match:
            size = (int(match['height']), int(match['width'])) if match['height'] else None
            clips[match['name']] = Listed(int(match['frames']) if match['frames'] else None, size)
    if not clips:
        raise ClipError(f'{path} lists no clips. Expected a line a clip: 000 100 (720,1280,3)')
    return clips
