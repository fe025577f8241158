"""Clips: which frames there are in a folder of folders or in an LMDB, in which order, of which size."""
from __future__ import annotations

import os
import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from PIL import Image

from basicsr_kd.data.errors import ClipError
from basicsr_kd.data.listing import Listed
from basicsr_kd.data.numbering import in_order
from basicsr_kd.evaluation.errors import EvaluationError
from basicsr_kd.evaluation.images import image_files
from basicsr_kd.option_errors import closest

_META_LINE = re.compile(r'(?P<key>.+?)\.\w+ \((?P<height>\d+), *(?P<width>\d+)\b.*')
Size = tuple[int, int]


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
        root: A folder with a folder a clip, of any names (`disk`), or BasicSR's LMDB with keys `clip/frame` (`lmdb`).
        backend: `disk` or `lmdb`.
        listed: The clips to take, as `read_listing` reads them; left out: all. Where it has the sizes, no file is
            opened.

    Returns:
        The clips by their names, or in the order of the list.

    Raises:
        ClipError: No such folder, no clip, a clip of one frame, frames of different sizes, a missing number.
    """
    root = Path(root)
    if not root.is_dir():
        raise ClipError(f'{root} {"is a file" if root.exists() else "does not exist"} (from {os.getcwd()}). Expected a '
                        'folder with a folder a clip, or an LMDB.')
    return _from_lmdb(root, listed) if backend == 'lmdb' else _from_folders(root, listed)


def read_clip(folder: str | os.PathLike[str], name: str | None = None, listed: Listed | None = None) -> Clip:
    """The clip in one folder; sizes are read from the files' headers where no list tells them.

    Args:
        folder: The frames, images that differ in a number of their names; folders inside it are not searched.
        name: The clip's name; left out: that of the folder.
        listed: What a list says of it.

    Raises:
        ClipError: As `find_clips`.
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
        raise ClipError(f'There is no folder in {root}. Expected a folder with a folder a clip; for one clip, the '
                        f'folder that it is in: {root.absolute().parent}')
    if listed is None:
        return [read_clip(root / name, name) for name in found]
    for name in listed:
        if not (root / name).is_dir():  # perhaps further down: `00001/0001`
            raise ClipError(f'There is no folder {name!r}, which the list of clips has, in {root}; '
                            f'{closest(name, found)}')
    return [read_clip(root / name, name, stated) for name, stated in listed.items()]


def _from_lmdb(root: Path, listed: Mapping[str, Listed] | None) -> list[Clip]:
    """Keys and sizes are those of `meta_info.txt`, in which BasicSR lists them."""
    meta = root / 'meta_info.txt'
    if not meta.is_file():
        raise ClipError(f'{meta} does not exist. Expected an LMDB as BasicSR writes it, with this list of its frames; '
                        'for a folder with a folder a clip, io_backend type: disk.')
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
    """A size in messages, width first as people write it."""
    return f'{size[1]} x {size[0]} pixels'


def _size_of_file(path: str) -> Size:
    status = os.stat(path)
    return _size_in_header(path, status.st_mtime_ns, status.st_size)


@cache
def _size_in_header(path: str, changed: int, length: int) -> Size:
    """Kept, as long as the file is the same: a run's checks open what its data set opens once more."""
    try:
        with Image.open(path) as image:
            return image.height, image.width
    except OSError as error:
        reason = error.strerror or 'no known format'
        raise ClipError(f'{path} cannot be read as an image: {reason}. Replace it.') from error
