"""Enlarges independent photos, each to one of its kind; of those that cannot be enlarged it says why."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from basicsr_kd.deploy.formats import Format, lack
from basicsr_kd.deploy.memory import check_memory
from basicsr_kd.deploy.network import TrainedNetwork
from basicsr_kd.deploy.planes import Bar
from basicsr_kd.errors import BadImageError, InferError
from basicsr_kd.utils.pictures import Picture, read_picture

Colour = tuple[int, int, int]
Fault = BadImageError | InferError
"""What is wrong with one photo; the others can still be enlarged."""
BAR = '{l_bar}{bar}| {n_fmt}/{total_fmt} [{elapsed}<{remaining}, {rate_noinv_fmt}]'
"""The format of tqdm's bar, but always with images per second, never seconds per image."""


@dataclass(frozen=True)
class Photos:
    """Photos, and how they are to be enlarged.

    Args:
        paths: Their files.
        network: A network of images.
        form: The format that results are written in.
        background: RGB of 0 to 255, on which transparent pixels are put; None: alpha is enlarged.
        progress: Whether to show bars.
    """
    paths: Sequence[Path]
    network: TrainedNetwork
    form: Format
    background: Colour | None = None
    progress: bool = False

    def check(self) -> dict[Path, Fault]:
        """Read all photos once, so that faults are known before the work and not after hours.

        Returns:
            What is wrong with each photo that cannot be enlarged or written.
        """
        faults: dict[Path, Fault] = {}
        for path in tqdm(self.paths, 'reading', unit=' images', disable=not self.progress):
            try:
                picture = self._read(path)
                missing = lack(self.form, picture, self.network.scale)
                if missing:
                    raise BadImageError(path, f'{missing}.')
                check_memory(path, picture.pixels, self.network, self.form)
            except BadImageError as fault:
                faults[path] = fault
        return faults

    def enlarge(self, faults: dict[Path, Fault], write: Callable[[Path, Picture], None]) -> None:
        """Enlarge the photos without faults; one at most is in memory.

        Args:
            faults: From `check`; faults that appear only in the work are added.
            write: Is given a photo's file and its result.
        """
        due = [path for path in self.paths if path not in faults]
        with tqdm(total=len(due), desc='enlarging', unit=' images', bar_format=BAR, disable=not self.progress) as bar:
            for path in due:
                try:
                    write(path, enlarge_picture(self.network, self._read(path), str(path), self._bar(path)))
                except (BadImageError, InferError) as fault:
                    faults[path] = fault
                except MemoryError as error:
                    faults[path] = BadImageError(path, f'takes more memory than there is: {error}.')
                bar.update()

    def _read(self, path: Path) -> Picture:
        picture = read_picture(path)
        return picture.on_background(self.background) if self.background else picture

    def _bar(self, path: Path) -> Bar:
        return lambda pieces: iter(tqdm(pieces, path.name, unit=' tiles', leave=False, delay=1,
                                        disable=not self.progress or len(pieces) < 2))


def enlarge_picture(network: TrainedNetwork, picture: Picture, where: str, bar: Bar = iter) -> Picture:
    """Enlarge a picture to one of its kind: grey stays grey, and alpha is enlarged as a grey image.

    Args:
        network: A network of images.
        picture: The picture to enlarge.
        where: Its file, for the error.
        bar: See `enlarge_planes`.

    Raises:
        InferError: The network fails on it.
    """
    height, width, channels = picture.pixels.shape
    result = Picture(np.empty((height * network.scale, width * network.scale, channels), picture.pixels.dtype),
                     picture.profile)
    if picture.is_grey:
        network.fill(result.colours[:, :, :1], picture.colours[:, :, :1], where, bar)
        result.colours[:, :, 1:] = result.colours[:, :, :1]
    else:
        network.fill(result.colours, picture.colours, where, bar)
    if picture.alpha is not None and result.alpha is not None:
        if picture.is_see_through:
            network.fill(result.alpha, picture.alpha, where, bar)
        else:
            result.alpha[:] = np.iinfo(result.pixels.dtype).max
    return result
