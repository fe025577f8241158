"""Sets of images: which files of several folders belong together."""
from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from basicsr_kd.evaluation.errors import EvaluationError
from basicsr_kd.evaluation.images import image_files

# How names may go on where those of the ground truth end: babyx4, baby_x4, babyLR, baby_kd_esrgan.
_ENDING = re.compile(r'(?:[_\-. ].*|x\d.*|[LS]R.*)?', re.IGNORECASE)
_TRUTH = re.compile(r'(.+?)[_\-. ]?(?:HR|GT)', re.IGNORECASE)
_MOST_NAMES = 3  # that an error lists


@dataclass(frozen=True)
class ImagePair:
    """The files of one image: ground truth, low resolution, and finished results by the name of their method."""

    name: str
    hr: Path
    lr: Path | None
    results: Mapping[str, Path] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageSet:
    """Images that a mean is taken over."""

    name: str
    hr: Path
    lr: Path | None
    pairs: Sequence[ImagePair]


def pair_folders(hr: Path, lr: Path | None, results: Mapping[str, Path] | None = None) -> list[ImagePair]:
    """Pair the images of folders by their names, whatever their file types.

    Names are those of the ground truth, or those and one ending that is the same in the whole folder (`babyx4`,
    `baby_kd_esrgan`). Where all names of the ground truth end in HR or GT (`img_001_SRF_4_HR`), it may stand without.

    Args:
        hr: The ground truth.
        lr: Low resolution, or None.
        results: Finished images by the name of their method.

    Raises:
        EvaluationError: A folder without images, two images of one name, or names that do not pair.
    """
    truths = _by_name(hr)
    low = _partners(hr, list(truths), lr) if lr else {}
    finished = {method: _partners(hr, list(truths), folder) for method, folder in (results or {}).items()}
    return [ImagePair(name, path, low.get(name), {method: files[name] for method, files in finished.items()})
            for name, path in truths.items()]


def _by_name(folder: Path) -> dict[str, Path]:
    files: dict[str, Path] = {}
    for path in image_files(folder):
        if path.stem in files:
            raise EvaluationError(f'{files[path.stem]} and {path.name} have one name. Expected one image of each name.')
        files[path.stem] = path
    return files


def _partners(hr: Path, names: Sequence[str], folder: Path) -> dict[str, Path]:
    """The file of a folder that belongs to each name of the ground truth."""
    files = _by_name(folder)
    expected = min((dict(zip(names, _with_ending(roots, files), strict=True)) for roots in _roots(names)),
                   key=lambda expected: len(files.keys() ^ set(expected.values())))
    missing = [name for name in names if expected[name] not in files]
    more = sorted(files.keys() - set(expected.values()))
    if missing or more:
        found = [f'nothing in {folder} for {_some(missing)}'] if missing else []
        found += [f'nothing in {hr} for {_some(more)}'] if more else []
        raise EvaluationError(f'The names in {hr} and {folder} do not pair: {"; ".join(found)}. Expected the same '
                              'names, or one ending behind all names of the second: baby.png and babyx4.png.')
    return {name: files[expected[name]] for name in names}


def _roots(names: Sequence[str]) -> list[list[str]]:
    """What the names of the other folder may begin with."""
    marked = [_TRUTH.fullmatch(name) for name in names]
    bare = [match[1] for match in marked if match]
    return [list(names), bare] if len(set(bare)) == len(names) else [list(names)]


def _with_ending(roots: Sequence[str], files: Iterable[str]) -> list[str]:
    """The roots with the ending that most files have behind one of them."""
    known = set(roots)
    endings = Counter(file[length:] for file in files for length in range(1, len(file) + 1)
                      if file[:length] in known and _ENDING.fullmatch(file[length:]))
    ending = min(endings, key=lambda ending: (-endings[ending], len(ending)), default='')
    return [root + ending for root in roots]


def _some(names: Sequence[str]) -> str:
    more = f' and {len(names) - _MOST_NAMES} more' if len(names) > _MOST_NAMES else ''
    return ', '.join(map(repr, names[:_MOST_NAMES])) + more
