"""Shared by the tests of installation and entry points: commands in fresh processes, and a stock BasicSR training."""

import os
import socket
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import yaml

REPOSITORY = Path(__file__).resolve().parents[2]


def run_python(*args: str | Path, cwd: Path, python: str | Path = sys.executable,
               **environment: str) -> subprocess.CompletedProcess[str]:
    """Runs a Python without GPU and with one thread; the caller's PYTHONPATH and autoload switch do not reach it."""
    env = {key: value for key, value in os.environ.items() if key not in ('PYTHONPATH', 'BASICSR_KD_AUTOLOAD')}
    env.update(OMP_NUM_THREADS='1', CUDA_VISIBLE_DEVICES='', **environment)
    return subprocess.run([str(python), *map(str, args)], cwd=cwd, env=env, text=True, capture_output=True)


def free_port() -> int:
    with socket.socket() as server:
        server.bind(('127.0.0.1', 0))
        return server.getsockname()[1]


def write_images(folder: Path, count: int = 2, lq_size: int = 16) -> None:
    """Random 4x pairs as PNG: `folder/gt` (64 x 64) and `folder/lq` (16 x 16)."""
    rng = np.random.default_rng(0)
    for kind, size in (('gt', 4 * lq_size), ('lq', lq_size)):
        (folder / kind).mkdir(parents=True)
        for index in range(count):
            cv2.imwrite(str(folder / kind / f'{index}.png'), rng.integers(0, 256, (size, size, 3), dtype=np.uint8))


FILLED_IN = ('experiments_root', 'models', 'training_states', 'log', 'visualization')


def stock_options(name: str, data: Path, iterations: int = 2) -> dict:
    """Options of BasicSR's own SRModel with a tiny network on `write_images`' folder, validation and logs included."""
    pairs = {'name': 'pairs', 'type': 'PairedImageDataset', 'dataroot_gt': str(data / 'gt'),
             'dataroot_lq': str(data / 'lq'), 'io_backend': {'type': 'disk'}}
    loading = {'gt_size': 32, 'use_hflip': True, 'use_rot': True, 'num_worker_per_gpu': 0, 'batch_size_per_gpu': 1,
               'dataset_enlarge_ratio': 10}
    metric = {'psnr': {'type': 'calculate_psnr', 'crop_border': 4, 'test_y_channel': True}}
    return {
        'name': name, 'model_type': 'SRModel', 'scale': 4, 'num_gpu': 0, 'manual_seed': 0,
        'datasets': {'train': {**pairs, **loading}, 'val': dict(pairs)},
        'network_g': {'type': 'MSRResNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1,
                      'upscale': 4},
        'path': {'pretrain_network_g': None, 'strict_load_g': True, 'resume_state': None},
        'train': {'ema_decay': 0.9, 'optim_g': {'type': 'Adam', 'lr': 1e-4},
                  'scheduler': {'type': 'MultiStepLR', 'milestones': [1000], 'gamma': 0.5},
                  'total_iter': iterations, 'pixel_opt': {'type': 'L1Loss'}},
        'val': {'val_freq': 2, 'save_img': True, 'metrics': metric},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 1, 'use_tb_logger': True, 'wandb': None},
    }


def stock_test_options(name: str, data: Path, network: Path) -> dict:
    """Options of BasicSR's test for a network that `stock_options` trained."""
    train = stock_options(name, data)
    return {
        'name': name, 'model_type': 'SRModel', 'scale': 4, 'num_gpu': 0, 'manual_seed': 0,
        'datasets': {'test_1': train['datasets']['val']}, 'network_g': train['network_g'],
        'path': {'pretrain_network_g': str(network), 'param_key_g': 'params_ema', 'strict_load_g': True},
        'val': {'save_img': True, 'suffix': None, 'metrics': train['val']['metrics']},
    }


def write_options(path: Path, options: dict) -> Path:
    """An options file, without what `parse_options` fills in."""
    if 'path' in options:
        options = {**options, 'path': {key: value for key, value in options['path'].items() if key not in FILLED_IN}}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(yaml.safe_dump(options, sort_keys=False))
    return path
