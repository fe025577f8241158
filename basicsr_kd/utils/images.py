"""Reading and writing images: whatever a folder holds comes out as 8-bit BGR, or is refused by name."""
from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import cv2
import numpy as np
from PIL import Image, ImageOps

from basicsr_kd.errors import BadImageError, EvaluationError

SUFFIXES = frozenset({'.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm'})
MOST_EXCESS = 3
"""Rows and columns by which a frame and its ground truth may differ: LR has a pixel for each begun square. ToS3's 534
rows have 134 of LR and 536 of the result."""
_STILL = ('MPO',)  # a JPEG of some cameras with a preview or a second view behind it


def image_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The images of a folder by their endings, sorted; hidden files and folders inside it are left out.

    Raises:
        EvaluationError: No such folder, or no image in it.
    """
    folder = Path(folder)
    if not folder.is_dir():
        raise EvaluationError(f'{folder} {"is a file" if folder.exists() else "does not exist"}. Expected a folder of '
                              'images.')
    files = sorted(path for path in folder.iterdir()
                   if path.suffix.lower() in SUFFIXES and not path.name.startswith('.') and path.is_file())
    if not files:
        raise EvaluationError(f'There is no image in {folder}. Expected files that end in '
                              f'{", ".join(sorted(SUFFIXES))}; folders inside it are not searched.')
    return files


def read_image(path: str | os.PathLike[str]) -> np.ndarray:
    """Read an image as OpenCV and so BasicSR see it, and turn what is no 8-bit colour into that.

    16 bits a channel are rounded to 8 (v / 257), the values of PGM and PPM are scaled by the largest that their header
    names, grey becomes three equal channels, CMYK is converted by Pillow, opaque alpha is dropped. An EXIF orientation
    is applied.

    Returns:
        (h, w, 3) BGR uint8.

    Raises:
        BadImageError: The file cannot be read or is cut short, holds several images, other values than 8 or 16 bits, or
            pixels that are not opaque, whose colour only a background would tell.
    """
    try:
        content = Path(path).read_bytes()
        with _of_any_size(), Image.open(io.BytesIO(content)) as image:
            frames = getattr(image, 'n_frames', 1) if image.format not in _STILL else 1
            image.load()  # unlike OpenCV 4, it refuses a file that ends too early
            see_through = image.has_transparency_data
            pixels = _by_pillow(image)
    except (OSError, SyntaxError, ValueError) as error:
        raise BadImageError(path, f'cannot be read as an image: {_reason(error)}. Expected a whole file.') from error
    if frames > 1:
        raise BadImageError(path, f'holds {frames} images (an animation, pages). Expected a single one.')
    if see_through:
        _check_opaque(_by_opencv(content, cv2.IMREAD_UNCHANGED, path), path)
    if pixels is None:
        pixels = _by_opencv(content, cv2.IMREAD_ANYCOLOR | cv2.IMREAD_ANYDEPTH, path)
    pixels = _to_uint8(pixels, path)
    return cv2.cvtColor(pixels, cv2.COLOR_GRAY2BGR) if pixels.ndim == 2 else np.ascontiguousarray(pixels)


def write_image(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Write (h, w, 3) BGR uint8; folders are made.

    Raises:
        OSError: It cannot be written.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(cv2.imencode(Path(path).suffix, image)[1].tobytes())


@contextmanager
def _of_any_size() -> Iterator[None]:
    """Lifts Pillow's limit of 179 million pixels, which is for images that strangers upload."""
    limit, Image.MAX_IMAGE_PIXELS = Image.MAX_IMAGE_PIXELS, None
    try:
        yield
    finally:
        Image.MAX_IMAGE_PIXELS = limit


def _by_pillow(image: Image.Image) -> np.ndarray | None:
    """What OpenCV reads in other colours (CMYK), or without a look at the largest value (PGM, PPM); None: all else."""
    if image.mode == 'CMYK':
        return np.asarray(ImageOps.exif_transpose(image).convert('RGB'))[:, :, ::-1]
    if image.format != 'PPM' or image.mode == '1':
        return None
    if image.mode == 'RGB':
        return np.asarray(image)[:, :, ::-1]
    return np.asarray(image).astype(np.uint16) if image.mode == 'I' else np.asarray(image)  # I: scaled to 65535


def _by_opencv(content: bytes, flags: int, path: str | os.PathLike[str]) -> np.ndarray:
    """All flags but IMREAD_UNCHANGED apply the orientation."""
    try:
        pixels = cv2.imdecode(np.frombuffer(content, np.uint8), flags)
    except cv2.error as error:  # 2**30 pixels and more
        raise BadImageError(path, f'cannot be read by OpenCV: {str(error).strip()}') from error
    if pixels is None:
        raise BadImageError(path, 'cannot be read by OpenCV. Save it as PNG.')
    return pixels


def _to_uint8(pixels: np.ndarray, path: str | os.PathLike[str]) -> np.ndarray:
    if pixels.dtype == np.uint16:
        return ((pixels.astype(np.uint32) + 128) // 257).astype(np.uint8)
    if pixels.dtype != np.uint8:
        raise BadImageError(path, f'holds {pixels.dtype} values. Expected 8 or 16 bits a channel.')
    return pixels


def _check_opaque(pixels: np.ndarray, path: str | os.PathLike[str]) -> None:
    if pixels.ndim == 3 and pixels.shape[2] == 4 and _to_uint8(pixels, path)[:, :, 3].min() < 255:
        raise BadImageError(path, 'has pixels that are not opaque. Expected an image without transparency: save it '
                            'on a background.')


def _reason(error: Exception) -> str:
    return 'no known format' if isinstance(error, Image.UnidentifiedImageError) else str(error) or type(error).__name__
