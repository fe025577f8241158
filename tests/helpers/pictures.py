"""Pictures of every kind, and colour profiles."""
from __future__ import annotations

import struct
from functools import cache

import numpy as np
from PIL import Image, ImageCms

KINDS = [(channels, dtype) for channels in (1, 2, 3, 4) for dtype in (np.uint8, np.uint16)]
"""Channels as `Picture` has them, and types."""
_P3 = {b'rXYZ': (0.51512, 0.24120, -0.00105), b'gXYZ': (0.29198, 0.69225, 0.04189),
       b'bXYZ': (0.15710, 0.06657, 0.78407)}


def noise(height: int, width: int, channels: int, dtype=np.uint8, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, np.iinfo(dtype).max + 1, (height, width, channels), dtype=dtype)


def _srgb() -> bytearray:
    return bytearray(ImageCms.ImageCmsProfile(ImageCms.createProfile('sRGB')).tobytes())


def _tags(profile: bytearray):
    for start in range(132, 132 + 12 * struct.unpack_from('>I', profile, 128)[0], 12):
        yield start, *struct.unpack_from('>4sII', profile, start)


@cache  # the time is in it
def p3_profile() -> bytes:
    """The sRGB profile with the primaries of Display P3, and another name."""
    profile = _srgb()
    for _, name, offset, _ in list(_tags(profile)):
        if name in _P3:
            struct.pack_into('>3i', profile, offset + 8, *(round(value * 65536) for value in _P3[name]))
    return bytes(profile).replace('sRGB'.encode('utf-16-be'), 'P3P3'.encode('utf-16-be'))


@cache
def grey_profile() -> bytes:
    """A profile of grey images with the tone curve of sRGB."""
    profile = _srgb()
    profile[16:20] = b'GRAY'
    for start, name, _, _ in list(_tags(profile)):
        if name == b'rTRC':
            profile[start:start + 4] = b'kTRC'
    return bytes(profile)


@cache
def cmyk_profile() -> bytes:
    """A profile by which black is all that counts: K = 0 is white and K = 1 black, whatever C, M and Y are."""
    straight = bytes(range(256))
    corners = b''.join(bytes([0 if corner % 2 else 255, 128, 128]) for corner in range(16))  # L, a, b; K goes first
    matrix = struct.pack('>9i', *(65536, 0, 0, 0, 65536, 0, 0, 0, 65536))
    table = b'mft1\0\0\0\0' + bytes([4, 3, 2, 0]) + matrix + 4 * straight + corners + 3 * straight
    tags = struct.pack('>I4sII', 1, b'A2B0', 144, len(table)) + table
    header = bytearray(_srgb()[:128])
    struct.pack_into('>I', header, 0, 128 + len(tags))
    header[12:24] = b'prtrCMYKLab '
    return bytes(header) + tags


def exif(orientation: int) -> Image.Exif:
    tags = Image.Exif()
    tags[0x0112] = orientation
    return tags
