"""Runs methods over sets of images and measures results, size and speed, into what a JSON file can hold."""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from basicsr.utils import tensor2img
from torch import Tensor
from tqdm import tqdm

from basicsr_kd.archs.upsample import upsample_bd
from basicsr_kd.deploy.infer import enlarge
from basicsr_kd.errors import MetricError
from basicsr_kd.evaluation.checks import CheckedSets, check_measurable
from basicsr_kd.evaluation.clip_sets import ClipSet
from basicsr_kd.evaluation.methods import Bicubic, Method, Network
from basicsr_kd.evaluation.protocol import describe, describe_clips
from basicsr_kd.evaluation.record import folders_of, network_costs, networks_of, record, results_of
from basicsr_kd.evaluation.scorer import ClipMethodScores, MethodScores, Scorer
from basicsr_kd.evaluation.sets import ImagePair, read_pair
from basicsr_kd.utils.arrays import as_tensor
from basicsr_kd.utils.images import write_image
from basicsr_kd.utils.modes import full_fp32

_Frames = Iterable[tuple[ImagePair, np.ndarray | None]]


def evaluate(methods: Sequence[Method], checked: CheckedSets, scorer: Scorer, *, lr_size: int = 64,
             formats: Sequence[str] = (), save_images: Path | None = None, progress: bool = False) -> dict[str, Any]:
    """Evaluate methods on sets.

    Args:
        methods: What to compare, with names that differ.
        checked: The sets; with LR for all but finished images, without ground truth for NIQE alone.
        scorer: What to measure, and where.
        lr_size: Side of the LR image that cost and speed of networks are stated for.
        formats: Number formats in which networks are timed, none: no timing.
        save_images: Folder for the results, as <method>/<set>/<image>.png.
        progress: Whether to show a bar.

    Returns:
        What a JSON file can hold, the PSNR of equal images being 'inf': `format`, `protocol`, `device`, `sets`, metrics
        `left_out` and files `skipped` with the reason, `warnings`, and `methods`, each with its `network` options,
        `complexity`, `speed` by format, and `scores` by set: `images` by metric and image, their `mean`, `fid`, `kid`.
        `about` is empty, for the reader's own tags.

    Raises:
        EvaluationError: Images or sets are too small, a network is for another scale or fails, or two methods would
            save into one folder.
        MetricError: A result cannot be compared with its ground truth.
        OSError: An image cannot be saved.
    """
    check_measurable(checked, scorer.metrics, scorer.protocol.border)
    folders = folders_of(methods, save_images) if save_images else {}
    networks = networks_of(methods, checked.scale)
    warnings: list[str] = []
    scores: dict[str, dict[str, Any]] = {method.name: {} for method in methods}
    total = sum(len(one.pairs) for one in checked.sets) * len(methods)
    with full_fp32(), tqdm(total=total, desc='evaluating', unit=' images', disable=not progress) as bar:
        for one in checked.sets:
            truths: dict[str | int, dict[str, Tensor]] = {}
            gathered = {method.name: MethodScores(scorer, truths) for method in methods}
            for pair in one.pairs:
                lr, hr = read_pair(pair, checked.scale)
                for method in methods:
                    bar.set_postfix_str(f'{method.name} on {one.name}', refresh=False)
                    result = method.run(pair, lr)
                    try:
                        gathered[method.name].add(pair.name, result, hr)
                    except MetricError as error:
                        raise MetricError(f'{pair.file}, {method.name}: {error}') from error
                    if folders:
                        write_image(folders[method.name] / one.name / f'{pair.name}.png', result)
                    bar.update()
            results_of(one.name, gathered, scores, warnings)
    costs = network_costs(networks, lr_size, formats, scorer.device, warnings, progress)
    return record(methods, scorer, scale=checked.scale, scores=scores, costs=costs, warnings=warnings,
                  text=describe(scorer.protocol, scorer.metrics, checked.scale, checked.cropped),
                  sets=[{'name': one.name, 'images': [pair.name for pair in one.pairs],
                         'hr': one.hr and str(one.hr), 'lr': one.lr and str(one.lr)} for one in checked.sets],
                  skipped=checked.skipped)


class ClipBicubic(Bicubic):
    """Enlarges as published figures of bicubic on clips do: TensorFlow's, see `archs.upsample.upsample_bd`."""

    def run(self, pair: ImagePair, lr: np.ndarray | None) -> np.ndarray:
        assert lr is not None
        return tensor2img([upsample_bd(as_tensor(lr), self.scale)])


def evaluate_clips(methods: Sequence[Method], sets: Sequence[ClipSet], scorer: Scorer, *, lr_size: int = 64,
                   formats: Sequence[str] = (), save_images: Path | None = None,
                   progress: bool = False) -> dict[str, Any]:
    """Evaluate methods on sets of clips; memory does not grow with their length.

    Args:
        methods: As of `evaluate`.
        sets: From `find_clip_set`, checked by `check_clips`; with a scale for all but finished frames.
        scorer: What to measure, and where; its protocol is one of clips.
        lr_size: As of `evaluate`.
        formats: As of `evaluate`.
        save_images: Folder for the results, as <method>/<set>/<clip>/<frame>.png.
        progress: As of `evaluate`.

    Returns:
        As of `evaluate`; images are the frames that count, called clip/frame (tOF and tLP of a clip's first one are
        None), and there are `clips` besides: the names of a set's, and in scores their means by metric and clip.

    Raises:
        EvaluationError: A network is for another scale or fails, or two methods would save into one folder.
        InferError: A network that goes from frame to frame fails.
        MetricError: A result cannot be compared with its ground truth.
        OSError: A frame cannot be saved.
    """
    folders = folders_of(methods, save_images) if save_images else {}
    scale = sets[0].scale
    networks = networks_of(methods, scale)
    warnings: list[str] = []
    scores: dict[str, dict[str, Any]] = {method.name: {} for method in methods}
    described = []
    total = sum(len(pairs) for one in sets for pairs in one.clips.values()) * len(methods)
    with full_fp32(), tqdm(total=total, desc='evaluating', unit=' frames', disable=not progress) as bar:
        for one in sets:
            truths: dict[str | int, dict[str, Tensor]] = {}
            gathered = {method.name: ClipMethodScores(scorer, truths) for method in methods}
            for clip in one.clips:
                for method in methods:
                    bar.set_postfix_str(f'{method.name} on {one.name}/{clip}', refresh=False)
                    for pair, result, truth in _run(method, one, clip):
                        # finished frames may have a row that low resolution was rounded up for
                        height, width = truth.shape[:2]
                        try:
                            gathered[method.name].add(clip, pair, result[:height, :width], truth)
                        except MetricError as error:
                            raise MetricError(f'{pair.hr}, {method.name}: {error}') from error
                        if folders:
                            write_image(folders[method.name] / one.name / f'{pair.name}.png', result)
                        bar.update()
            results_of(one.name, gathered, scores, warnings)
            scored = gathered[methods[0].name].scored()
            described.append({'name': one.name, 'images': [frame for frames in scored.values() for frame in frames],
                              'hr': str(one.hr), 'lr': one.lr and str(one.lr), 'clips': list(scored)})
    costs = network_costs(networks, lr_size, formats, scorer.device, warnings, progress)
    text = describe_clips(scorer.protocol, scorer.metrics, scale, made=scale is not None and not sets[0].lr,
                          bicubic=any(isinstance(method, ClipBicubic) for method in methods))
    return record(methods, scorer, scale=scale, text=text, sets=described, scores=scores, costs=costs,
                  warnings=warnings, skipped={})


def _run(method: Method, one: ClipSet, clip: str) -> Iterator[tuple[ImagePair, np.ndarray, np.ndarray]]:
    """Each frame of a clip with its result and its ground truth."""
    waiting: deque[tuple[ImagePair, np.ndarray]] = deque()  # read but not out yet: six at most

    def frames() -> _Frames:
        for pair, lr, truth in one.frames(clip):
            waiting.append((pair, truth))
            yield pair, lr

    for result in _results(method, frames()):
        pair, truth = waiting.popleft()
        yield pair, result, truth


def _results(method: Method, frames: _Frames) -> Iterator[np.ndarray]:
    if isinstance(method, Network):
        return (result for _, result in enlarge(method, ((pair.name, lr) for pair, lr in frames if lr is not None)))
    return (method.run(pair, lr) for pair, lr in frames)
