"""Sets of clips: which frames of several folders belong together, and reading them one by one."""
from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import numpy as np
from basicsr.utils import tensor2img

from basicsr_kd.data.clips import Clip, find_clips, read_clip, words
from basicsr_kd.data.tecogan_degradation import gaussian_downsample_padded
from basicsr_kd.data.tecogan_test_dataset import TecoGANTestDataset
from basicsr_kd.errors import EvaluationError
from basicsr_kd.evaluation.sets import ImagePair, folders_in
from basicsr_kd.utils.images import MOST_EXCESS


@dataclass(frozen=True)
class ClipSet:
    """Clips that a mean is taken over."""

    name: str
    hr: Path
    lr: Path | None
    scale: int | None
    """How many times larger than LR the ground truth is; None: there is no LR, and no LR is made."""
    dataset: TecoGANTestDataset
    clips: Mapping[str, Sequence[ImagePair]]
    """Frames in their order by the name of the clip; a frame is called clip/frame."""

    def frames(self, clip: str) -> Iterator[tuple[ImagePair, np.ndarray | None, np.ndarray]]:
        """Read a clip frame by frame.

        Yields:
            The frame's files; LR, (h, w, 3) BGR uint8, made from the ground truth where there is no file; the ground
            truth, cut to multiples of the scale.

        Raises:
            BadImageError: A file cannot be read.
        """
        for index, pair in enumerate(self.clips[clip]):
            images = self.dataset.frame(clip, index)
            if 'lq' not in images and self.scale:
                images['lq'] = gaussian_downsample_padded(images['gt'], self.scale)
            yield pair, tensor2img([images['lq']]) if 'lq' in images else None, tensor2img([images['gt']])

    def size(self, clip: str) -> tuple[int, int]:
        """Height and width of the ground truth that `frames` gives."""
        height, width = cast(Clip, self.dataset.pairs[clip].gt).size
        scale = self.scale or 1
        return height // scale * scale, width // scale * scale


def find_clip_set(name: str, hr: Path, lr: Path | None, results: Mapping[str, Path], scale: int | None) -> ClipSet:
    """Find the frames of a set; no pixels are read.

    Args:
        name: What the set is called.
        hr: The ground truth: a folder that has a folder for each clip.
        lr: Low resolution, in folders like those of `hr`; or None.
        results: Finished frames, in folders like those of `hr`, by the name of their method.
        scale: The scale to make LR by where there is none; None: LR is not needed.

    Raises:
        ClipError: As in `TecoGANTestDataset`.
        EvaluationError: Finished frames have other names or another size than the ground truth.
    """
    scale = _scale(hr, lr) if lr else scale
    dataset = TecoGANTestDataset({'name': name, 'type': 'TecoGANTestDataset', 'phase': 'test', 'scale': scale or 1,
                                  'dataroot_gt': str(hr), 'dataroot_lq': lr and str(lr)})
    found = {method: _finished(dataset, folder) for method, folder in results.items()}
    clips = {}
    for clip, pair in dataset.pairs.items():
        truths, low = cast(Clip, pair.gt).frames, pair.lq.frames if pair.lq else ()
        clips[clip] = [ImagePair(f'{clip}/{frame}', Path(truths[index]), Path(low[index]) if low else None,
                                 {method: Path(its[clip].frames[index]) for method, its in found.items()})
                       for index, frame in enumerate(pair.frames)]
    return ClipSet(name, hr, lr, scale, dataset, clips)


def _scale(hr: Path, lr: Path) -> int:
    """The scale of the first clip that both folders have, 1 if there is none; misfits are reported later."""
    clip = next((folder.name for folder in folders_in(hr) if (lr / folder.name).is_dir()), None)
    if clip is None:
        return 1
    high, low = (read_clip(root / clip).size for root in (hr, lr))
    return max(1, round(high[0] / low[0]))  # LR may be rounded up: 134 of 534


def _finished(dataset: TecoGANTestDataset, folder: Path) -> dict[str, Clip]:
    """The clips of a method, by name."""
    found = {clip.name: clip for clip in find_clips(folder)}
    root = dataset.options.dataroot_gt
    if found.keys() != dataset.pairs.keys():
        alone = ', '.join(sorted(found.keys() ^ dataset.pairs.keys()))
        raise EvaluationError(f'{root} and {folder} have different clips, only one of them has {alone}. Expected '
                              'folders of the same names in both.')
    for name, pair in dataset.pairs.items():
        clip, truth = found[name], cast(Clip, pair.gt)
        if len(clip.frames) != len(truth.frames):
            raise EvaluationError(f'Clip {name} has {len(truth.frames)} frames in {root} and {len(clip.frames)} in '
                                  f'{folder}. Expected as many.')
        if any(abs(one - other) > MOST_EXCESS for one, other in zip(clip.size, truth.size, strict=True)):
            raise EvaluationError(f'{clip.frames[0]} has {words(clip.size)}, and {truth.frames[0]} has '
                                  f'{words(truth.size)}. Expected as many, up to {MOST_EXCESS} rows and columns.')
    return found
