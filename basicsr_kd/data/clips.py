"""Clips in a folder of folders or in an LMDB: their frames, the order of the frames, and their size."""
from __future__ import annotations

import os
import re
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path, PurePath

from PIL import Image

from basicsr_kd.errors import ClipError, EvaluationError
from basicsr_kd.utils.images import image_files
from basicsr_kd.utils.pictures import of_any_size
from basicsr_kd.utils.text import closest

_META_LINE = re.compile(r'(?P<key>.+?)\.\w+ \((?P<height>\d+), *(?P<width>\d+)\b.*')
Size = tuple[int, int]

PARTITIONS = {'REDS4': ('000', '011', '015', '020'), 'official': tuple(f'{clip:03d}' for clip in range(240, 270))}
"""Clips of REDS for validation, as in BasicSR, which calls the official validation clips 240 to 269."""
_LINE = re.compile(r'(?P<name>\S+)(?:\s+(?P<frames>\d+)(?:\s+\((?P<height>\d+),\s*(?P<width>\d+)(?:,\s*\d+)?\))?)?')

_DIGITS = re.compile(r'([0-9]+)')


@dataclass(frozen=True)
class Clip:
    """Frames in their order, all of one size."""

    name: str
    frames: tuple[str, ...]
    """Paths of files, or keys of an LMDB."""
    size: Size
    """Height and width."""


def find_clips(root: str | os.PathLike[str], backend: str = 'disk',
               listed: Mapping[str, Listed] | None = None) -> list[Clip]:
    """Find the clips of a data set and check their names, numbers and sizes; no pixels are read.

    Args:
        root: A folder with one folder of any name for each clip (`disk`), or BasicSR's LMDB with keys `clip/frame`
            (`lmdb`).
        backend: `disk` or `lmdb`.
        listed: The clips to take, as `read_listing` returns them; default: all. If the list has the sizes, no file is
            opened.

    Returns:
        The clips sorted by name, or in the order of the list.

    Raises:
        ClipError: No such folder, no clip, a clip of one frame, frames of different sizes, a missing number.
    """
    root = Path(root)
    if not root.is_dir():
        raise ClipError(f'{root} {"is a file" if root.exists() else "does not exist"} (from {os.getcwd()}). Expected a '
                        'folder that holds one folder for each clip, or an LMDB.')
    return _from_lmdb(root, listed) if backend == 'lmdb' else _from_folders(root, listed)


def read_clip(folder: str | os.PathLike[str], name: str | None = None, listed: Listed | None = None) -> Clip:
    """Read the clip in one folder; sizes come from the files' headers if no list has them.

    Args:
        folder: A folder of frames, images that differ in a number in their names; folders inside are not searched.
        name: The clip's name; default: the folder's name.
        listed: What a list says of the clip.

    Raises:
        ClipError: As in `find_clips`.
    """
    folder = Path(folder)
    try:
        frames = [str(path) for path in image_files(folder)]
    except EvaluationError as error:
        raise ClipError(str(error)) from None
    sizes = {} if listed and listed.size else {frame: _size_of_file(frame) for frame in frames}
    return _clip(name or folder.name, str(folder), frames, sizes, listed)


def _from_folders(root: Path, listed: Mapping[str, Listed] | None) -> list[Clip]:
    found = sorted(path.name for path in root.iterdir() if path.is_dir() and not path.name.startswith('.'))
    if not found:
        raise ClipError(f'There is no folder in {root}. Expected a folder that holds one folder for each clip; for '
                        f'one clip, the folder that it is in: {root.absolute().parent}')
    if listed is None:
        return [read_clip(root / name, name) for name in found]
    for name in listed:
        if not (root / name).is_dir():  # perhaps further down: `00001/0001`
            raise ClipError(f'There is no folder {name!r}, which the list of clips has, in {root}; '
                            f'{closest(name, found)}')
    return [read_clip(root / name, name, stated) for name, stated in listed.items()]


def _from_lmdb(root: Path, listed: Mapping[str, Listed] | None) -> list[Clip]:
    """The clips of an LMDB, with keys and sizes from `meta_info.txt`, in which BasicSR lists them."""
    meta = root / 'meta_info.txt'
    if not meta.is_file():
        raise ClipError(f'{meta} does not exist. Expected an LMDB as BasicSR writes it, with this list of its frames; '
                        'for a folder that holds one folder for each clip, io_backend type: disk.')
    clips: dict[str, dict[str, Size]] = defaultdict(dict)
    for line in filter(None, map(str.strip, meta.read_text().splitlines())):
        match = _META_LINE.fullmatch(line)
        clip = match['key'].rpartition('/')[0] if match else ''
        if not match or not clip:
            raise ClipError(f'{meta} has the line {line!r}. Expected clip/frame and size: '
                            '000/00000000.png (720,1280,3) 1')
        clips[clip][match['key']] = int(match['height']), int(match['width'])
    if not clips:
        raise ClipError(f'{meta} is empty. Expected a line a frame: 000/00000000.png (720,1280,3) 1')
    for name in listed or ():
        if name not in clips:
            raise ClipError(f'There is no clip {name!r}, which the list of clips has, in {root}; '
                            f'{closest(name, clips)}')
    return [_clip(name, f'{root}: {name}', list(clips[name]), clips[name], listed[name] if listed else None)
            for name in listed or sorted(clips)]


def _clip(name: str, where: str, frames: Sequence[str], sizes: Mapping[str, Size], listed: Listed | None) -> Clip:
    frames = in_order(frames, where)
    if listed and listed.frames not in (None, len(frames)):
        raise ClipError(f'{where} has {len(frames)} frames, and {listed.frames} by the list of clips.')
    size = (listed.size if listed else None) or sizes[frames[0]]
    for frame in frames:
        if sizes.get(frame, size) != size:
            raise ClipError(f'{frame} has {words(sizes[frame])}, expected {words(size)} as in {frames[0]}. All frames '
                            'of a clip must have one size: cut or resize them, or make several clips of it.')
    return Clip(name, tuple(frames), size)


def words(size: Size) -> str:
    """A size for messages, width first."""
    return f'{size[1]} x {size[0]} pixels'


def _size_of_file(path: str) -> Size:
    status = os.stat(path)
    return _size_in_header(path, status.st_mtime_ns, status.st_size)


@cache
def _size_in_header(path: str, changed: int, length: int) -> Size:
    """The size of an image, cached as long as the file is the same: a run's checks and its data set both ask for it."""
    try:
        with of_any_size(), Image.open(path) as image:
            return image.height, image.width
    except OSError as error:
        reason = error.strerror or 'no known format'
        raise ClipError(f'{path} cannot be read as an image: {reason}. Replace it.') from error


@dataclass(frozen=True)
class Listed:
    """What a list says of a clip."""

    frames: int | None
    size: tuple[int, int] | None
    """Height and width."""


def read_listing(path: str | os.PathLike[str]) -> dict[str, Listed]:
    """Read a list of clips, one line for each: `000 100 (720,1280,3)`, or `000 100`, or just `000`.

    If it has the sizes, the frames' headers need not be read, which takes long for many files.

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


def in_order(frames: Sequence[str], where: str) -> list[str]:
    """Sort frames by the one number that tells their names apart: `Frame 1.png, Frame 2.png, …, Frame 10.png`.

    Args:
        frames: Paths of files, or keys of an LMDB, in any order.
        where: The clip, for messages.

    Raises:
        ClipError: There are fewer than two frames, names differ in more than one number, or a number is missing or
            occurs twice.
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
