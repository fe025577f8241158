"""Shared fixtures: tiny networks, images and options; the real ones come from the folder in BASICSR_KD_DATA."""
from __future__ import annotations

import copy
import logging
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import basicsr  # noqa: F401  (its import registers the plugin)
import cv2
import numpy as np
import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from helpers.infer import write_inputs
from helpers.networks import TINY
from helpers.real import real_checkpoints
from helpers.video import frvsr_options, with_gan, write_clip

from basicsr_kd.cli.main import main


@pytest.fixture(autouse=True)
def _same_seed_in_every_test() -> None:
    torch.manual_seed(0)
    np.random.seed(0)


@pytest.fixture
def log() -> Any:
    """What BasicSR's logger is given, line by line."""
    lines: list[str] = []
    handler = logging.Handler()
    handler.emit = lambda record: lines.extend(record.getMessage().splitlines())  # type: ignore[method-assign]
    logger = logging.getLogger('basicsr')
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel('INFO')
    yield lines
    logger.removeHandler(handler)
    logger.setLevel(level)


@pytest.fixture(scope='session')
def data_root() -> Path:
    root = os.environ.get('BASICSR_KD_DATA')
    if not root:
        pytest.skip('BASICSR_KD_DATA is not set: the folder with Set5, Set14, BSDS400 and weights')
    return Path(root)


@pytest.fixture(scope='session')
def real_networks(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """The checkpoints of Real-ESRGAN's networks, 'RealESRGAN_x4plus' and others; empty without them."""
    return real_checkpoints(tmp_path_factory.mktemp('real'))


@pytest.fixture(scope='session')
def real_network(real_networks: dict[str, Path]) -> Callable[[str], Path]:
    """Gives one of these checkpoints; skips without them."""
    def find(name: str) -> Path:
        if not real_networks:
            pytest.skip("Real-ESRGAN's networks are not on this machine: python scripts/real_networks.py fetches them")
        return real_networks[name]

    return find


@pytest.fixture(scope='session')
def image_pairs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with HR (144x144) and LRx4 (36x36) PNGs of smooth random colours."""
    root = tmp_path_factory.mktemp('pairs')
    rng = np.random.default_rng(0)
    for name in ('HR', 'LRx4'):
        (root / name).mkdir()
    for index in range(3):
        small = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
        hr = cv2.resize(small, (144, 144), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(root / 'HR' / f'{index}.png'), hr)
        cv2.imwrite(str(root / 'LRx4' / f'{index}.png'), cv2.resize(hr, (36, 36), interpolation=cv2.INTER_AREA))
    return root


@pytest.fixture(scope='session')
def teacher_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny trained-looking RRDBNet as BasicSR saves it."""
    torch.manual_seed(1)
    net = RRDBNet(**{key: value for key, value in TINY.items() if key != 'type'})
    for parameter in net.parameters():
        parameter.data.add_(torch.randn_like(parameter) * 0.05)
    path = tmp_path_factory.mktemp('teacher') / 'teacher.pth'
    torch.save({'params': net.state_dict(), 'params_ema': net.state_dict()}, path)
    return path


@pytest.fixture
def kd_opt(image_pairs: Path, teacher_file: Path, tmp_path: Path) -> dict[str, Any]:
    """Options of a tiny KDGANModel run with discriminator, as BasicSR's parse_options leaves them."""
    optim = {'type': 'Adam', 'lr': 1e-3, 'betas': [0.9, 0.99]}
    data = {'name': 'pairs', 'type': 'PairedImageDataset', 'dataroot_gt': str(image_pairs / 'HR'),
            'dataroot_lq': str(image_pairs / 'LRx4'), 'io_backend': {'type': 'disk'}}
    return copy.deepcopy({
        'name': 'tiny', 'model_type': 'KDGANModel', 'scale': 4, 'num_gpu': 0, 'manual_seed': 0, 'dist': False,
        'rank': 0, 'world_size': 1, 'is_train': True, 'auto_resume': False,
        'datasets': {
            'train': {**data, 'phase': 'train', 'scale': 4, 'gt_size': 128, 'use_hflip': True, 'use_rot': True,
                      'num_worker_per_gpu': 0, 'batch_size_per_gpu': 2, 'dataset_enlarge_ratio': 4},
            'val': {**data, 'phase': 'val', 'scale': 4},
        },
        'network_g': {**TINY, 'type': 'SlimRRDBNet', 'num_feat': 4},
        'network_d': {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 2},
        'teacher': {'path': str(teacher_file)},
        'path': {'pretrain_network_g': None, 'pretrain_network_d': None, 'resume_state': None,
                 'experiments_root': str(tmp_path / 'run'), 'models': str(tmp_path / 'run' / 'models'),
                 'training_states': str(tmp_path / 'run' / 'training_states'), 'log': str(tmp_path / 'run'),
                 'visualization': str(tmp_path / 'run' / 'visualization')},
        'train': {
            'ema_decay': 0.9, 'optim_g': dict(optim), 'optim_d': dict(optim), 'total_iter': 4, 'warmup_iter': -1,
            'scheduler': {'type': 'MultiStepLR', 'milestones': [2], 'gamma': 0.5},
            'pixel_opt': {'type': 'L1Loss', 'loss_weight': 1.0, 'reduction': 'mean'},
            'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanilla', 'loss_weight': 5e-3},
            'net_d_init_iters': 0,
            'distill_opt': {'type': 'FeatureDistillLoss', 'loss_weight': 1e-2},
        },
        'val': {'val_freq': 2, 'save_img': False, 'suffix': None,
                'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 4}}},
        'logger': {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': False},
    })


@pytest.fixture
def prune_opt(kd_opt: dict[str, Any], teacher_file: Path) -> dict[str, Any]:
    """Options of a tiny PruneGANModel run."""
    for key in ('teacher', 'distill_opt'):
        (kd_opt if key in kd_opt else kd_opt['train']).pop(key)
    kd_opt.update(model_type='PruneGANModel', network_g=dict(TINY), prune={'ratio': 0.3, 'round_to': 1})
    kd_opt['path']['pretrain_network_g'] = str(teacher_file)
    return kd_opt


@pytest.fixture(scope='session')
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with two clips of 7 and 8 frames of 80x80 pixels."""
    root = tmp_path_factory.mktemp('clips')
    for name, frames in (('walk', 7), ('city', 8)):
        write_clip(root / name, frames, seed=frames)
    return root


@pytest.fixture
def frvsr_opt(clips: Path, tmp_path: Path) -> dict[str, Any]:
    """Options of a tiny TecoGANModel run without discriminator."""
    return frvsr_options(clips, tmp_path / 'run')


@pytest.fixture
def teco_opt(frvsr_opt: dict[str, Any]) -> dict[str, Any]:
    """Options of a tiny TecoGANModel run with discriminator and ping-pong loss."""
    return with_gan(copy.deepcopy(frvsr_opt))


@pytest.fixture
def clip_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working directory, with the inputs of `helpers.infer`."""
    monkeypatch.chdir(tmp_path)
    write_inputs()
    return tmp_path


@pytest.fixture
def infer_tool(clip_folder: Path, capfd: pytest.CaptureFixture) -> Any:
    """Runs `basicsr-kd infer` on the CPU: exit status, stdout, stderr (of OpenCV and FFmpeg too)."""
    def run(*args: Any) -> Any:
        try:
            status = main(['infer', '--device', 'cpu', *map(str, args)])
        except SystemExit as error:  # argparse
            status = error.code
        return status, *capfd.readouterr()
    return run
