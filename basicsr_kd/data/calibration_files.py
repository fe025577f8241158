"""The files of calibration images and clips: which of them, their content, their pixels."""
from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, TypeVar

import cv2
import lmdb
import numpy as np

from basicsr_kd.errors import PruningError

_T = TypeVar('_T')


def check_numbers(**numbers: tuple[Any, int]) -> None:
    """Options are whole numbers.

    Args:
        numbers: What was given for an option, and the least it may be.

    Raises:
        PruningError: One is not.
    """
    for option, (value, least) in numbers.items():
        if isinstance(value, bool) or not isinstance(value, int) or value < least:
            raise PruningError(f'calibration: {option} is {value!r}. Expected a whole number of at least {least}.')


def check_channels(channels: int) -> None:
    """Raises:
        PruningError: Images cannot have as many.
    """
    if channels not in (1, 3):
        raise PruningError(f'calibration: images have 3 channels or 1, and the network takes {channels}.')


def spread(items: Sequence[_T], num: int) -> list[_T]:
    """`num` items, evenly spread; all of them where there are fewer."""
    num = min(num, len(items))
    return [items[index * len(items) // num] for index in range(num)]


def read_lmdb(root: Path, keys: Iterable[str]) -> Iterator[tuple[str, bytes]]:
    """What an LMDB has under some keys: where it is, in words, and its content.

    Not through BasicSR's FileClient, which never closes: no process may open an LMDB twice, as training will.

    Raises:
        PruningError: It cannot be read.
    """
    try:
        with lmdb.open(str(root), readonly=True, lock=False, readahead=False) as database, database.begin() as reader:
            for key in keys:
                yield f'{root}: {key}', reader.get(key.encode()) or b''
    except lmdb.Error as error:
        raise PruningError(f'calibration: {root} cannot be read as an LMDB: {error}') from error


def decode(content: bytes, where: str, channels: int) -> np.ndarray:
    """The pixels of an image file; 16 bits keep their precision, which BasicSR's imfrombytes would drop.

    Args:
        content: The file.
        where: It, in messages.
        channels: 3, or 1 for the luma of coloured images.

    Returns:
        (h, w, channels) BGR, float32 in [0, 1].

    Raises:
        PruningError: It cannot be read, or holds other values than 8 or 16 bits.
    """
    image = cv2.imdecode(np.frombuffer(content, np.uint8), cv2.IMREAD_UNCHANGED) if content else None
    if image is None:
        raise PruningError(f'calibration: {where} is not an image that can be read. Remove it or put it right.')
    if image.dtype not in (np.uint8, np.uint16):
        raise PruningError(f'calibration: {where} holds {image.dtype} values. Expected 8 or 16 bits a channel.')
    image = image.astype(np.float32) / (255 if image.dtype == np.uint8 else 65535)
    image = image.reshape(*image.shape[:2], -1)
    image = image[:, :, :3] if image.shape[2] >= 3 else np.repeat(image[:, :, :1], 3, axis=2)
    return cv2.cvtColor(image, cv2.COLOR_BGR2GRAY)[:, :, None] if channels == 1 else image


def centre(image: np.ndarray, size: int) -> np.ndarray:
    """The square of side `size` in the middle of an image (h, w, c)."""
    top, left = ((side - size) // 2 for side in image.shape[:2])
    return np.ascontiguousarray(image[top:top + size, left:left + size])
