"""Measures a network on sets of images: PSNR, SSIM and NIQE, and LPIPS where the weights it needs can be had."""
import contextlib
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from basicsr.utils import tensor2img
from common.measure import BORDER, SCALE, Pair, read_set
from torch import nn

from basicsr_kd.errors import BackboneError
from basicsr_kd.metrics.bicubic import bicubic
from basicsr_kd.metrics.image_scores import image_score
from basicsr_kd.metrics.lpips import lpips_network
from basicsr_kd.utils.arrays import as_tensor
from studies.ablation.run import StoppedError

METRICS: dict[str, tuple[str, Literal['y', 'rgb']]] = {
    'psnr_y': ('psnr', 'y'), 'psnr_rgb': ('psnr', 'rgb'), 'ssim': ('ssim', 'y'), 'niqe': ('niqe', 'y'),
    'lpips': ('lpips', 'rgb')}
Scores = dict[str, dict[str, float | None]]
"""By metric and image; None where a metric is not defined."""


def protocol(metrics: Sequence[str]) -> str:
    """The sentences that every figure needs beside it."""
    lpips = 'LPIPS with AlexNet, RGB.' if 'lpips' in metrics else (
        'No LPIPS: the AlexNet weights it needs could not be had.')
    return (f'PSNR in dB, higher is better, as SSIM (on Y); NIQE (on Y) and LPIPS: lower is better. {BORDER} border '
            f'pixels left out, 8-bit images, mean over the images of a set. {lpips}')


def read_sets(folders: Mapping[str, tuple[Path, Path]]) -> dict[str, list[Pair]]:
    """Images of every set from its HR and LR folders.

    Raises:
        QualityError: they are no pairs.
    """
    return {name: read_set(hr, lr) for name, (hr, lr) in folders.items()}


class Evaluator:
    """Measures, in any thread.

    Args:
        sets: images by set.
        stopped: ends a measurement at the next image.
    """

    def __init__(self, sets: Mapping[str, Sequence[Pair]], stopped: threading.Event) -> None:
        self.sets = sets
        self.device = 'cuda' if torch.cuda.is_available() else 'cpu'
        self._stopped = stopped
        self._lpips: nn.Module | None = None
        with contextlib.suppress(BackboneError):
            self._lpips = lpips_network(device=self.device)

    @property
    def metrics(self) -> list[str]:
        return [name for name in METRICS if name != 'lpips' or self._lpips]

    def scores(self, net: nn.Module | None, name: str) -> Scores:
        """All metrics of a network on a set; of bicubic enlargement where there is no network.

        Raises:
            StoppedError: the whole ablation is being ended.
        """
        result: Scores = {metric: {} for metric in self.metrics}
        for pair, output in self._outputs(net, name):
            for metric, values in result.items():
                values[pair.name] = self._score(metric, output, pair)
        return result

    def psnr_y(self, net: nn.Module, name: str) -> float:
        """Mean PSNR on Y alone, for curves."""
        return float(np.mean([self._score('psnr_y', output, pair) for pair, output in self._outputs(net, name)]))

    def _score(self, metric: str, output: np.ndarray, pair: Pair) -> float | None:
        name, channel = METRICS[metric]
        return image_score(name, output, pair.hr, border=BORDER, channel=channel, lpips=self._lpips)

    def _outputs(self, net: nn.Module | None, name: str):
        torch.set_num_threads(1)  # each thread of the ablation has one core
        network = net and net.eval().to(self.device).to(memory_format=torch.channels_last)
        for pair in self.sets[name]:
            if self._stopped.is_set():
                raise StoppedError
            yield pair, self._enlarged(network, pair.lr) if network else bicubic(pair.lr, SCALE)

    @torch.inference_mode()
    def _enlarged(self, network: nn.Module, lr: np.ndarray) -> np.ndarray:
        return tensor2img(network(as_tensor(lr).to(self.device, memory_format=torch.channels_last)))
