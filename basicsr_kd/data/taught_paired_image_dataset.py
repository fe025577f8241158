"""BasicSR's PairedImageDataset whose samples also hold the teacher's output."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from basicsr.data.transforms import augment, paired_random_crop
from basicsr.utils import FileClient, imfrombytes, img2tensor
from torch import Tensor

from basicsr_kd.data.cached_paired_image_dataset import files_of
from basicsr_kd.data.named_paired_image_dataset import NamedPairedImageDataset
from basicsr_kd.data.ram import RamImages
from basicsr_kd.data.teacher_outputs import TeacherOutputs, decoded


class TaughtPairedImageDataset(NamedPairedImageDataset):
    """PairedImageDataset for training, with the same crops, flips and turns, also of the teacher's output.

    Users do not name it: `basicsr_kd.preflight` puts it in the place of a PairedImageDataset with `teacher: cache:
    outputs`.

    Args:
        opt: A section of `datasets:`; the keys are BasicSR's, `cache`, and `teacher_outputs`, the outputs' folder.

    Raises:
        BadImageError: With `cache: ram`, an image cannot be read.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__(opt)
        if opt.get('cache') == 'ram':
            self.file_client = RamImages(*files_of(self))
        self._outputs = TeacherOutputs(opt['teacher_outputs'])

    def sample(self, index: int) -> dict[str, Tensor | str]:
        """`lq`, `gt` and `teacher`, (3, h, w) RGB, about 0 to 1, and the paths of the first two."""
        if self.file_client is None:  # each worker has its own
            backend = dict(self.io_backend_opt)
            self.file_client = FileClient(backend.pop('type'), **backend)
        paths = self.paths[index % len(self.paths)]
        gt = imfrombytes(self.file_client.get(paths['gt_path'], 'gt'), float32=True)
        low = decoded((paths['lq_path'], 'lq'), self.file_client)
        teacher = self._outputs.read(low)
        (gt, teacher), lq = paired_random_crop([gt, teacher], low.astype(np.float32) / 255, self.opt['gt_size'],
                                               self.opt['scale'], paths['gt_path'])
        images = augment([gt, lq, np.array(teacher, np.float32)], self.opt['use_hflip'], self.opt['use_rot'])
        gt, lq, teacher = img2tensor(images, bgr2rgb=True, float32=True)
        return {'lq': lq, 'gt': gt, 'teacher': teacher, **paths}
