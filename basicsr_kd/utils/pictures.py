"""Images as they are: grey or colour, with or without alpha, 8 or 16 bits, with their colour profile."""
from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageCms, ImageOps

from basicsr_kd.errors import BadImageError

_STILL = ('MPO',)  # a JPEG of some cameras with a preview or a second view behind it
_GREY = ('1', 'L', 'LA', 'La', 'I', 'F')  # Pillow's modes; those of 16 bits begin with I;16
_ORIENTATION = 0x0112  # EXIF's tag
_TURNS = {3: 2, 4: 2, 5: 3, 6: 3, 7: 1, 8: 1}  # quarter turns to the left, by orientation
_MIRRORED = (2, 4, 5, 7)  # orientations that also mirror
_ROWS = 256  # rows that are processed at a time


@dataclass(frozen=True)
class Picture:
    """An upright image with everything that its file says about it."""

    pixels: np.ndarray
    """(h, w, c) uint8 or uint16. c = 1: grey; 2: grey, alpha; 3: RGB; 4: RGB, alpha (not premultiplied)."""
    profile: bytes | None = None
    """ICC profile of the colours; None: none is known, so sRGB is assumed."""

    @property
    def colours(self) -> np.ndarray:
        """The pixels without alpha: (h, w, 1) or (h, w, 3)."""
        return self.pixels[:, :, :self.pixels.shape[2] - 1 + self.pixels.shape[2] % 2]

    @property
    def alpha(self) -> np.ndarray | None:
        """The alpha channel (h, w, 1); None if there is none."""
        return None if self.pixels.shape[2] % 2 else self.pixels[:, :, -1:]

    @property
    def is_see_through(self) -> bool:
        """Whether any pixel is not opaque."""
        return self.alpha is not None and bool(self.alpha.min() < np.iinfo(self.pixels.dtype).max)

    @property
    def is_grey(self) -> bool:
        """Whether the image has no colours, even if its file has channels for them."""
        return all((rows == rows[:, :, :1]).all() for rows in _in_strips(self.colours))

    def on_background(self, colour: tuple[int, int, int]) -> Picture:
        """The picture on a background, RGB of 0 to 255, without alpha; the picture itself if it has no alpha."""
        if self.alpha is None:
            return self
        colours, profile = self.colours, self.profile
        if colours.shape[2] == 1 and len(set(colour)) > 1:
            colours, profile = np.repeat(colours, 3, axis=2), None  # the profile of a grey image fits grey only
        top = np.iinfo(colours.dtype).max
        ground = np.asarray(colour[:colours.shape[2]], np.float32) * (top // 255)
        blended = np.empty_like(colours)
        for rows, alpha, result in zip(*map(_in_strips, (colours, self.alpha, blended)), strict=True):
            result[:] = np.rint(ground + (rows - ground) * (alpha.astype(np.float32) / top))
        return Picture(blended, profile)

    def in_8_bits(self) -> Picture:
        """The picture with 8 bits; 16 bits are rounded (v / 257)."""
        if self.pixels.dtype == np.uint8:
            return self
        rounded = np.empty(self.pixels.shape, np.uint8)
        for rows, result in zip(_in_strips(self.pixels), _in_strips(rounded), strict=True):
            result[:] = (rows.astype(np.uint32) + 128) // 257
        return Picture(rounded, self.profile)


def read_picture(path: str | os.PathLike[str]) -> Picture:
    """Read an image and keep its kind.

    Palettes become colours, the values of PGM and PPM are scaled by the largest that their header names, CMYK is
    converted to sRGB. An EXIF orientation is applied.

    Raises:
        BadImageError: The file cannot be read or is cut short, holds several images, or other values than 8 or 16 bits.
    """
    try:
        content = Path(path).read_bytes()
        with of_any_size(), Image.open(io.BytesIO(content)) as image:
            frames = getattr(image, 'n_frames', 1) if image.format not in _STILL else 1
            orientation = image.getexif().get(_ORIENTATION, 1)  # before load(), which turns a TIFF
            image.load()  # unlike OpenCV 4, it refuses a file that ends too early
            grey = _is_grey(image, content)
            profile = _profile(image.info.get('icc_profile'), 'GRAY' if grey else 'RGB ')
            see_through = _see_through(image, grey) if image.has_transparency_data else None
            pixels = _by_pillow(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise BadImageError(path, f'cannot be read as an image: {_reason(error)}. Expected a whole file.') from error
    if frames > 1:
        raise BadImageError(path, f'holds {frames} images (an animation, pages). Expected a single one.')
    if see_through is not None:
        deep = _by_opencv(content, cv2.IMREAD_UNCHANGED, path)
        pixels = see_through if deep.dtype == np.uint8 else _upright(deep, orientation, grey)
    if pixels is None:
        pixels = _by_opencv(content, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH, path)
    if pixels.dtype not in (np.uint8, np.uint16):
        raise BadImageError(path, f'holds {pixels.dtype} values. Expected 8 or 16 bits a channel.')
    return Picture(np.ascontiguousarray(pixels.reshape(*pixels.shape[:2], -1)), profile)


def to_srgb(picture: Picture) -> tuple[Picture, str]:
    """Convert the colours of a picture of 8 bits by its profile.

    Returns:
        The picture without profile, and the profile's name if it is not sRGB.
    """
    if picture.profile is None:
        return picture, ''
    name = ImageCms.getProfileDescription(ImageCms.ImageCmsProfile(io.BytesIO(picture.profile))).strip()
    if name.startswith('sRGB'):
        return Picture(picture.pixels), ''
    colours = picture.colours
    image = Image.fromarray(colours if colours.shape[2] == 3 else colours[:, :, 0])
    converted = np.asarray(_converted(image, picture.profile))
    pixels = converted if picture.alpha is None else np.dstack([converted, picture.alpha])
    return Picture(np.ascontiguousarray(pixels)), name


@contextmanager
def of_any_size() -> Iterator[None]:
    """A context without Pillow's limit of 179 million pixels, which protects against uploads of strangers."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _by_pillow(image: Image.Image) -> np.ndarray | None:
    """Pixels that OpenCV reads in wrong colours (CMYK) or with a wrong scale (PGM, PPM); None for other images."""
    if image.mode == 'CMYK':
        return np.asarray(_converted(ImageOps.exif_transpose(image), _profile(image.info.get('icc_profile'), 'CMYK')))
    if image.format != 'PPM' or image.mode == '1':
        return None
    return np.asarray(image).astype(np.uint16) if image.mode == 'I' else np.asarray(image)  # I: scaled to 65535


def _is_grey(image: Image.Image, content: bytes) -> bool:
    # Pillow takes 16-bit grey with alpha for colours; a PNG tells its kind at this byte
    return image.mode in _GREY or image.mode.startswith('I;16') or (image.format == 'PNG' and content[25] == 4)


def _see_through(image: Image.Image, grey: bool) -> np.ndarray:
    return np.asarray(ImageOps.exif_transpose(image).convert('LA' if grey else 'RGBA'))


def _by_opencv(content: bytes, flags: int, path: str | os.PathLike[str]) -> np.ndarray:
    """Decode to RGB; all flags except IMREAD_UNCHANGED apply the orientation."""
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:  # 2**30 pixels and more
        raise BadImageError(path, f'cannot be read by OpenCV: {str(error).strip()}') from error
    if pixels is None:
        raise BadImageError(path, 'cannot be read by OpenCV. Save it as PNG.')
    if pixels.ndim == 3 and pixels.shape[2] in (3, 4):
        cv2.cvtColor(pixels, cv2.COLOR_BGR2RGB if pixels.shape[2] == 3 else cv2.COLOR_BGRA2RGBA, pixels)
    return pixels


def _upright(pixels: np.ndarray, orientation: int, grey: bool) -> np.ndarray:
    """Turn an image of 16 bits with alpha as its EXIF data say; OpenCV has made three channels of its grey."""
    turned = np.rot90(pixels, _TURNS.get(orientation, 0))
    turned = turned[:, ::-1] if orientation in _MIRRORED else turned
    return turned[:, :, 2:] if grey and turned.shape[2:] == (4,) else turned


def _profile(profile: bytes | None, space: str) -> bytes | None:
    """The profile if it can be read and is one of this colour space; else None."""
    try:
        found = ImageCms.ImageCmsProfile(io.BytesIO(profile)).profile.xcolor_space if profile else None
    except OSError:
        return None
    return profile if found == space else None


def _converted(image: Image.Image, profile: bytes | None) -> Image.Image:
    """Convert to sRGB; without a usable profile, as Pillow converts."""
    try:
        converted = profile and ImageCms.profileToProfile(image, ImageCms.ImageCmsProfile(io.BytesIO(profile)),
                                                          ImageCms.createProfile('sRGB'), outputMode='RGB')
    except ImageCms.PyCMSError:
        converted = None
    return converted or image.convert('RGB')


def _in_strips(pixels: np.ndarray) -> Iterator[np.ndarray]:
    """Some rows at a time, so that work on a large image takes little memory."""
    return (pixels[start:start + _ROWS] for start in range(0, len(pixels), _ROWS))


def _reason(error: Exception) -> str:
    return 'no known format' if isinstance(error, Image.UnidentifiedImageError) else str(error) or type(error).__name__
