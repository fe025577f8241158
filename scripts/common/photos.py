"""One photo to HR and LR images: reading, MATLAB-like bicubic, sub-images, safe writing."""
import os
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from basicsr.data.transforms import mod_crop
from basicsr.utils.matlab_functions import imresize
from PIL import Image

from basicsr_kd.errors import BadImageError, BasicSRKDError
from basicsr_kd.utils.pictures import of_any_size, read_picture, to_srgb

EXIF_ORIENTATION = 0x0112


class PrepareError(BasicSRKDError):
    """The request cannot be carried out; the message says what to change."""


@dataclass(frozen=True)
class Settings:
    """What decides the content of an output folder (kept there as `prepare_images.json`)."""

    input: str
    scale: int = 4
    sub_size: int | None = None
    """Side of the square sub-images in HR pixels; None keeps photos whole."""
    step: int | None = None
    thresh: int = 0
    """One more sub-image is cut at the end where more than this many pixels would be left over."""
    recursive: bool = False

    def __post_init__(self) -> None:
        if self.scale < 2:
            raise PrepareError(f'--scale must be 2 or more, got {self.scale}.')
        if self.sub_size is None:
            if self.step is not None:
                raise PrepareError('--step is the distance between sub-images; give --sub-size too.')
            return
        for name, value in (('--sub-size', self.sub_size), ('--step', self.step)):
            if value is None or value < self.scale or value % self.scale:
                raise PrepareError(f'{name} must be a multiple of the scale {self.scale}, so that LR can be cut at the '
                                   f'same place; got {value}.')

    @property
    def min_side(self) -> int:
        """Smallest usable side in HR pixels: a sub-image, and the support of the bicubic filter (4 LR pixels)."""
        return max(self.sub_size or 0, 4 * self.scale)


@dataclass(frozen=True)
class Outcome:
    """What became of one photo."""

    photo: Path
    pairs: int = 0
    made: bool = False
    left_out: str = ''
    """Why it gave no pair."""
    note: str = ''
    """What had to be changed to get 8-bit sRGB."""


def downscale(hr: np.ndarray, scale: int) -> np.ndarray:
    """Shrink by BasicSR's MATLAB-like bicubic with antialiasing.

    MATLAB itself rounds to 8 bits after each direction, this only once, so about one value in eight differs by 1 from
    files made there.

    Args:
        hr: (h, w, c) uint8, h and w multiples of `scale`, any channel order.

    Returns:
        (h / scale, w / scale, c) uint8, rounded half up as MATLAB does.
    """
    lr = imresize(hr.astype(np.float32) / 255, 1 / scale)
    return np.floor(lr.clip(0, 1) * 255 + 0.5).astype(np.uint8)


def sub_starts(length: int, size: int, step: int, thresh: int) -> list[int]:
    """Where sub-images start along one side; the rule of BasicSR's scripts/data_preparation/extract_subimages.py."""
    starts = list(range(0, length - size + 1, step))
    if length - (starts[-1] + size) > thresh:
        starts.append(length - size)
    return starts


def cut_boxes(height: int, width: int, settings: Settings) -> list[tuple[str, slice, slice]]:
    """Name ending, rows and columns (HR pixels) of every image that a photo of this (mod-cropped) size gives."""
    size, step = settings.sub_size, settings.step
    if size is None or step is None:
        return [('', slice(0, height), slice(0, width))]
    corners = [(y, x) for y in sub_starts(height, size, step, settings.thresh)
               for x in sub_starts(width, size, step, settings.thresh)]
    return [(f'_s{i:03d}', slice(y, y + size), slice(x, x + size)) for i, (y, x) in enumerate(corners, start=1)]


def read_rgb(photo: Path) -> tuple[np.ndarray, str]:
    """Read (h, w, 3) sRGB uint8, upright; the second value says what had to be changed.

    Raises:
        BadImageError: It cannot be read.
    """
    picture = read_picture(photo)
    upright, profile = to_srgb(picture.in_8_bits())
    colours = upright.colours
    notes = {'16 bits made 8': picture.pixels.dtype == np.uint16, 'grey made RGB': picture.colours.shape[2] == 1,
             f'{profile} made sRGB': profile, 'transparency dropped': picture.is_see_through}
    rgb = np.repeat(colours, 3, axis=2) if colours.shape[2] == 1 else np.ascontiguousarray(colours)
    return rgb, ', '.join(note for note, applies in notes.items() if applies)


def write_png(path: Path, rgb: np.ndarray) -> None:
    """Write (h, w, 3) RGB uint8 so that `path` is complete or absent. BasicSR skips the dotted temporary file."""
    temporary = path.with_name(f'.{path.name}.tmp')
    try:
        temporary.write_bytes(cv2.imencode('.png', cv2.cvtColor(rgb, cv2.COLOR_RGB2BGR))[1].tobytes())
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def prepare_photo(photo: Path, stem: str, output: Path, settings: Settings) -> Outcome:
    """Write all pairs of one photo, unless they are there and newer than the photo.

    LR is made from the whole photo and cut afterwards, so that no LR pixel knows of a cut.
    """
    torch.set_num_threads(1)  # the work is shared out by photo; more threads would only get in each other's way
    scale = settings.scale
    try:
        with of_any_size(), Image.open(photo) as opened:
            width, height = opened.size
            if opened.getexif().get(EXIF_ORIENTATION, 1) >= 5:  # 5 to 8 swap the sides
                width, height = height, width
            if min(width, height) < settings.min_side:
                return Outcome(photo, left_out=f'{width}x{height} is smaller than {settings.min_side} px')
            boxes = cut_boxes(height - height % scale, width - width % scale, settings)
            targets = [(output / 'HR' / f'{stem}{end}.png', output / f'LRx{scale}' / f'{stem}{end}.png')
                       for end, _, _ in boxes]
            taken = photo.stat().st_mtime
            if all(file.exists() and file.stat().st_mtime >= taken for pair in targets for file in pair):
                return Outcome(photo, pairs=len(targets))
        rgb, note = read_rgb(photo)
    except BadImageError as error:
        return Outcome(photo, left_out=error.reason)
    # PIL reports a broken file as any of these; SyntaxError is its "broken PNG file".
    except (OSError, SyntaxError, ValueError) as error:
        return Outcome(photo, left_out=f'cannot be read ({error})')
    hr = mod_crop(rgb, scale)
    lr = downscale(hr, scale)
    for (hr_path, lr_path), (_, rows, cols) in zip(targets, boxes, strict=True):
        write_png(lr_path, lr[rows.start // scale:rows.stop // scale, cols.start // scale:cols.stop // scale])
        write_png(hr_path, hr[rows, cols])
    return Outcome(photo, pairs=len(targets), made=True, note=note)
