"""Test clips of any names and lengths, read frame by frame: ground truth, low resolution, or both."""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import PurePath
from typing import Any

from basicsr.data.transforms import mod_crop
from basicsr.utils import img2tensor
from torch import Tensor
from torch.utils.data import Dataset

from basicsr_kd.data.clips import PARTITIONS, Clip, Listed, find_clips, read_listing, words
from basicsr_kd.errors import BadImageError, ClipError, OptionsError
from basicsr_kd.options.clips import ClipTestOptions, read_section
from basicsr_kd.utils.images import read_image


@dataclass(frozen=True)
class _Pair:
    frames: list[str]
    """The names of the frames: of the ground truth, with which results are compared, if there is one."""
    gt: Clip | None
    lq: Clip | None


class TecoGANTestDataset(Dataset):
    """Clips for a network that goes from frame to frame (`type: TecoGANTestDataset`).

    An item only names a clip and its frames; `frame` reads one, so that memory does not grow with a clip's length.
    Without `dataroot_lq` the model makes low resolution from the ground truth (`gaussian_downsample_padded`).

    Args:
        opt: A section of `datasets:`; the keys are those of `basicsr_kd.options.clips.ClipTestOptions`. `dataroot_gt`
            and `dataroot_lq` have one folder for each clip, with the same names if both are given; frames are paired
            by their order, whatever their names.

    Raises:
        OptionsError: A key is unknown, a value is wrong, or both folders are missing.
        ClipError: As in `find_clips`; or clips, numbers of frames or sizes do not match between the two folders.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.opt = opt
        self.options = read_section(opt, ClipTestOptions)
        if not self.options.dataroot_gt and not self.options.dataroot_lq:
            raise OptionsError(f'datasets.{self.options.phase}: dataroot_gt and dataroot_lq are missing; at least one '
                               'of them is needed, a folder that holds one folder for each clip')
        self.listed = _without_sizes(self.options.meta_info_file) if self.options.meta_info_file else None
        gt, lq = self._find(self.options.dataroot_gt), self._find(self.options.dataroot_lq)
        if gt and lq and gt.keys() != lq.keys():
            alone = sorted(gt.keys() ^ lq.keys())
            raise ClipError(f'{self.options.dataroot_gt} and {self.options.dataroot_lq} have different clips, only one '
                            f'of them has {", ".join(alone)}. Expected folders of the same names in both, or a list of '
                            'the clips to take (meta_info_file).')
        self.pairs = {name: _Pair([PurePath(frame).stem for frame in clip.frames], gt.get(name), lq.get(name))
                      for name, clip in (gt or lq).items()}
        for pair in self.pairs.values():
            self._check_pair(pair)
        self._broken: dict[str, str | None] = {}

    def __len__(self) -> int:
        """How many clips there are."""
        return len(self.pairs)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """A clip's name, `clip`, and the names of its frames in order, `frames`."""
        name = list(self.pairs)[index]
        return {'clip': name, 'frames': self.pairs[name].frames}

    def broken_frame(self, clip: str) -> str | None:
        """The first frame of a clip that is no whole image; frames are read once, and the answer is kept."""
        if clip not in self._broken:
            pair = self.pairs[clip]
            self._broken[clip] = None
            for path in (path for found in (pair.gt, pair.lq) if found for path in found.frames):
                try:
                    read_image(path)
                except BadImageError as error:
                    self._broken[clip] = error.path
                    break
        return self._broken[clip]

    def frame(self, clip: str, index: int) -> dict[str, Tensor]:
        """Read one frame of a clip.

        Args:
            clip: The clip's name.
            index: The frame's number, from 0.

        Returns:
            `gt` (3, h, w) and `lq` (3, h / scale, w / scale), RGB float32 in [0, 1], each if it exists. If the ground
            truth's sides are no multiples of the scale, both are cut, at the right and at the bottom.

        Raises:
            BadImageError: A file is no whole image of 8 or 16 bits.
        """
        pair, scale = self.pairs[clip], self.options.scale
        images = {}
        if pair.gt:
            images['gt'] = mod_crop(read_image(pair.gt.frames[index]), scale)
        if pair.lq:
            images['lq'] = read_image(pair.lq.frames[index])
        if pair.gt and pair.lq:
            height, width = images['gt'].shape[:2]
            images['lq'] = images['lq'][:height // scale, :width // scale]
        return {key: img2tensor(image) / 255 for key, image in images.items()}

    def _find(self, root: str | None) -> dict[str, Clip]:
        if not root:
            return {}
        clips = {clip.name: clip for clip in find_clips(root, listed=self.listed)}
        wanted = PARTITIONS.get(self.options.val_partition or '', clips)
        found = {name: clip for name, clip in clips.items() if name in wanted}
        if not found:
            raise ClipError(f'{root} has none of the clips of val_partition: {self.options.val_partition}. Expected '
                            f'{", ".join(wanted)}.')
        return found

    def _check_pair(self, pair: _Pair) -> None:
        gt, lq, scale = pair.gt, pair.lq, self.options.scale
        if not gt or not lq:
            return
        if len(gt.frames) != len(lq.frames):
            raise ClipError(f'Clip {gt.name} has {len(gt.frames)} frames in {self.options.dataroot_gt} and '
                            f'{len(lq.frames)} in {self.options.dataroot_lq}. Expected as many: the frames belong '
                            'together in their order.')
        # where a side is no multiple of the scale, low resolution may have been rounded up or down
        if any(low not in (side // scale, -(-side // scale)) for side, low in zip(gt.size, lq.size, strict=True)):
            expected = gt.size[0] // scale, gt.size[1] // scale
            raise ClipError(f'{lq.frames[0]} has {words(lq.size)} and {gt.frames[0]} {words(gt.size)}. Expected '
                            f'{words(expected)} of low resolution at scale {scale}.')


def _without_sizes(meta_info_file: str) -> dict[str, Listed]:
    """Read a list of clips without its sizes, which hold only for the ground truth."""
    return {name: replace(stated, size=None) for name, stated in read_listing(meta_info_file).items()}
