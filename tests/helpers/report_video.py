"""Invented evaluations of clips, as `basicsr-kd evaluate --json` writes them, and the frames that belong to them."""
from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from helpers.report import evaluation

VID4 = {'calendar': 37, 'city': 30, 'foliage': 45, 'walk': 43}
"""Frames of each clip that are scored: without the first and last two."""
FNET, SRNET = 1_745_506, {10: 843_587, 5: 474_307}
MACS = {10: 47.2e9, 5: 31.4e9}
PROTOCOL = {'scale': 4, 'border': 0, 'channel': 'y', 'lpips_net': 'alex', 'clips': 'official',
            'text': "x4; TecoGAN's official protocol; PSNR (dB) on Y of BT.601; tOF (pixels)."}


def frames(clips: Mapping[str, int]) -> list[str]:
    return [f'{clip}/{index:04d}' for clip, count in clips.items() for index in range(2, count + 2)]


def scores(clips: Mapping[str, int], psnr: float) -> dict[str, Any]:
    """Figures of one set: each clip has 1 dB more than the one before, and one figure in all its frames."""
    found: dict[str, Any] = {'images': {}, 'mean': {}, 'clips': {}}
    for metric, first in {'psnr': psnr, 'lpips': 0.9 - psnr / 40, 'tof': 1.2 - psnr / 26, 'tlp': 30 - psnr}.items():
        by_clip = {clip: first + (index if metric == 'psnr' else 0) for index, clip in enumerate(clips)}
        values = {name: by_clip[name.split('/')[0]] for name in frames(clips)}
        found['mean'][metric] = sum(values.values()) / len(values)
        found['images'][metric], found['clips'][metric] = values, by_clip
        if metric in ('tof', 'tlp'):
            values |= {f'{clip}/0002': None for clip in clips}  # of pairs of frames
    return found


def network(name: str, blocks: int, psnr: float, clips: Mapping[str, int] = VID4, **about: Any) -> dict[str, Any]:
    """An FRNet's row."""
    params = FNET + SRNET[blocks]
    parts = {'fnet': {'params': FNET, 'macs': 5.2e9}, 'srnet': {'params': SRNET[blocks], 'macs': MACS[blocks] - 5.2e9}}
    return {'name': name, 'kind': 'network', 'file': f'{name}.pth', 'network': {'type': 'FRNet', 'nb': blocks},
            'about': about, 'scores': {'Vid4': scores(clips, psnr)},
            'complexity': {'params': params, 'params_nonzero': params, 'macs': MACS[blocks], 'activations': 1e9,
                           'lr_size': [134, 320], 'file_bytes': 4 * params, 'counter': 'mmengine', 'parts': parts},
            'speed': {'fp32': {'seconds': [MACS[blocks] * 1e-11] * 3, 'peak_bytes': None, 'lr_size': [134, 320]}}}


def bicubic(clips: Mapping[str, int] = VID4) -> dict[str, Any]:
    return {'name': 'bicubic', 'kind': 'bicubic', 'complexity': None, 'speed': {},
            'scores': {'Vid4': scores(clips, 22.1)}}


def video_evaluation(methods: list[dict[str, Any]] | None = None, clips: Mapping[str, int] = VID4,
                     hr: str = 'datasets/Vid4/GT', **changes: Any) -> dict[str, Any]:
    """A whole evaluation of one set of clips: bicubic, 10 blocks, 5 blocks with and without distillation."""
    if methods is None:
        methods = [bicubic(clips), network('distilled', 5, 24.2, clips, role='student'),
                   network('pruned', 5, 23.9, clips, role='pruned_teacher'),
                   network('whole', 10, 24.5, clips, role='teacher')]
    sets = [{'name': 'Vid4', 'images': frames(clips), 'hr': hr, 'lr': None, 'clips': list(clips)}]
    return evaluation(methods, sets=sets, **{'protocol': PROTOCOL, 'left_out': {}, 'warnings': [], **changes})


def write_frames(root: Path, clips: Mapping[str, int] | None = None, excess: int = 0) -> dict[str, Any]:
    """Ground truth and results of clips in which a bright column moves by a pixel a frame; gives an evaluation.

    Args:
        excess: rows that results have more.
    """
    clips = {'one': 6, 'two': 8} if clips is None else clips
    content = video_evaluation(clips=clips, hr=str(root / 'GT'))
    for name in frames(clips):
        index = int(name.split('/')[1])
        truth = np.full((70, 90, 3), 90, np.uint8)
        truth[:, 30 + index] = (0, 128, 255)  # BGR: orange
        _save(root / 'GT' / f'{name}.png', truth)
        for shade, method in enumerate(content['methods']):
            _save(root / 'pictures' / method['name'] / 'Vid4' / f'{name}.png',
                  np.full((70 + excess, 90, 3), 10 * shade, np.uint8))
    return content


def _save(path: Path, image: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    cv2.imwrite(str(path), image)
