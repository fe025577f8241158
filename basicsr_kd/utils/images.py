"""Reading and writing images: every image of a folder becomes 8-bit BGR, or an error names it."""
from __future__ import annotations

import os
from pathlib import Path

import cv2
import numpy as np

from basicsr_kd.errors import BadImageError, EvaluationError
from basicsr_kd.utils.pictures import read_picture

SUFFIXES = frozenset({'.png', '.jpg', '.jpeg', '.bmp', '.tif', '.tiff', '.webp', '.ppm', '.pgm'})
MOST_EXCESS = 3
"""Rows and columns by which a frame and its ground truth may differ: LR has a pixel for each square begun. ToS3's 534
rows give 134 rows of LR and 536 of the result."""


def image_files(folder: str | os.PathLike[str]) -> list[Path]:
    """The images of a folder, found by their endings and sorted; hidden files and inner folders are left out.

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
    """Read an image as OpenCV, and so BasicSR, sees it, and convert it to 8-bit colour.

    16 bits per channel are rounded to 8 (v / 257), grey becomes three equal channels, opaque alpha is dropped; for the
    rest see `read_picture`. The colours are those of the file, whatever its profile.

    Returns:
        (h, w, 3) BGR uint8.

    Raises:
        BadImageError: The file cannot be read or is cut short, holds several images, other values than 8 or 16 bits, or
            pixels that are not opaque, whose colour depends on the background.
    """
    picture = read_picture(path).in_8_bits()
    if picture.is_see_through:
        raise BadImageError(path, 'has pixels that are not opaque. Expected an image without transparency: save it '
                            'on a background.')
    colours = picture.colours
    return cv2.cvtColor(colours, cv2.COLOR_GRAY2BGR if colours.shape[2] == 1 else cv2.COLOR_RGB2BGR)


def sample_photo() -> np.ndarray:
    """A photo that comes with matplotlib, (600, 512, 3) BGR uint8."""
    from matplotlib import cbook
    return read_image(cbook.get_sample_data('grace_hopper.jpg', False))


def middle(image: np.ndarray, side: int) -> np.ndarray:
    """The square in the middle of an image; smaller if the image is smaller."""
    top, left = (max(0, length - side) // 2 for length in image.shape[:2])
    return image[top:top + side, left:left + side]


def write_image(path: str | os.PathLike[str], image: np.ndarray) -> None:
    """Write an image (h, w, 3) BGR uint8; missing folders are made.

    Raises:
        OSError: The image cannot be written.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    Path(path).write_bytes(cv2.imencode(Path(path).suffix, image)[1].tobytes())
