"""Runs methods over sets of images or clips and measures results, size and speed."""
from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from basicsr.utils import tensor2img
from torch import Tensor
from tqdm import tqdm

from basicsr_kd.archs.upsample import upsample_bd
from basicsr_kd.deploy.infer import enlarge
from basicsr_kd.errors import MetricError
from basicsr_kd.evaluation.checks import CheckedSets, check_measurable
from basicsr_kd.evaluation.clip_sets import ClipSet
from basicsr_kd.evaluation.costs import network_costs
from basicsr_kd.evaluation.methods import Bicubic, Method, Network
from basicsr_kd.evaluation.protocol import describe, describe_clips
from basicsr_kd.evaluation.record import folders_of, networks_of, record, results_of
from basicsr_kd.evaluation.schema import Evaluation, MeasuredSet, SetFigures
from basicsr_kd.evaluation.scorer import ClipMethodScores, MethodScores, Scorer
from basicsr_kd.evaluation.sets import ImagePair, ImageSet, read_pair
from basicsr_kd.utils.arrays import as_tensor
from basicsr_kd.utils.images import write_image
from basicsr_kd.utils.modes import full_fp32

_Frames = Iterable[tuple[ImagePair, np.ndarray | None]]
_Folders = Mapping[str, Path]  # for the results, by method; empty: results are not saved


class ClipBicubic(Bicubic):
    """Enlarges like the published bicubic figures of clips, with TensorFlow's bicubic: `archs.upsample.upsample_bd`."""

    def run(self, pair: ImagePair, lr: np.ndarray | None) -> np.ndarray:
        assert lr is not None
        return tensor2img([upsample_bd(as_tensor(lr), self.scale)])


def evaluate(methods: Mapping[str, Method | None], sets: CheckedSets | Sequence[ClipSet], scorer: Scorer, *,
             teacher: Network | None = None, lr_size: int = 64, formats: Sequence[str] = (),
             save_images: Path | None = None, progress: bool = False) -> Evaluation:
    """Evaluate methods on sets of images, or on sets of clips, where memory does not grow with their length.

    Args:
        methods: What to compare, by name; None: bicubic enlargement as in published figures of such sets.
        sets: Either sets of images from `check_sets`: all methods but finished images need LR, and all metrics but
            those without a reference need ground truth. Or sets of clips from `find_clip_set`, checked by
            `check_clips`: all methods but finished frames need a scale.
        scorer: What to measure, and where; for sets of clips its protocol is one of clips.
        teacher: For images: the network whose results, clipped and in 8 bits, stand for ground truth.
        lr_size: Side of the LR image that cost and speed of networks are stated for.
        formats: Number formats in which networks are timed; empty: no timing.
        save_images: Folder for the results: <method>/<set>/<image>.png, for clips <method>/<set>/<clip>/<frame>.png.
        progress: Whether to show a bar.

    Returns:
        The figures. For clips, the images are the frames that are scored, called clip/frame. `about` is empty: it is
        for the reader's own tags.

    Raises:
        EvaluationError: Images or sets are too small, a network is for another scale, or two methods would save into
            one folder.
        InferError: A network fails.
        MetricError: A result cannot be compared with its ground truth.
        OSError: An image cannot be saved.
    """
    if isinstance(sets, CheckedSets):
        check_measurable(sets, scorer.metrics, scorer.protocol.border)
        scale, skipped, what = sets.scale, sets.skipped, 'images'
        images = sum(len(one.pairs) for one in sets.sets)
        rows = [method or Bicubic(name, scale or 1) for name, method in methods.items()]
        text = describe(scorer.protocol, scorer.metrics, scale, sets.cropped, teacher.name if teacher else None)
    else:
        scale, skipped, what = sets[0].scale, {}, 'frames'
        images = sum(len(pairs) for one in sets for pairs in one.clips.values())
        rows = [method or ClipBicubic(name, scale or 1) for name, method in methods.items()]
        text = describe_clips(scorer.protocol, scorer.metrics, scale, made=scale is not None and not sets[0].lr,
                              bicubic=any(method is None for method in methods.values()))
    folders = folders_of(rows, save_images) if save_images else {}
    networks = networks_of(rows, scale)
    if teacher:
        networks_of([teacher], scale)
    warnings: list[str] = []
    scores: dict[str, dict[str, SetFigures]] = {method.name: {} for method in rows}
    measured: list[MeasuredSet] = []
    with full_fp32(), tqdm(total=images * len(rows), desc='evaluating', unit=f' {what}', disable=not progress) as bar:
        for one in sets.sets if isinstance(sets, CheckedSets) else sets:
            described, gathered = (
                _on_images(one, rows, scorer, scale, teacher, folders, bar) if isinstance(one, ImageSet) else
                _on_clips(one, rows, scorer, folders, bar))
            results_of(one.name, gathered, scores, warnings)
            measured.append(described)
    costs = network_costs(networks, lr_size, formats, scorer.device, warnings, progress)
    return record(rows, scorer, scale=scale, text=text, sets=measured, scores=scores, costs=costs, warnings=warnings,
                  skipped=skipped, teacher=teacher)


def _on_images(one: ImageSet, methods: Sequence[Method], scorer: Scorer, scale: int | None, teacher: Network | None,
               folders: _Folders, bar: tqdm) -> tuple[MeasuredSet, dict[str, MethodScores]]:
    truths: dict[str | int, dict[str, Tensor]] = {}
    gathered = {method.name: MethodScores(scorer, truths) for method in methods}
    for pair in one.pairs:
        lr, hr = read_pair(pair, scale)
        if teacher:
            hr = teacher.run(pair, lr)
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
    return MeasuredSet(one.name, [pair.name for pair in one.pairs], _text(one.hr), _text(one.lr)), gathered


def _on_clips(one: ClipSet, methods: Sequence[Method], scorer: Scorer, folders: _Folders, bar: tqdm
              ) -> tuple[MeasuredSet, dict[str, ClipMethodScores]]:
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
    scored = gathered[methods[0].name].scored()
    return MeasuredSet(one.name, [frame for frames in scored.values() for frame in frames], _text(one.hr),
                       _text(one.lr), list(scored)), gathered


def _text(path: Path | None) -> str | None:
    return str(path) if path else None


def _run(method: Method, one: ClipSet, clip: str) -> Iterator[tuple[ImagePair, np.ndarray, np.ndarray]]:
    """Each frame of a clip with its result and its ground truth."""
    waiting: deque[tuple[ImagePair, np.ndarray]] = deque()  # read, but without a result yet: six at most

    def frames() -> _Frames:
        for pair, lr, truth in one.frames(clip):
            waiting.append((pair, truth))
            yield pair, lr

    for result in _results(method, frames()):
        pair, truth = waiting.popleft()
        yield pair, result, truth


def _results(method: Method, frames: _Frames) -> Iterator[np.ndarray]:
    if isinstance(method, Network):
        named = ((pair.name, lr) for pair, lr in frames if lr is not None)
        return (result for _, result in enlarge(method.trained, named))
    return (method.run(pair, lr) for pair, lr in frames)
