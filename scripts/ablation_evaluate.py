"""Measures a network on sets of images: BasicSR's PSNR, SSIM and NIQE, LPIPS where its weights are on this machine."""
import contextlib
import io
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from ablation_plan import AblationError
from ablation_run import StoppedError
from basicsr.metrics import calculate_niqe, calculate_psnr, calculate_ssim
from basicsr.utils import img2tensor, tensor2img
from demo_evaluate import BORDER, Pair, as_input, bicubic
from quality_cases import QualityError, read_set
from torch import nn
from torchvision.models import AlexNet_Weights

METRICS = {'psnr_y': 'PSNR-Y', 'psnr_rgb': 'PSNR-RGB', 'ssim': 'SSIM', 'niqe': 'NIQE', 'lpips': 'LPIPS'}
Scores = dict[str, dict[str, float | None]]
"""By metric and image; None where a metric is not defined."""


def protocol(metrics: Sequence[str]) -> str:
    """The sentences that every figure needs beside it."""
    lpips = 'LPIPS with AlexNet, RGB.' if 'lpips' in metrics else (
        'No LPIPS: the AlexNet weights it needs are not on this machine.')
    return (f'PSNR in dB, higher is better, as SSIM (on Y); NIQE (on Y) and LPIPS: lower is better. {BORDER} border '
            f'pixels left out, 8-bit images, mean over the images of a set. {lpips}')


def lpips_network() -> nn.Module | None:
    """LPIPS with AlexNet; None where the backbone's weights are not in PyTorch's cache, which fetches nothing here."""
    file = Path(torch.hub.get_dir()) / 'checkpoints' / Path(AlexNet_Weights.IMAGENET1K_V1.url).name
    if not file.is_file():
        return None
    import lpips
    with contextlib.redirect_stdout(io.StringIO()):  # it announces itself
        return lpips.LPIPS(net='alex', verbose=False).eval()


def read_sets(folders: Mapping[str, tuple[Path, Path]]) -> dict[str, list[Pair]]:
    """Images of every set from its HR and LR folders.

    Raises:
        AblationError: they are no pairs.
    """
    try:
        return {name: read_set(hr, lr) for name, (hr, lr) in folders.items()}
    except QualityError as error:
        raise AblationError(str(error)) from None


def niqe(image: np.ndarray) -> float | None:
    """NIQE on Y of (h, w, 3) BGR uint8; None for a flat image and for one smaller than two of its 96x96 blocks."""
    try:
        return calculate_niqe(image, crop_border=BORDER)
    except np.linalg.LinAlgError:  # what comes of statistics of nothing
        return None


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
        self._lpips = lpips_network()

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
            result['psnr_y'][pair.name] = calculate_psnr(output, pair.hr, crop_border=BORDER, test_y_channel=True)
            result['psnr_rgb'][pair.name] = calculate_psnr(output, pair.hr, crop_border=BORDER)
            result['ssim'][pair.name] = calculate_ssim(output, pair.hr, crop_border=BORDER, test_y_channel=True)
            result['niqe'][pair.name] = niqe(output)
            if self._lpips:
                result['lpips'][pair.name] = self._distance(output, pair.hr)
        return {metric: {image: None if value is None else float(value) for image, value in values.items()}
                for metric, values in result.items()}

    def psnr_y(self, net: nn.Module, name: str) -> float:
        """Mean PSNR on Y alone, for curves."""
        return float(np.mean([calculate_psnr(output, pair.hr, crop_border=BORDER, test_y_channel=True)
                              for pair, output in self._outputs(net, name)]))

    def _outputs(self, net: nn.Module | None, name: str):
        torch.set_num_threads(1)  # each thread of the ablation has one core
        run: Callable[[Pair], np.ndarray] = bicubic
        if net:
            network = net.eval().to(self.device).to(memory_format=torch.channels_last)

            def run(pair: Pair) -> np.ndarray:
                image = as_input(pair).to(self.device, memory_format=torch.channels_last)
                with torch.inference_mode():
                    return tensor2img(network(image))
        for pair in self.sets[name]:
            if self._stopped.is_set():
                raise StoppedError
            yield pair, run(pair)

    @torch.inference_mode()
    def _distance(self, output: np.ndarray, truth: np.ndarray) -> float:
        assert self._lpips
        images = [img2tensor(image[BORDER:-BORDER, BORDER:-BORDER].astype(np.float32) / 127.5 - 1)[None]
                  for image in (output, truth)]
        return self._lpips(*images).item()
