"""The pictures of evaluations: those that `--save-images` wrote, and the ground truth and LR that belong to them."""
from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from basicsr_kd.errors import EvaluationError, ReportError
from basicsr_kd.evaluation.schema import MeasuredSet
from basicsr_kd.evaluation.sets import ImagePair, pair_folders
from basicsr_kd.report.evaluations import Runs
from basicsr_kd.report.methods import MethodGroup
from basicsr_kd.utils.images import image_files

LR, TRUTH = 'LR', 'ground truth'
"""The labels of LR and ground truth beside the methods."""


@dataclass(frozen=True)
class Pictures:
    """The pictures that can be shown; for a method with several seeds, those of the first."""

    folder: Path
    runs: Runs
    methods: Sequence[MethodGroup]
    """The methods that have all pictures of all sets."""

    def file(self, method: MethodGroup, images: MeasuredSet, name: str) -> Path:
        """The file of a method's result."""
        return _file(self.folder, method, images, name)

    def pairs(self, images: MeasuredSet) -> dict[str, ImagePair]:
        """Ground truth and LR of what is shown of a set: all photos, or each clip's middle frame, then without LR.

        Raises:
            EvaluationError: An image of the set is missing.
        """
        hr, lr = (Path(folder) if folder else None for folder in (images.hr, images.lr))
        if images.clips:
            pairs = {name: ImagePair(name, path, None) for clip in images.clips
                     for name, path in files_of_clip(truth_of_clips(images), clip).items()}
        else:
            pairs = {pair.name: pair for pair in pair_folders(hr, lr)}
        missing = sorted(set(images.images) - set(pairs))
        if missing:
            raise EvaluationError(f'{hr or lr} has no image {missing[0]}, which is in the set {images.name}.')
        return {name: pairs[name] for name in (_middle_frames(images) if images.clips else images.images)}


def find_pictures(folder: Path, runs: Runs, methods: Sequence[MethodGroup]) -> tuple[Pictures, list[str]]:
    """Find out which methods have all their pictures.

    Args:
        folder: What `basicsr-kd evaluate --save-images` wrote. Ground truth and LR are read from the paths that the
            evaluations name.

    Returns:
        The pictures, and a sentence on methods that are not shown, if any.

    Raises:
        ReportError: There is no such folder, or no method has all its pictures there.
    """
    if not folder.is_dir():
        raise ReportError(f'--images: {folder} is no folder. Expected the one that `basicsr-kd evaluate --save-images` '
                          'wrote.')
    shown = [method for method in methods
             if all(_file(folder, method, images, name).is_file() for images in runs.sets for name in images.images)]
    if not shown:
        raise ReportError(f'--images: {folder} does not have all images of any method, such as '
                          f'{_file(folder, methods[0], runs.sets[0], runs.sets[0].images[0])}. Expected the folder '
                          'that `basicsr-kd evaluate --save-images` wrote for these sets.')
    missing = [method.label for method in methods if method not in shown]
    return Pictures(folder, runs, shown), (
        [f'Not among the pictures, for want of them in {folder}: {", ".join(missing)}.'] if missing else [])


@contextmanager
def images_told() -> Iterator[None]:
    """Turn an error about a picture into a ReportError that names the option."""
    try:
        yield
    except EvaluationError as error:
        raise ReportError(f'--images: {error} Paths of ground truth and LR are those in the evaluations: run this '
                          'where they were made, or leave out --images.') from None


def truth_of_clips(images: MeasuredSet) -> Path:
    """The folder of a set of clips, which always has ground truth."""
    assert images.hr  # only photos have none
    return Path(images.hr)


def files_of_clip(root: Path, clip: str) -> dict[str, Path]:
    """The frames in a clip's folder by their names in a set, `calendar/0003`.

    Raises:
        EvaluationError: There is no such folder, or no image in it.
    """
    return {f'{clip}/{path.stem}': path for path in image_files(root / clip)}


def _file(folder: Path, method: MethodGroup, images: MeasuredSet, name: str) -> Path:
    return folder / method.runs[0].name.replace('/', '_') / images.name / f'{name}.png'


def _middle_frames(images: MeasuredSet) -> list[str]:
    clips: dict[str, list[str]] = {}
    for name in images.images:
        clips.setdefault(name.rpartition('/')[0], []).append(name)
    return [names[len(names) // 2] for names in clips.values()]
