"""BasicSR's RealESRGANDataset, made to work with a plain folder of photos and on a CPU."""
from __future__ import annotations

import os
import random
from collections.abc import Mapping
from typing import Any

from basicsr.data.realesrgan_dataset import RealESRGANDataset

from basicsr_kd.data.broken_images import NamesBroken
from basicsr_kd.options.realesrgan import CROP
from basicsr_kd.utils.images import image_files


class RealESRGANPhotoDataset(NamesBroken, RealESRGANDataset):
    """RealESRGANDataset that needs no list of files and can take other crop sizes; otherwise the samples are the same.

    Users do not name it: `basicsr_kd.preflight` puts it in the place of a RealESRGANDataset.

    Args:
        opt: A section of `datasets:` with BasicSR's keys. Without `meta_info`, all photos of `dataroot_gt` are taken.
            `crop_size` is the side of the crop that low resolution is made of, 400 in BasicSR; a smaller one takes
            less time, and need only be larger than `gt_size` so that the final crops vary.

    Raises:
        EvaluationError: The folder has no photos.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        listed = opt['io_backend']['type'] == 'lmdb' or opt.get('meta_info') is not None
        super().__init__(opt if listed else {**opt, 'meta_info': os.devnull})
        if not listed:
            self.paths = [str(path) for path in image_files(opt['dataroot_gt'])]
        self.crop_size = opt['crop_size']

    def sample(self, index: int) -> dict[str, Any]:
        sample = super().sample(index)
        if self.crop_size < CROP:
            top, left = random.randint(0, CROP - self.crop_size), random.randint(0, CROP - self.crop_size)
            sample['gt'] = sample['gt'][:, top:top + self.crop_size, left:left + self.crop_size]
        return sample
