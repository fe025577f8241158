"""Sets of images: which files of several folders belong together."""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from basicsr_kd.errors import EvaluationError
from basicsr_kd.utils.images import SUFFIXES, image_files, read_image
from basicsr_kd.utils.text import some

# What may follow the name of the ground truth (baby): babyx4, baby_x4, babyLR, baby_kd_esrgan.
_ENDING = re.compile(r'(?:[_\-. ].*|x\d.*|[LS]R.*)?', re.IGNORECASE)
_TRUTH = re.compile(r'(.+?)[_\-. ]?(?:HR|GT)', re.IGNORECASE)


@dataclass(frozen=True)
class ImagePair:
    """The files of one image: ground truth, low resolution, and finished results by the name of their method.

    Ground truth or low resolution may be missing.
    """

    name: str
    hr: Path | None
    lr: Path | None
    results: Mapping[str, Path] = field(default_factory=dict)

    @property
    def file(self) -> Path:
        """The file that stands for the image in messages: its ground truth, else its low resolution."""
        found = self.hr or self.lr
        assert found
        return found


@dataclass(frozen=True)
class ImageSet:
    """Images that a mean is taken over; without `hr` they are photos that have no ground truth."""

    name: str
    hr: Path | None
    lr: Path | None
    pairs: Sequence[ImagePair]


def pair_folders(hr: Path | None, lr: Path | None, results: Mapping[str, Path] | None = None) -> list[ImagePair]:
    """Pair the images of folders by their names, whatever their file types.

    Names in the other folders are those of the ground truth, or those with one ending that is the same in the whole
    folder (`babyx4`, `baby_kd_esrgan`). Where all names of the ground truth end in HR or GT (`img_001_SRF_4_HR`), the
    other folders may leave that out. Without ground truth, names are those of low resolution.

    Args:
        hr: The ground truth, or None.
        lr: Low resolution, or None where there is ground truth.
        results: Folders of finished images by the name of their method.

    Raises:
        EvaluationError: A folder without images, two images of one name, or names that do not pair.
    """
    named = hr or lr
    assert named
    names = _by_name(named)
    low = _partners(named, list(names), lr) if hr and lr else {} if hr else names
    finished = {method: _partners(named, list(names), folder) for method, folder in (results or {}).items()}
    return [ImagePair(name, path if hr else None, low.get(name),
                      {method: files[name] for method, files in finished.items()}) for name, path in names.items()]


def read_pair(pair: ImagePair, scale: int | None) -> tuple[np.ndarray | None, np.ndarray | None]:
    """Read low resolution, and the ground truth cut to `scale` times its size; None where there is no file.

    Args:
        pair: A pair of a checked set.
        scale: The scale of the `CheckedSets`.

    Returns:
        (h, w, 3) and (scale·h, scale·w, 3), BGR uint8.

    Raises:
        BadImageError: A file cannot be read.
    """
    lr, hr = (read_image(file) if file else None for file in (pair.lr, pair.hr))
    if lr is None or hr is None or scale is None:
        return lr, hr
    return lr, hr[:scale * lr.shape[0], :scale * lr.shape[1]]


def _by_name(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in image_files(folder):
        if path.stem in files:
            raise EvaluationError(f'{files[path.stem]} and {path.name} have one name. Expected one image of each name.')
        files[path.stem] = path
    return files


def _partners(named: Path, names: Sequence[str], folder: Path) -> dict[str, Path]:
    """The file of `folder` that belongs to each name; `named` is the folder that the names come from."""
    files = _by_name(folder)
    expected = min((dict(zip(names, _with_ending(roots, files), strict=True)) for roots in _roots(names)),
                   key=lambda expected: len(files.keys() ^ set(expected.values())))
    missing = [name for name in names if expected[name] not in files]
    more = sorted(files.keys() - set(expected.values()))
    if missing or more:
        found = [f'nothing in {folder} for {some(map(repr, missing))}'] if missing else []
        found += [f'nothing in {named} for {some(map(repr, more))}'] if more else []
        raise EvaluationError(f'The names in {named} and {folder} do not pair: {"; ".join(found)}. Expected the same '
                              'names, or one ending behind all names of the second: baby.png and babyx4.png.')
    return {name: files[expected[name]] for name in names}


def _roots(names: Sequence[str]) -> list[list[str]]:
    """What the names in the other folder may begin with."""
    marked = [_TRUTH.fullmatch(name) for name in names]
    bare = [match[1] for match in marked if match]
    return [list(names), bare] if len(set(bare)) == len(names) else [list(names)]


def _with_ending(roots: Sequence[str], files: Iterable[str]) -> list[str]:
    """The roots, each with the ending that most files have after a root."""
    known = set(roots)
    endings = Counter(file[length:] for file in files for length in range(1, len(file) + 1)
                      if file[:length] in known and _ENDING.fullmatch(file[length:]))
    ending = min(endings, key=lambda ending: (-endings[ending], len(ending)), default='')
    return [root + ending for root in roots]


def are_clips(folders: Sequence[Path]) -> bool:
    """Whether folders of ground truth are sets of clips, with folders of frames in them, or sets of images.

    Raises:
        EvaluationError: Some folders have clips and others images, or one has both.
    """
    kinds = {folder: _holds_clips(folder) for folder in folders}
    if len(set(kinds.values())) > 1:
        clips, images = (next(folder for folder, kind in kinds.items() if kind is its) for its in (True, False))
        raise EvaluationError(f'{clips} has folders of frames, which are clips, and {images} has none. Expected sets '
                              'of clips or sets of images: evaluate them one after the other.')
    return kinds[folders[0]]


def folders_in(folder: Path) -> list[Path]:
    """The folders directly inside a folder, sorted, without hidden ones; none if the folder does not exist."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith('.'))


def _holds_clips(folder: Path) -> bool:
    frames = {path.name: image.name for path in folders_in(folder) if (image := _an_image(path))}
    image = _an_image(folder)
    if image and frames:
        clip = next(iter(frames))
        raise EvaluationError(f'{folder} has images ({image.name}) and a folder of images ({clip}/{frames[clip]}). '
                              'Expected images alone, or folders alone, one for each clip: move the others away.')
    return bool(frames)


def _an_image(folder: Path) -> Path | None:
    if not folder.is_dir():
        return None
    return min((path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES
                and not path.name.startswith('.') and path.is_file()), default=None)
