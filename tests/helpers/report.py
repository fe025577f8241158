"""Invented evaluations, as `basicsr-kd evaluate --json` writes them, and the pictures that belong to them."""
from __future__ import annotations

import copy
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import cv2
import numpy as np

SET14, BSD100 = [f'img_{index:03d}' for index in range(1, 15)], [f'{index}' for index in range(101, 201)]
DEVICE = {'name': 'AMD EPYC 7B13', 'type': 'cpu', 'threads': 2, 'torch': '2.9.0'}
SIZES = {'teacher': (16_697_987, 68.4e9), 'pruned': (11_686_467, 49.0e9), 16: (6_538_115, 24.9e9),
         32: (9_588_355, 37.8e9), 48: (12_974_979, 52.2e9)}


def protocol(**changes: Any) -> dict[str, Any]:
    channel = changes.get('channel', 'rgb')
    return {'scale': 4, 'border': 4, 'channel': channel, 'lpips_net': 'alex',
            'text': f'x4. PSNR and SSIM on {channel.upper()}, LPIPS with alex, 4 border pixels left out.', **changes}


def scores(images: Sequence[str], psnr: float, fid: float | None = None, kid: float | None = None) -> dict[str, Any]:
    """Figures of one set; SSIM and LPIPS follow PSNR, images differ by tenths."""
    offsets = np.linspace(-0.5, 0.5, len(images))
    means = {'psnr': psnr, 'ssim': 0.6 + (psnr - 20) / 50, 'lpips': 0.6 - (psnr - 20) / 15}
    found: dict[str, Any] = {
        'images': {metric: {name: mean + offset / 10 for name, offset in zip(images, offsets, strict=True)}
                   for metric, mean in means.items()}, 'mean': means}
    if fid is not None:
        found['fid'] = {'value': fid, 'samples': len(images)}
    if kid is not None:
        found['kid'] = {'value': kid, 'low': kid - 0.002, 'high': kid + 0.002, 'floor': 0.0003, 'floor_low': -0.0008,
                        'floor_high': 0.0014, 'patches': 40 * len(images)}
    return found


def method(name: str, psnr: float, size: Any = None, sets: dict[str, list[str]] | None = None,
           **about: Any) -> dict[str, Any]:
    """A row; BSD100 has 0.3 dB less than Set14 and so on."""
    sets = {'Set14': SET14, 'BSD100': BSD100} if sets is None else sets
    params, macs = SIZES[size] if size else (0, 0.0)
    cost = {'complexity': None, 'speed': {}} if not size else {
        'complexity': {'params': params, 'params_nonzero': params - 7, 'macs': macs, 'activations': macs / 40,
                       'lr_size': [64, 64], 'file_bytes': 4 * params + 9000, 'counter': 'mmengine'},
        'speed': {'fp32': {'seconds': [macs * 0.97e-10, macs * 1e-10, macs * 1.06e-10], 'peak_bytes': 900_000_000,
                           'lr_size': [64, 64]}}}
    return {'name': name, 'kind': 'network' if size else 'bicubic', 'file': f'{name}.pth' if size else None,
            'network': {'type': 'SlimRRDBNet', 'num_feat': size} if isinstance(size, int) else None,
            'about': about, **cost,
            'scores': {set_name: scores(images, psnr - 0.3 * index, 90 - psnr, (30 - psnr) / 500)
                       for index, (set_name, images) in enumerate(sets.items())}}


def student(features: int, pruned: float, seed: int, psnr: float, role: str = 'student') -> dict[str, Any]:
    short = {'student': 'Student', 'student_l1': 'L1', 'student_without_distillation': 'Twin'}[role]
    group = f'{short}_{features}' + (f' from {pruned:g}' if role == 'student' and pruned != 0.3 else '')
    about = {'role': role, 'features': features, 'seed': seed, 'iterations': 100_000, 'group': group}
    if role == 'student':
        about['pruned'] = pruned
    return method(f'{group}_seed{seed}', psnr + 0.02 * seed, features, **about)


def evaluation(methods: list[dict[str, Any]] | None = None, **changes: Any) -> dict[str, Any]:
    """A whole evaluation with every role, three seeds of some students, two sets."""
    if methods is None:
        methods = [
            student(48, 0.3, 0, 25.72), *(student(16, 0.3, seed, 25.60) for seed in range(3)),
            method('ESRGAN', 24.60, 'teacher', role='teacher', iterations=400_000),
            method('Teacher_0.3', 24.81, 'pruned', role='pruned_teacher', pruned=0.3, iterations=100_000),
            *(student(16, pruned, 0, psnr) for pruned, psnr in ((0.0, 25.55), (0.5, 25.51), (0.8, 25.30))),
            *(student(16, 0.3, seed, 25.58, 'student_without_distillation') for seed in range(3)),
            *(student(16, 0.3, seed, 25.95, 'student_l1') for seed in range(3)),
            student(32, 0.3, 0, 25.66), method('bicubic', 24.64)]
    return copy.deepcopy({
        'format': 'basicsr-kd evaluation 1', 'protocol': protocol(), 'device': DEVICE,
        'sets': [{'name': 'Set14', 'images': SET14, 'hr': 'datasets/Set14/HR', 'lr': 'datasets/Set14/LRx4'},
                 {'name': 'BSD100', 'images': BSD100, 'hr': 'datasets/BSD100/HR', 'lr': 'datasets/BSD100/LRx4'}],
        'left_out': {'niqe': 'images are smaller than 192x192'}, 'skipped': {},
        'warnings': ['Set14: FID on 14 images is mostly bias; it takes 2,048.'], 'methods': methods, **changes})


def write(path: Path, content: Any) -> Path:
    path.write_text(json.dumps(content), 'utf-8')
    return path


def write_pictures(root: Path, names: Sequence[str], images: Sequence[str] = ('one', 'two'),
                   size: tuple[int, int] = (96, 128)) -> dict[str, Any]:
    """Ground truth, LR and a result of each method for a set 'Toy'; gives an evaluation of it.

    The photo 'two' has its detail in its lower right corner, 'one' has less of it.
    """
    rng = np.random.default_rng(0)
    for index, name in enumerate(images):
        hr = np.full((*size, 3), 100, np.uint8)
        hr[-72:-8, -72:-8] = rng.integers(100, 140 + 100 * min(index, 1), (64, 64, 3), dtype=np.uint8)
        _save(root / 'HR' / f'{name}.png', hr)
        _save(root / 'LR' / f'{name}x4.png', cv2.resize(hr, (size[1] // 4, size[0] // 4), interpolation=cv2.INTER_AREA))
        for shade, method_name in enumerate(names):
            _save(root / 'pictures' / method_name.replace('/', '_') / 'Toy' / f'{name}.png',
                  np.full((*size, 3), 10 * shade, np.uint8))
    sets = {'Toy': list(images)}
    return evaluation([method(name, 25 + index, 16 if name != 'bicubic' else None, sets)
                       for index, name in enumerate(names)],
                      sets=[{'name': 'Toy', 'images': list(images), 'hr': str(root / 'HR'), 'lr': str(root / 'LR')}])


def _save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
