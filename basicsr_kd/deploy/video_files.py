"""Video files, read and written frame by frame by OpenCV's own FFmpeg; sound is left out."""
from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from basicsr_kd.errors import InferError

_CODEC = 'mp4v'  # MPEG-4: the H.264 encoder is not in OpenCV's wheels


class VideoFile:
    """The frames of a video, named by numbers; they can be read any number of times.

    Args:
        path: Any file that FFmpeg reads.

    Raises:
        InferError: It is no video, or is truncated and has lost its index.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        capture = self._open()
        self.fps: float | None = capture.get(cv2.CAP_PROP_FPS) or None
        """Frames a second; None where the file does not say."""
        self.stated = int(capture.get(cv2.CAP_PROP_FRAME_COUNT))
        """Number of frames by the file's header, an estimate in some formats; 0 or less: the header does not say."""
        capture.release()

    def __iter__(self) -> Iterator[tuple[str, np.ndarray]]:
        """Yield names, `00000000` and so on, and frames, (h, w, 3) BGR uint8."""
        capture = self._open()
        try:
            index = 0
            while True:
                there, image = capture.read()
                if not there:
                    return
                yield f'{index:08d}', image
                index += 1
        finally:
            capture.release()

    def check_count(self, count: int) -> None:
        """Check that `count` frames are the whole video.

        Raises:
            InferError: The header states over 5 % more; a smaller difference is accepted, since it may be an estimate.
        """
        if self.stated - count > max(1, self.stated // 20):
            raise InferError(f'{self.path} has {self.stated} frames by its header, and {count} can be read. Expected a '
                             'whole file: copy it again; if it is whole, convert it (ffmpeg -i IN OUT.mp4).')

    def _open(self) -> cv2.VideoCapture:
        _silence_opencv()
        capture = cv2.VideoCapture(str(self.path), cv2.CAP_FFMPEG)
        if not capture.isOpened():
            raise InferError(f'{self.path} cannot be read as a video: it is damaged, cut short or another kind of '
                             'file. Expected a video, an image, or a folder of images.')
        return capture


class VideoWriter:
    """Writes an .mp4 file (MPEG-4, lossy); to be used in a `with` statement.

    If a side of the frames is odd, the last row or column is left out, as the format needs even sides.

    Args:
        path: The file.
        fps: Frames a second.
    """

    def __init__(self, path: Path, fps: float) -> None:
        self.path = path
        self.fps = fps
        self._writer: cv2.VideoWriter | None = None
        self._count = 0

    def __enter__(self) -> VideoWriter:
        return self

    def write(self, name: str, image: np.ndarray) -> None:
        """Add a frame.

        Args:
            name: The frame's name, which is not written.
            image: (h, w, 3) BGR uint8, all of one size.

        Raises:
            InferError: Frames of this size cannot be written.
        """
        if self._writer is None:
            height, width = image.shape[:2]
            _silence_opencv()
            self._writer = cv2.VideoWriter(str(self.path), cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*_CODEC), self.fps,
                                           (width, height))
            if not self._writer.isOpened():
                raise InferError(f'OpenCV cannot write an .mp4 of {width}x{height} pixels at {self.fps:g} frames a '
                                 'second (a side may have up to 8191). Give a folder for --output.')
        self._writer.write(image)
        self._count += 1

    def __exit__(self, kind: type[BaseException] | None, *rest: object) -> None:
        if kind is None:
            self.close()
        elif self._writer:
            self._writer.release()

    def close(self) -> None:
        """Finish the file.

        Raises:
            InferError: The file could not be written in full, which OpenCV itself does not report.
        """
        if self._writer is None:
            return
        self._writer.release()
        try:
            written = VideoFile(self.path).stated
        except InferError:
            written = 0
        if written != self._count:
            raise InferError(f'{written} of {self._count} frames are in the video that was written. Expected all: is '
                             'the disk full?')


def _silence_opencv() -> None:
    """Keep FFmpeg from printing among the progress bars: errors are raised."""
    os.environ.setdefault('OPENCV_FFMPEG_LOGLEVEL', '-8')  # OpenCV reads it at the first video
    cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)
