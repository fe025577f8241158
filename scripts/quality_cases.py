"""One case of pruning_quality.py: prune a network one way, without fine-tuning, and measure it on sets of images."""
import copy
import time
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from basicsr.utils import tensor2img
from torch import Tensor, nn

from basicsr_kd.errors import EvaluationError
from basicsr_kd.evaluation.checks import check_sets
from basicsr_kd.evaluation.sets import ImageSet, pair_folders, read_pair
from basicsr_kd.metrics.image_scores import image_score
from basicsr_kd.pruning import PruningError, prune
from basicsr_kd.utils.arrays import as_tensor

SCALE = 4
BORDER = 4
LAYOUTS = ('growth', 'width', 'balanced', 'blocks', 'unstructured')
IMPORTANCES = ('taylor', 'l1', 'l2', 'lamp', 'fpgm', 'random')
SELECTS = ('least', 'last')
"""What layout blocks has instead of an importance."""
SEEDS = 3
"""How many random choices the mean of importance random is over."""


class QualityError(Exception):
    """The request cannot be carried out; the message says what to change."""


@dataclass(frozen=True)
class Case:
    """One way to prune one network; `choice` is an importance, or for layout blocks a select."""

    network: str
    layout: str
    choice: str
    ratio: float
    reconstruct: bool

    @property
    def seeds(self) -> range:
        return range(SEEDS if self.layout != 'blocks' and self.choice == 'random' else 1)

    @property
    def key(self) -> str:
        """Its name in results.json."""
        return (f'{self.network}: {self.layout} {self.choice} {self.ratio}' +
                (' reconstruct' if self.reconstruct else ''))


@dataclass(frozen=True)
class Pair:
    """An image of a set, (h, w, 3) BGR uint8."""

    name: str
    lr: np.ndarray
    hr: np.ndarray


def named_folders(option: str) -> tuple[str, Path, Path]:
    """`NAME=HRDIR,LRDIR`, an argument of --sets, to its parts.

    Raises:
        QualityError: it is not of that form.
    """
    name, _, folders = option.partition('=')
    hr, _, lr = folders.partition(',')
    if not (name and hr and lr):
        raise QualityError(f'--sets {option} is not of the form NAME=HRDIR,LRDIR.')
    return name, Path(hr), Path(lr)


def read_set(hr_folder: Path, lr_folder: Path) -> list[Pair]:
    """Read the images of two folders whose names pair, sorted.

    Raises:
        QualityError: they are no pairs of images, or HR is not LR's size times the scale.
    """
    pairs = []
    try:
        files = pair_folders(hr_folder, lr_folder)
        scale = check_sets([ImageSet(hr_folder.name, hr_folder, lr_folder, files)]).scale
        for pair in files:
            lr, hr = read_pair(pair, scale)
            assert lr is not None and hr is not None
            pairs.append(Pair(pair.name, lr, hr))
    except EvaluationError as error:
        raise QualityError(f'{hr_folder} and {lr_folder} are no pairs of images: {error}') from error
    if scale != SCALE:
        raise QualityError(f'{hr_folder} is {scale} times the size of {lr_folder}. Expected HR of {SCALE} times the '
                           'size; scripts/prepare_images.py makes such pairs.')
    return pairs


class Judge:
    """The PSNR of networks on sets of images.

    Args:
        sets: their images by name.
        original: the network whose output on them is the reference; left out: the ground truth is.
        device: where networks run.
    """

    def __init__(self, sets: Mapping[str, Sequence[Pair]], original: nn.Module | None, device: str) -> None:
        self.device = device
        self.inputs = {name: [as_tensor(pair.lr) for pair in pairs] for name, pairs in sets.items()}
        self.references = ({name: [pair.hr for pair in pairs] for name, pairs in sets.items()} if original is None else
                           {name: self._outputs(original, inputs) for name, inputs in self.inputs.items()})

    def psnr(self, net: nn.Module) -> dict[str, float]:
        """Mean PSNR (Y) of 8-bit outputs by set."""
        return {name: float(np.mean([
            image_score('psnr', output, reference, border=BORDER, channel='y')
            for output, reference in zip(self._outputs(net, inputs), self.references[name], strict=True)]))
            for name, inputs in self.inputs.items()}

    @torch.inference_mode()
    def _outputs(self, net: nn.Module, inputs: Sequence[Tensor]) -> list[np.ndarray]:
        net = copy.deepcopy(net).eval().to(self.device).to(memory_format=torch.channels_last)
        return [tensor2img(net(image.to(self.device, memory_format=torch.channels_last))) for image in inputs]


def judge_case(case: Case, net: nn.Module, calibration: Tensor, round_to: int, judge: Judge) -> dict[str, Any]:
    """Prune and measure, as often as the case has seeds.

    Returns:
        A JSON-ready row: the case, means of PSNR by set and of the shares of parameters and MACs that are left, seconds
        of one pruning; or why it was refused.
    """
    choice: dict[str, Any] = {'select' if case.layout == 'blocks' else 'importance': case.choice}
    reports, psnr = [], []
    seconds = 0.0
    for seed in case.seeds:
        torch.manual_seed(seed)  # what importance random draws from
        start = time.perf_counter()
        try:
            report = prune(net, ratio=case.ratio, layout=case.layout, round_to=round_to, reconstruct=case.reconstruct,
                           calibration=calibration, **choice)
        except PruningError as error:
            return asdict(case) | {'refused': str(error)}
        seconds += time.perf_counter() - start
        reports.append(report)
        psnr.append(judge.psnr(report.network))
    return asdict(case) | {
        'psnr': {name: float(np.mean([one[name] for one in psnr])) for name in judge.inputs},
        'psnr_by_seed': psnr,
        'params_left': float(np.mean([report.nonzero_after / report.params_before for report in reports])),
        'macs_left': float(np.mean([report.macs_after / report.macs_before for report in reports])),
        'seconds': seconds / len(case.seeds),
        'notes': reports[0].notes,
    }
