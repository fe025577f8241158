"""Where enlarged frames go: a folder of PNGs, one image or a video, there when whole and not before."""
from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np

from basicsr_kd.deploy.video_files import VideoWriter
from basicsr_kd.utils.images import SUFFIXES, write_image

VIDEO = '.mp4'
Write = Callable[[str, np.ndarray], None]


@contextmanager
def writing(output: Path, fps: float) -> Iterator[Write]:
    """Write frames into a temporary folder, and move them to `output` at the end; after an error or Ctrl-C nothing is
    left.

    Args:
        output: `….mp4`; an image by its ending, for one image; else a folder, in which other files stay.
        fps: Frames a second of a video.

    Yields:
        What writes a frame: name without ending, (h, w, 3) BGR uint8.

    Raises:
        OSError: It cannot be written.
        InferError: The video cannot be.
    """
    suffix = output.suffix.lower()
    near = next(folder for folder in (output.absolute(), *output.absolute().parents) if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=f'.{output.name}.', dir=near) as temporary:
        unfinished = Path(temporary, f'unfinished{suffix}')
        if suffix == VIDEO:
            with VideoWriter(unfinished, fps) as video:
                yield video.write
        elif suffix in SUFFIXES:
            yield lambda name, image: write_image(unfinished, image)
        else:
            yield lambda name, image: write_image(unfinished / f'{name}.png', image)
        _move(unfinished, output)


def _move(unfinished: Path, output: Path) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    if not output.is_dir():
        os.replace(unfinished, output)
        return
    for file in unfinished.iterdir():
        os.replace(file, output / file.name)
