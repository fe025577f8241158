"""The images to enlarge: the frames of a clip, or independent images."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np
from tqdm import tqdm

from basicsr_kd.data.clips import read_clip
from basicsr_kd.deploy.video_files import VideoFile
from basicsr_kd.errors import InferError
from basicsr_kd.utils.images import SUFFIXES, image_files, read_image


class ImageFiles:
    """Image files, read one by one, any number of times.

    Args:
        paths: The files in their order, no two with the same name.

    Raises:
        InferError: Two files have the same name, and so would their results.
    """

    fps = None

    def __init__(self, paths: Sequence[Path]) -> None:
        self.paths = paths
        found: dict[str, Path] = {}
        for path in paths:
            if found.setdefault(path.stem, path) is not path:
                raise InferError(f'{found[path.stem]} and {path.name} have one name, and so would their results. '
                                 'Expected one image of each name.')

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield names without ending and images, (h, w, 3) BGR uint8."""
        for path in self.paths:
            yield path.stem, read_image(path)


def open_source(path: Path, clip: bool) -> ImageFiles | VideoFile:
    """Find the images to enlarge; only headers are read.

    Args:
        path: A folder of images, an image or a video.
        clip: Whether it has to be a clip: at least two frames, in an order, of one size.

    Raises:
        InferError: The path does not exist, is no video, or is an image where a clip is expected.
        ClipError: The images of the folder are no clip.
        EvaluationError: There is no image in the folder.
    """
    if not path.exists():
        raise InferError(f'{path} does not exist. Expected a folder of images, an image or a video.')
    if path.is_dir():
        return ImageFiles([Path(frame) for frame in read_clip(path).frames] if clip else image_files(path))
    if path.suffix.lower() not in SUFFIXES:
        return VideoFile(path)
    if clip:
        raise InferError(f'{path} is one image. Expected a clip of at least two frames: a folder of images, or a '
                         'video.')
    return ImageFiles([path])


def check_source(source: ImageFiles | VideoFile, clip: bool, progress: bool = False) -> int:
    """Read all images once, so that a truncated file is reported now and not after hours.

    Args:
        source: From `open_source`.
        clip: As in `open_source`.
        progress: Whether to show a bar.

    Returns:
        How many frames there are.

    Raises:
        BadImageError: A file cannot be read.
        InferError: A video is truncated; or a clip has frames of different sizes, or fewer than two.
    """
    count = 0
    first: tuple[str, tuple[int, ...]] | None = None
    for name, image in tqdm(source, desc='reading', unit=' frames', disable=not progress):
        count += 1
        first = first or (name, image.shape)
        if clip and image.shape != first[1]:
            raise InferError(f'Frame {name} has {_size(image.shape)} pixels, expected {_size(first[1])} as frame '
                             f'{first[0]}. All frames of a clip must have one size: cut or resize them.')
    if isinstance(source, VideoFile):
        source.check_count(count)
        if count < (2 if clip else 1):
            raise InferError(f'{source.path} has {count} frame(s) that can be read. Expected at least '
                             f'{"two: the network goes from frame to frame" if clip else "one"}.')
    return count


def _size(shape: tuple[int, ...]) -> str:
    return f'{shape[1]}x{shape[0]}'
