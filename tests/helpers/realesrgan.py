"""Options and photos of tiny Real-ESRGAN runs."""
from __future__ import annotations

import copy
import random
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
from basicsr.data import build_dataset
from basicsr.models.realesrgan_model import RealESRGANModel
from basicsr.utils import DiffJPEG, USMSharp
from torch.utils.data import default_collate

KERNELS = ['iso', 'aniso', 'generalized_iso', 'generalized_aniso', 'plateau_iso', 'plateau_aniso']
SYNTHESIS = {
    'resize_prob': [0.2, 0.7, 0.1], 'resize_range': [0.15, 1.5], 'gaussian_noise_prob': 0.5, 'noise_range': [1, 30],
    'poisson_scale_range': [0.05, 3], 'gray_noise_prob': 0.4, 'jpeg_range': [30, 95], 'second_blur_prob': 0.8,
    'resize_prob2': [0.3, 0.4, 0.3], 'resize_range2': [0.3, 1.2], 'gaussian_noise_prob2': 0.5, 'noise_range2': [1, 25],
    'poisson_scale_range2': [0.05, 2.5], 'gray_noise_prob2': 0.4, 'jpeg_range2': [30, 95]
}
PHOTOS = {
    'blur_kernel_size': 21, 'kernel_list': KERNELS, 'kernel_prob': [0.45, 0.25, 0.12, 0.03, 0.12, 0.03],
    'sinc_prob': 0.1, 'blur_sigma': [0.2, 3], 'betag_range': [0.5, 4], 'betap_range': [1, 2], 'blur_kernel_size2': 21,
    'kernel_list2': KERNELS, 'kernel_prob2': [0.45, 0.25, 0.12, 0.03, 0.12, 0.03], 'sinc_prob2': 0.1,
    'blur_sigma2': [0.2, 1.5], 'betag_range2': [0.5, 4], 'betap_range2': [1, 2], 'final_sinc_prob': 0.8,
    'use_hflip': True, 'use_rot': False
}


def write_photos(folder: Path, count: int = 3, side: int = 96) -> Path:
    """Photos of smooth random colours."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for index in range(count):
        small = rng.integers(0, 256, (side // 16, side // 16, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / f'{index}.png'), cv2.resize(small, (side, side), interpolation=cv2.INTER_CUBIC))
    return folder


def photo_options(opt: dict[str, Any], photos: Path, model: str) -> dict[str, Any]:
    """Options of a run with pairs, made one of Real-ESRGAN: crops of 80, patches of 32 pixels, batches of 2."""
    opt = copy.deepcopy(opt)
    opt.update(copy.deepcopy(SYNTHESIS), model_type=model, gt_size=32, queue_size=4,
               network_d={'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 4})
    opt['datasets']['train'] = {
        **copy.deepcopy(PHOTOS), 'name': 'photos', 'type': 'RealESRGANDataset', 'dataroot_gt': str(photos),
        'io_backend': {'type': 'disk'}, 'phase': 'train', 'scale': 4, 'crop_size': 80, 'num_worker_per_gpu': 0,
        'batch_size_per_gpu': 2, 'dataset_enlarge_ratio': 10
    }
    return opt


def seed(number: int) -> None:
    random.seed(number)
    np.random.seed(number)
    torch.manual_seed(number)


def photo_batch(dataset: Any, number: int) -> dict[str, Any]:
    """A batch of two photos, the same for the same number."""
    seed(number)
    return default_collate([dataset[0], dataset[1]])


def train_on_photos(model: Any, first: int, last: int) -> None:
    """Iterations `first` … `last`, each on its own batch."""
    dataset = build_dataset(model.opt['datasets']['train'])
    for iteration in range(first, last + 1):
        model.update_learning_rate(iteration)
        model.feed_data(photo_batch(dataset, iteration))
        model.optimize_parameters(iteration)


class BasicSRModel(RealESRGANModel):
    """BasicSR's model as far as it makes low resolution; on a CPU, so with a JPEG whose memory is in order."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.opt, self.is_train, self.device = opt, True, torch.device('cpu')
        self.jpeger, self.usm_sharpener = DiffJPEG(differentiable=False), USMSharp()
        self.jpeger.register_forward_hook(lambda module, args, image: image.contiguous())
        self.queue_size = opt['queue_size']
