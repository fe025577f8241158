"""Writes PNGs of every kind, compressing rows on the way.

None of our libraries writes 16 bits with two channels or with a colour profile, or a large image without a second copy
of it in memory; and OpenCV does not tell a full disk from other faults.
"""
from __future__ import annotations

import struct
import zlib
from pathlib import Path

import numpy as np

_SIGNATURE = b'\x89PNG\r\n\x1a\n'
_COLOUR_TYPES = {1: 0, 2: 4, 3: 2, 4: 6}  # by the number of channels
_SUB = 1  # each value is written as its difference from the pixel on the left
_ROWS = 64  # rows that are filtered at a time


def write_png(path: Path, pixels: np.ndarray, profile: bytes | None) -> None:
    """Write an image.

    Args:
        path: The file.
        pixels: (h, w, c) uint8 or uint16, as `Picture` has them.
        profile: The ICC profile.

    Raises:
        OSError: The file cannot be written.
    """
    height, width, channels = pixels.shape
    step = channels * pixels.itemsize
    compressor = zlib.compressobj(1, strategy=zlib.Z_RLE)  # as in OpenCV: photos get no smaller with slower settings
    with path.open('wb') as file:
        header = struct.pack('>IIBBBBB', width, height, 8 * pixels.itemsize, _COLOUR_TYPES[channels], 0, 0, 0)
        file.write(_SIGNATURE + _chunk(b'IHDR', header))
        if profile:
            file.write(_chunk(b'iCCP', b'ICC\0\0' + zlib.compress(profile)))
        for start in range(0, height, _ROWS):
            rows = pixels[start:start + _ROWS].astype(pixels.dtype.newbyteorder('>')).view(np.uint8)
            rows = rows.reshape(len(rows), width * step)
            filtered = np.empty((len(rows), 1 + width * step), np.uint8)
            filtered[:, 0] = _SUB
            filtered[:, 1:1 + step] = rows[:, :step]
            np.subtract(rows[:, step:], rows[:, :-step], out=filtered[:, 1 + step:])
            file.write(_chunk(b'IDAT', compressor.compress(filtered.data)))
        file.write(_chunk(b'IDAT', compressor.flush()) + _chunk(b'IEND', b''))


def _chunk(kind: bytes, content: bytes) -> bytes:
    return struct.pack('>I', len(content)) + kind + content + struct.pack('>I', zlib.crc32(kind + content))
