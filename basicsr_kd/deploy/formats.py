"""The file formats that results are written in, and what each can hold."""
from __future__ import annotations

import io
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import tifffile
from PIL import Image

from basicsr_kd.deploy.png import write_png
from basicsr_kd.utils.pictures import Picture

QUALITY = 95
"""The quality of JPEG and WebP files."""


class Format(NamedTuple):
    """A kind of file.

    Args:
        name: The name for people.
        side: The largest side that an image may have.
        bits: The largest number of bits that a channel may have.
        alpha: Whether pixels may be transparent.
        grey: Whether there are grey images; if not, grey is written as three equal channels, without a grey profile.
        copies: How many times the result is in memory while it is written, itself included.
        write: Writes pixels and a profile.
    """
    name: str
    side: int
    bits: int
    alpha: bool
    grey: bool
    copies: float
    write: Callable[[Path, np.ndarray, bytes | None], None]


def _as_jpeg(path: Path, pixels: np.ndarray, profile: bytes | None) -> None:
    # without `subsampling`, only every second pixel keeps its colour
    _with_pillow(path, pixels[:, :, 0] if pixels.shape[2] == 1 else pixels, 'JPEG', subsampling='4:4:4',
                 icc_profile=profile)


def _as_webp(path: Path, pixels: np.ndarray, profile: bytes | None) -> None:
    """Write a WebP; grey is written lossless, so that it gets no colour cast."""
    if pixels.shape[2] < 3:
        pixels = np.concatenate([np.repeat(pixels[:, :, :1], 3, axis=2), pixels[:, :, 1:]], axis=2)
    _with_pillow(path, pixels, 'WEBP', lossless=Picture(pixels).is_grey, icc_profile=profile)


def _with_pillow(path: Path, pixels: np.ndarray, kind: str, **options: Any) -> None:
    encoded = io.BytesIO()  # Pillow itself does not notice when the disk has no room for a file's end
    Image.fromarray(pixels).save(encoded, kind, quality=QUALITY, **options)
    path.write_bytes(encoded.getbuffer())


def _as_tiff(path: Path, pixels: np.ndarray, profile: bytes | None) -> None:
    channels = pixels.shape[2]
    # without `imagecodecs`, tifffile compresses by zlib only
    tifffile.imwrite(path, pixels[:, :, 0] if channels == 1 else pixels, rowsperstrip=64, compression='zlib',
                     compressionargs={'level': 1}, predictor=True, iccprofile=profile, metadata=None,
                     photometric='rgb' if channels > 2 else 'minisblack', planarconfig=None if channels == 1 else
                     'contig', extrasamples=None if channels % 2 else ['unassalpha'])


_JPEG = Format('JPEG', 65_500, 8, alpha=False, grey=True, copies=3.4, write=_as_jpeg)
_TIFF = Format('TIFF', 2**31 - 1, 16, alpha=True, grey=True, copies=1, write=_as_tiff)
FORMATS: Mapping[str, Format] = {
    '.png': Format('PNG', 1_000_000, 16, alpha=True, grey=True, copies=1, write=write_png),
    '.jpg': _JPEG, '.jpeg': _JPEG, '.tif': _TIFF, '.tiff': _TIFF,
    '.webp': Format('WebP', 16_383, 8, alpha=True, grey=False, copies=3.4, write=_as_webp),
}
"""Formats by file ending."""


def lack(form: Format, picture: Picture, scale: int) -> str:
    """Why a result cannot be written in a format; '' if it can.

    Args:
        form: The format of the file.
        picture: The picture to be enlarged.
        scale: How many times it is enlarged.
    """
    height, width, channels = picture.pixels.shape
    if max(height, width) * scale > form.side:
        return (f'would be {width * scale}x{height * scale} pixels, and a side of a {form.name} has at most '
                f'{form.side}. Write it as .png or .tif')
    if picture.pixels.itemsize * 8 > form.bits:
        return f'has 16 bits a channel, and a {form.name} has 8. Write it as .png or .tif'
    if not form.alpha and picture.is_see_through:
        return (f'has pixels that are not opaque, and a {form.name} has no alpha. Give --background, or write it as '
                '.png')
    if not form.grey and channels < 3 and picture.profile:
        return f'is grey with a colour profile, which a {form.name} cannot hold. Write it as .png'
    return ''


def write_picture(path: Path, picture: Picture) -> None:
    """Write a picture in the format of the name's ending, which must be able to hold it; folders are made.

    Raises:
        OSError: The file cannot be written.
    """
    form = FORMATS[path.suffix.lower()]
    pixels = picture.pixels if form.alpha else np.ascontiguousarray(picture.colours)
    path.parent.mkdir(parents=True, exist_ok=True)
    form.write(path, pixels, picture.profile)
