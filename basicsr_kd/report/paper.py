"""The figures of the paper (J. Broadcast Engineering 29(6), 2024), and where they may stand beside ours."""
from __future__ import annotations

import math
from dataclasses import dataclass

from basicsr_kd.report.evaluations import Runs
from basicsr_kd.report.methods import MethodGroup

SETS = ('BSD100', 'Set14', 'KHU', 'MIV', 'VRroom', 'Urban100')
IMAGES = {'BSD100': 100, 'Set14': 14, 'Urban100': 100}
"""How many images the public sets have; the others are not available, and their sizes are not stated."""
FID_SAMPLES = 2048  # Inception features; FID of fewer images is mostly bias, so two such figures do not compare
_TOLERANCE = 0.02  # relative, for parameters, which the paper rounds


@dataclass(frozen=True)
class Model:
    """A model of the paper."""

    role: str
    parameters: float
    features: int | None = None


MODELS = {'Teacher_0.3': Model('pruned_teacher', 11.7e6), 'Student_16': Model('student', 6.5e6, 16),
          'Student_32': Model('student', 9.6e6, 32), 'Student_48': Model('student', 12.9e6, 48)}

TABLE_1 = {0.0: {'ssim': 0.78, 'fid': 126.79}, 0.3: {'ssim': 0.78, 'fid': 104.99}, 0.5: {'ssim': 0.78, 'fid': 127.48},
           0.8: {'ssim': 0.77, 'fid': 123.16}}
"""Student_16's averages over all of `SETS`, by how far its teacher was pruned."""

TABLE_2 = {
    'Teacher_0.3': {
        'psnr': (24.24, 24.81, 27.95, 22.03, 28.78, 21.39), 'ssim': (0.66, 0.70, 0.83, 0.69, 0.86, 0.67),
        'fid': (63.66, 6.42, 194.11, 74.06, 135.72, 71.83), 'lpips': (0.16, 0.12, 0.09, 0.13, 0.08, 0.15)},
    'Student_16': {
        'psnr': (25.34, 25.57, 29.73, 23.20, 29.78, 22.24), 'ssim': (0.71, 0.75, 0.87, 0.74, 0.90, 0.70),
        'fid': (64.71, 9.80, 160.66, 154.91, 114.95, 124.91), 'lpips': (0.33, 0.24, 0.16, 0.28, 0.12, 0.26)},
    'Student_32': {
        'psnr': (25.37, 25.58, 29.69, 23.20, 29.72, 22.25), 'ssim': (0.70, 0.74, 0.86, 0.74, 0.90, 0.70),
        'fid': (96.71, 11.26, 176.85, 155.26, 129.16, 201.91), 'lpips': (0.33, 0.24, 0.17, 0.28, 0.13, 0.25)},
    'Student_48': {
        'psnr': (25.34, 25.67, 29.64, 23.19, 30.00, 22.28), 'ssim': (0.70, 0.75, 0.87, 0.74, 0.90, 0.70),
        'fid': (59.41, 10.16, 147.34, 149.33, 134.40, 113.05), 'lpips': (0.32, 0.23, 0.16, 0.27, 0.12, 0.25)},
}
"""Figures by model and metric, one for each of `SETS`; the teacher is always the one pruned by 0.3."""

SHOWN = ("In parentheses the paper's figures (J. Broadcast Engineering 29(6), 2024), where model and images are the "
         'same. The paper does not say how it measured: its PSNR fits RGB, and LPIPS is taken to be that of AlexNet. '
         'Its averages are recomputed over the sets of this report.')
NOT_SHOWN = ("None of the paper's figures (J. Broadcast Engineering 29(6), 2024) compares with these. That takes its "
             'models at full size (Teacher_0.3 and its students), its sets with all their images (BSD100, Set14, '
             f'Urban100), x4, RGB, border 4, LPIPS of AlexNet; and for FID {FID_SAMPLES:,} images.')


def beside(runs: Runs, method: MethodGroup, metric: str, name: str) -> float | None:
    """The paper's figure for this method and metric on this set; None if the paper has none that compares."""
    model = _model(method)
    if model is None or method.about.pruned != 0.3 or not _comparable(runs, method, metric, name):
        return None
    return TABLE_2[model][metric][SETS.index(name)]


def average_beside(runs: Runs, method: MethodGroup, metric: str) -> float | None:
    """The paper's average over the sets of this report; None if the paper has none that compares."""
    names = [images.name for images in runs.sets]
    found = [value for name in names if (value := beside(runs, method, metric, name)) is not None]
    if len(found) == len(names):
        return math.fsum(found) / len(found)
    every_set = set(names) == set(SETS) and all(_comparable(runs, method, metric, name) for name in names)
    if every_set and _model(method) == 'Student_16' and method.about.pruned in TABLE_1:
        return TABLE_1[method.about.pruned].get(metric)  # Table 1 has averages only, no figures by set
    return None


def _model(method: MethodGroup) -> str | None:
    """The method's name in the paper, if it is one of the paper's models at full size."""
    # 30 % of the weights at zero is one reading of the paper's pruning, so either count may be the paper's
    counts = [values[0] for values in (method.counts('params'), method.counts('params_nonzero')) if values]
    return next((name for name, model in MODELS.items() if method.about.role == model.role
                 and model.features in (None, method.about.features)
                 and any(abs(count / model.parameters - 1) < _TOLERANCE for count in counts)), None)


def _comparable(runs: Runs, method: MethodGroup, metric: str, name: str) -> bool:
    """Whether the images and, as far as it is known, the protocol are those of the paper."""
    images = next(len(images.images) for images in runs.sets if images.name == name)
    protocol = runs.protocol
    return name in SETS and IMAGES.get(name, images) == images and (protocol.scale, protocol.border) == (4, 4) and {
        'psnr': protocol.channel == 'rgb', 'ssim': protocol.channel == 'rgb', 'lpips': protocol.lpips_net == 'alex',
        'fid': method.samples(name) >= FID_SAMPLES}.get(metric, False)
