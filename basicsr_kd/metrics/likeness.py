"""Likeness: how near a network's results are to those of the network that it was made from, beside bicubic's."""
from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import compress
from operator import not_
from typing import TypeVar

import numpy as np
import torch
from basicsr.utils import tensor2img
from torch import Tensor, nn

from basicsr_kd.errors import MissingExtraError
from basicsr_kd.metrics.bicubic import bicubic
from basicsr_kd.metrics.image_scores import image_score
from basicsr_kd.utils.metric_names import METRICS
from basicsr_kd.utils.modes import evaluating
from basicsr_kd.utils.text import markdown_table

SCORES = ('psnr', 'jod', 'texture')
_Images = TypeVar('_Images', Tensor, list[Tensor])
_BORDER = 4  # pixels left out on each side, as in `basicsr-kd evaluate --teacher`


@dataclass(frozen=True)
class Likeness:
    """Scores against the original's results by metric: PSNR in dB on Y, JOD, texture.

    Args:
        images: How many images were used.
        network: The scores of the smaller network.
        bicubic: The scores of bicubic enlargement.
        between: PSNR of the two against each other, in dB.
        missing: A sentence for each metric that could not be measured, with the reason.
    """
    images: int
    network: dict[str, float]
    bicubic: dict[str, float]
    between: float
    missing: tuple[str, ...] = ()

    def verdict(self) -> str:
        """A warning that no one should overlook; empty where all is well."""
        found, bicubic = self.network['psnr'], self.bicubic['psnr']
        if self.between > found:
            return (f'The result is nearer to bicubic enlargement ({self.between:.1f} dB) than to the original '
                    f'({found:.1f} dB): do not use it without training.')
        if found <= bicubic:
            return (f'The result is no nearer to the original ({found:.1f} dB) than bicubic enlargement is '
                    f'({bicubic:.1f} dB): do not use it without training.')
        return ''

    def words(self, kept_out: bool) -> str:
        """The table, what it was measured on, and the warning of `verdict`.

        Args:
            kept_out: Whether it was measured on calibration images that the network was not fitted to.
        """
        which = 'that were kept out' if kept_out else 'that it was fitted to, too few to keep some out'
        lines = [self.table(), f'On {self.images} calibration images {which}; clipped, 8 bits, {_BORDER} border pixels '
                 'left out.', *self.missing, self.verdict()]
        return '\n'.join(filter(None, lines))

    def table(self) -> str:
        """A table with a line for the network and one for bicubic."""
        rows = [[name, *(_shown(score, scores.get(score)) for score in self.network)]
                for name, scores in (('pruned', self.network), ('bicubic', self.bicubic))]
        titles = [f'{METRICS[score].column} {METRICS[score].arrow}' for score in self.network]
        return markdown_table(['like the original', *titles], rows)


def _shown(score: str, value: float | None) -> str:
    if value is None:
        return '-'
    return '∞' if value == math.inf else f'{value:.{METRICS[score].decimals}f}'


@torch.no_grad()
def likeness(original: nn.Module, network: nn.Module, images: Tensor) -> Likeness | None:
    """Compare the results of two networks on the same images, clipped and in 8 bits, without 4 pixels of border.

    Args:
        original: The network that stands for the truth.
        network: The network that was made from it.
        images: `(n, c, h, w)`, RGB or grey in [0, 1]; of clips `(n, t, c, h, w)`, of which the last frames count.

    Returns:
        Means over the images (for texture the median). None if the networks' results do not have the input's channels
        and a whole multiple of its size, or if nothing of the images is left without the border.
    """
    scores: dict[str, dict[str, list[float]]] = {'network': {}, 'bicubic': {}, 'between': {}}
    missing: dict[str, str] = {}
    with evaluating(original), evaluating(network):
        for image in images.split(1):
            lr, output = _last(image), _last(original(image))
            scale = output.shape[2] // lr.shape[2]
            if output.shape[1:] != (lr.shape[1], scale * lr.shape[2], scale * lr.shape[3]) or (
                    min(output.shape[2:]) <= 2 * _BORDER):
                return None
            truth, result = _picture(output), _picture(_last(network(image)))
            plain = bicubic(_picture(lr), scale)
            for pair, one, other in (('network', result, truth), ('bicubic', plain, truth), ('between', result, plain)):
                for name in SCORES if pair != 'between' else ('psnr',):
                    if min(truth.shape[:2]) - 2 * _BORDER < METRICS[name].smallest or name in missing:
                        continue
                    try:
                        value = image_score(name, one, other, border=_BORDER, channel='y', device='cpu')
                    except MissingExtraError as error:
                        missing[name] = str(error)
                        continue
                    if value is not None:
                        scores[pair].setdefault(name, []).append(value)
    found = {pair: {name: METRICS[name].of_set(values) for name, values in its.items()}
             for pair, its in scores.items()}
    return Likeness(len(images), found['network'], found['bicubic'], found['between']['psnr'],
                    tuple(missing.values()))


def _picture(images: Tensor) -> np.ndarray:
    return tensor2img(images.clone())  # a copy, since it clips in place


def _last(images: Tensor) -> Tensor:
    """The images, or the last frames of clips."""
    return images[:, -1] if images.dim() == 5 else images


def kept_out(images: _Images) -> tuple[_Images, _Images]:
    """Split images into those to work with and a quarter to judge by; fewer than four images are used for both."""
    if len(images) < 4:
        return images, images
    judged = [number % 4 == 0 for number in range(len(images))]
    if isinstance(images, Tensor):
        return images[~torch.tensor(judged)], images[judged]
    return list(compress(images, map(not_, judged))), list(compress(images, judged))
