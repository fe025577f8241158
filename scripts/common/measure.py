"""Networks of a script as `basicsr-kd evaluate` and `basicsr-kd report` measure and show them."""
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import msgspec
import numpy as np
from msgspec.structs import replace

from basicsr_kd.cli.common import write_json
from basicsr_kd.errors import (
    BasicSRKDError,
    EvaluationError,
)
from basicsr_kd.evaluation.checks import CheckedSets, check_clips, check_sets
from basicsr_kd.evaluation.clip_sets import ClipSet, find_clip_set
from basicsr_kd.evaluation.evaluate import evaluate
from basicsr_kd.evaluation.methods import Network
from basicsr_kd.evaluation.protocol import Protocol
from basicsr_kd.evaluation.schema import About, Evaluation
from basicsr_kd.evaluation.scorer import Scorer
from basicsr_kd.evaluation.sets import ImageSet, are_clips, pair_folders, read_pair
from basicsr_kd.metrics.clip_protocol import PROTOCOLS
from basicsr_kd.report.report import Report, build_report
from basicsr_kd.report.write import write_report
from basicsr_kd.utils.modes import fast_formats

EVALUATION = 'evaluation.json'
IMAGES = 'images'

SCALE = 4
BORDER = 4


class QualityError(BasicSRKDError):
    """The request cannot be carried out; the message says what to change."""


def sets_of(options: Sequence[str]) -> CheckedSets | list[ClipSet]:
    """Arguments of --sets to sets of which every image or frame can be measured on.

    Args:
        options: of images NAME=HRDIR,LRDIR; of clips NAME=DIR, a folder with a folder of frames a clip, of which LR is
            made.

    Raises:
        QualityError: they are not of these forms.
        ClipError, EvaluationError: no pairs of images, or no clips.
    """
    clips = {name: Path(folder) for name, _, folder in (option.partition('=') for option in options) if name and folder}
    if clips and are_clips(list(clips.values())):
        found = [find_clip_set(name, folder, None, {}, SCALE) for name, folder in clips.items()]
        check_clips(found, ['psnr'], PROTOCOLS['official'])
        return found
    sets = [ImageSet(name, hr, lr, pair_folders(hr, lr)) for name, hr, lr in map(named_folders, options)]
    return check_sets(sets)


def measure(networks: Mapping[str, Path], sets: CheckedSets | Sequence[ClipSet], folder: Path, *,
            about: Mapping[str, Mapping[str, Any]], metrics: Sequence[str], channel: Literal['y', 'rgb'],
            lr_size: int = 64, device: str = 'cpu', timed: bool = True) -> Evaluation:
    """Evaluate bicubic and networks; evaluation.json and all images are in the folder afterwards.

    Args:
        networks: checkpoints by the name of their row.
        sets: from `sets_of`; clips are scored under TecoGAN's official protocol.
        folder: what an earlier measurement left there goes.
        about: the report's tags, by row.
        metrics: as of `basicsr-kd evaluate`.
        channel: what PSNR and SSIM are on; 'y' for clips.
        lr_size: side of the LR image that cost and speed are stated for.
        device: where networks run.
        timed: whether to measure how fast they are.

    Returns:
        What evaluation.json holds.

    Raises:
        CheckpointError, EvaluationError, InferError, MetricError: see `evaluation.evaluate`.
    """
    methods = {'bicubic': None, **{name: Network(name, path, device) for name, path in networks.items()}}
    if isinstance(sets, CheckedSets):
        protocol = Protocol(metrics, border=sets.scale or 1, channel=channel)
    else:
        protocol = Protocol(metrics, border=0, channel=channel, clips='official')
    shutil.rmtree(folder / IMAGES, ignore_errors=True)
    found = evaluate(methods, sets, Scorer(protocol, device), lr_size=lr_size,
                     formats=fast_formats(device) if timed else [], save_images=folder / IMAGES,
                     progress=sys.stderr.isatty())
    rows = [replace(method, about=About(**about.get(method.name, {}))) for method in found.methods]
    found = replace(found, methods=rows)
    write_json(folder / EVALUATION, msgspec.to_builtins(found))
    return found


def report_of(folder: Path, out: Path) -> Report:
    """Write the report of what `measure` left in a folder.

    Raises:
        ReportError: see `report.report.build_report`.
    """
    report = build_report([folder / EVALUATION], images=folder / IMAGES)
    write_report(report, out)
    return report


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
