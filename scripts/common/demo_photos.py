"""The demo's photos: those that come inside the installed scikit-image, cut into training and held-out parts.

Nothing is downloaded. Of the package's pictures the natural colour photos are used: astronaut (NASA, public domain),
chelsea (S. van der Walt, CC0), coffee (R. Michetti, CC0), rocket (SpaceX, public domain), motorcycle_left (Middlebury
stereo benchmark 2014, D. Scharstein et al.). motorcycle_right is left out: it is the same scene from 19 cm further to
the right, so it would train on what is held out of the other.
"""
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from basicsr.data.transforms import mod_crop
from PIL import Image

from common.photos import downscale, write_png

SCALE = 4
GAP = 16
"""Pixels between a held-out part and any training part of the same photo: the support of the bicubic filter."""


@dataclass(frozen=True)
class Box:
    """A part of a photo, in pixels."""

    x: int
    y: int
    width: int
    height: int

    def of(self, photo: np.ndarray) -> np.ndarray:
        return photo[self.y:self.y + self.height, self.x:self.x + self.width]


@dataclass(frozen=True)
class Cut:
    """How one photo is divided."""

    photo: str
    held_out: Box
    train: tuple[Box, ...]


CUTS = (
    Cut('astronaut.png', Box(128, 0, 192, 192), (Box(0, 208, 512, 304), Box(336, 0, 176, 192))),
    Cut('chelsea.png', Box(56, 40, 192, 192), (Box(264, 0, 187, 300),)),
    Cut('coffee.png', Box(216, 176, 192, 192), (Box(0, 0, 200, 400), Box(424, 0, 176, 400), Box(200, 0, 224, 160))),
    Cut('rocket.jpg', Box(224, 232, 192, 192), (Box(0, 0, 208, 427), Box(432, 0, 208, 427))),
    Cut('motorcycle_left.png', Box(312, 200, 192, 192),
        (Box(0, 0, 296, 500), Box(520, 0, 221, 500), Box(296, 0, 224, 184))),
)


def photo_folder() -> Path:
    """Where the installed scikit-image keeps its pictures.

    Raises:
        FileNotFoundError: it is not installed, or lacks a photo (some Linux packages of it do).
    """
    spec = find_spec('skimage')
    folder = Path(spec.origin).parent / 'data' if spec and spec.origin else Path('skimage/data')
    missing = [cut.photo for cut in CUTS if not (folder / cut.photo).is_file()]
    if missing:
        raise FileNotFoundError(f'the demo needs the photos that come with scikit-image, but {folder} lacks '
                                f'{", ".join(missing)}. PyPI\'s has them: pip install --force-reinstall scikit-image')
    return folder


def make_demo_data(root: Path) -> tuple[int, int]:
    """Write `root`/{train,val}/{HR,LRx4}/*.png; files of an earlier run are replaced by the same.

    Returns:
        Number of training and of held-out parts.
    """
    folder = photo_folder()
    for cut in CUTS:
        photo = np.asarray(Image.open(folder / cut.photo).convert('RGB'))
        name = Path(cut.photo).stem
        parts = {f'val/{{}}/{name}.png': cut.held_out}
        parts.update({f'train/{{}}/{name}_{i}.png': box for i, box in enumerate(cut.train, start=1)})
        for target, box in parts.items():
            hr = mod_crop(box.of(photo), SCALE)
            for kind, image in (('HR', hr), (f'LRx{SCALE}', downscale(hr, SCALE))):
                path = root / target.format(kind)
                path.parent.mkdir(parents=True, exist_ok=True)
                write_png(path, image)
    return sum(len(cut.train) for cut in CUTS), len(CUTS)
