"""Where results go: a folder of images, one image or a video, which appears only once it is whole."""
from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from basicsr_kd.deploy.video_files import VideoWriter
from basicsr_kd.errors import InferError
from basicsr_kd.utils.images import write_image

VIDEO = '.mp4'
Write = Callable[[str, np.ndarray], None]


@contextmanager
def unfinished(output: Path) -> Iterator[Path]:
    """Yield a name in a temporary folder nearby; its content is moved to `output` at the end.

    After an error or Ctrl-C nothing is left.

    Args:
        output: A file, or a folder, in which other files stay.

    Raises:
        InferError: The output cannot be written.
    """
    near = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.is_dir())
    try:
        with tempfile.TemporaryDirectory(prefix=f'.{output.name}.', dir=near) as temporary:
            path = Path(temporary, f'unfinished{output.suffix.lower()}')
            yield path
            _move(path, output)
    except OSError as error:
        raise InferError(f'{output} cannot be written: {error.strerror or error}. Expected a folder that can be '
                         'written, on a disk with enough room.') from error


@contextmanager
def writing(output: Path, fps: float) -> Iterator[Write]:
    """Write frames, which appear only once all are written.

    Args:
        output: `….mp4`, or a folder for PNGs.
        fps: Frames a second of a video.

    Yields:
        A function that writes a frame: name without ending, (h, w, 3) BGR uint8.

    Raises:
        InferError: Frames cannot be written.
    """
    with unfinished(output) as path:
        if path.suffix == VIDEO:
            with VideoWriter(path, fps) as video:
                yield video.write
        else:
            yield lambda name, image: write_image(path / f'{name}.png', image)


def _move(path: Path, output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    if not output.is_dir():
        os.replace(path, output)
        return
    for file in path.iterdir():
        os.replace(file, output / file.name)
