"""The sizes of many images, read from their headers and remembered."""
from __future__ import annotations

import json
import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from PIL import Image

from basicsr_kd.utils.files import cache_folder, write_whole
from basicsr_kd.utils.pictures import of_any_size
from basicsr_kd.utils.progress import progressing

Size = tuple[int, int]
_ORIENTATION = 0x0112
"""EXIF's tag of the orientation; values from 5 on mean a turn by 90 degrees, which OpenCV applies."""
_TURNED = 5
_MANY = 500
"""From this number of images on, sizes are remembered and progress is shown."""


def header_sizes(paths: Sequence[str]) -> dict[str, Size | None]:
    """Width and height of images as OpenCV decodes them; None for a file whose header cannot be read.

    For many images they are kept in the user's cache folder, together with each file's path, size and time.
    """
    paths = list(dict.fromkeys(paths))
    memory = _remembered() if len(paths) >= _MANY else {}
    stamps = {path: _stamp(path) for path in paths}
    known = {path: tuple(memory[path][1]) for path in paths if path in memory and memory[path][0] == stamps[path]}
    missing = [path for path in paths if path not in known]
    with of_any_size(), ThreadPoolExecutor() as pool:
        found = dict(zip(missing, progressing(pool.map(_size, missing), 'sizes of images', len(missing),
                                              len(missing) >= _MANY), strict=True))
    if len(missing) >= _MANY:
        memory.update({path: [stamps[path], size] for path, size in found.items() if size})
        try:
            write_whole(_file(), json.dumps(memory))
        except OSError:  # the cache folder is read-only: the headers are read again next time
            pass
    return {path: known.get(path) or found[path] for path in paths}


def _size(path: str) -> Size | None:
    try:
        with Image.open(path) as image:
            # without EXIF in the header, getexif() would decode the whole image
            turned = 'exif' in image.info and image.getexif().get(_ORIENTATION, 1) >= _TURNED
            return (image.height, image.width) if turned else (image.width, image.height)
    except Exception:  # PIL's readers raise errors of many kinds on damaged files
        return None


def _stamp(path: str) -> list[int]:
    try:
        found = os.stat(path)
    except OSError:
        return []
    return [found.st_size, found.st_mtime_ns]


def _file() -> os.PathLike[str]:
    return cache_folder() / 'image_sizes.json'


def _remembered() -> dict[str, list]:
    try:
        with open(_file(), encoding='utf-8') as file:
            found = json.load(file)
        return found if isinstance(found, dict) else {}
    except (OSError, ValueError):
        return {}
