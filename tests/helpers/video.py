"""Tiny clips, and the options of a tiny TecoGANModel run on them."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch

FRAMES = 3
SIDE = 32
FRNET = {'type': 'FRNet', 'nf': 8, 'nb': 3}
CHARBONNIER = {'type': 'CharbonnierLoss', 'loss_weight': 1.0, 'reduction': 'mean', 'eps': 1e-6}


def write_clip(folder: Path, frames: int, seed: int, side: int = 80) -> None:
    """A picture that moves by one pixel a frame."""
    folder.mkdir(parents=True)
    small = np.random.default_rng(seed).integers(0, 256, (side // 4, side // 4, 3), dtype=np.uint8)
    picture = cv2.resize(small, (side + frames, side), interpolation=cv2.INTER_CUBIC)
    for frame in range(frames):
        cv2.imwrite(str(folder / f'{frame:04d}.png'), picture[:, frame:frame + side])


def frvsr_options(clips: Path, run: Path) -> dict[str, Any]:
    """Options of a tiny run without discriminator, as BasicSR's parse_options leaves them."""
    return {
        'name': 'tiny', 'model_type': 'TecoGANModel', 'scale': 4, 'num_gpu': 0, 'manual_seed': 0, 'dist': False,
        'rank': 0, 'world_size': 1, 'is_train': True, 'auto_resume': False,
        'datasets': {
            'train': {'name': 'clips', 'type': 'TecoGANTrainDataset', 'phase': 'train', 'scale': 4,
                      'dataroot_gt': str(clips), 'num_frame': FRAMES, 'gt_size': SIDE, 'num_worker_per_gpu': 0,
                      'batch_size_per_gpu': 2},
            'val': {'name': 'clips', 'type': 'TecoGANTestDataset', 'phase': 'val', 'scale': 4,
                    'dataroot_gt': str(clips)},
        },
        'network_g': dict(FRNET),
        'path': {'pretrain_network_g': None, 'resume_state': None, 'experiments_root': str(run),
                 'models': str(run / 'models'), 'training_states': str(run / 'training_states'), 'log': str(run),
                 'visualization': str(run / 'visualization')},
        'train': {
            'ema_decay': 0.9, 'optim_g': {'type': 'Adam', 'lr': 1e-3}, 'total_iter': 4, 'warmup_iter': -1,
            'scheduler': {'type': 'MultiStepLR', 'milestones': [2], 'gamma': 0.5},
            'pixel_opt': dict(CHARBONNIER), 'warp_opt': dict(CHARBONNIER),
        },
        'val': {'val_freq': 2, 'save_img': False, 'suffix': None,
                'metrics': {'psnr': {'type': 'calculate_psnr'}, 'tof': {'type': 'calculate_tof'}}},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': False},
    }


def with_gan(opt: dict[str, Any]) -> dict[str, Any]:
    """The same with discriminator and ping-pong loss."""
    opt['network_d'] = {'type': 'SpatioTemporalDiscriminator', 'spatial_size': SIDE}
    opt['train'].update(
        optim_d={'type': 'Adam', 'lr': 1e-3}, pingpong_opt={**CHARBONNIER, 'loss_weight': 0.5},
        gan_opt={'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': 0.01}, adaptive_d=0.4)
    return opt


def clip_batch(seed: int) -> dict[str, torch.Tensor]:
    """The same batch for the same seed: gt (2, 3, 3, 40, 40), as TecoGANTrainDataset has it."""
    generator = torch.Generator().manual_seed(seed)
    return {'gt': torch.rand(2, FRAMES, 3, SIDE + 8, SIDE + 8, generator=generator)}


def train(model: Any, first: int, last: int) -> None:
    """Iterations `first` … `last`, each on its own batch."""
    for iteration in range(first, last + 1):
        model.update_learning_rate(iteration)
        model.feed_data(clip_batch(iteration))
        model.optimize_parameters(iteration)
