"""Whether folders hold images or clips."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from basicsr_kd.evaluation.errors import EvaluationError
from basicsr_kd.evaluation.images import SUFFIXES


def are_clips(folders: Sequence[Path]) -> bool:
    """Whether folders of ground truth are sets of clips, with folders of frames in them, or sets of images.

    Raises:
        EvaluationError: They differ in that, or one of them is both.
    """
    kinds = {folder: _holds_clips(folder) for folder in folders}
    if len(set(kinds.values())) > 1:
        clips, images = (next(folder for folder, kind in kinds.items() if kind is its) for its in (True, False))
        raise EvaluationError(f'{clips} has folders of frames, which are clips, and {images} has none. Expected sets '
                              'of clips or sets of images: evaluate them one after the other.')
    return kinds[folders[0]]


def folders_in(folder: Path) -> list[Path]:
    """The folders right inside, sorted, without hidden ones; none where there is no such folder."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if path.is_dir() and not path.name.startswith('.'))


def _holds_clips(folder: Path) -> bool:
    frames = {path.name: image.name for path in folders_in(folder) if (image := _an_image(path))}
    image = _an_image(folder)
    if image and frames:
        clip = next(iter(frames))
        raise EvaluationError(f'{folder} has images ({image.name}) and a folder of images ({clip}/{frames[clip]}). '
                              'Expected images alone, or a folder a clip alone: move the others away.')
    return bool(frames)


def _an_image(folder: Path) -> Path | None:
    if not folder.is_dir():
        return None
    return min((path for path in folder.iterdir() if path.suffix.lower() in SUFFIXES
                and not path.name.startswith('.') and path.is_file()), default=None)
