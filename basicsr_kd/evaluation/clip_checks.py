"""Whether clips can be measured, before anything takes long."""
from __future__ import annotations

from collections.abc import Collection, Sequence

from tqdm import tqdm

from basicsr_kd.evaluation.clip_sets import ClipSet
from basicsr_kd.evaluation.errors import EvaluationError
from basicsr_kd.evaluation.images import read_image
from basicsr_kd.evaluation.protocol import CLIP_METRICS
from basicsr_kd.metrics.errors import MetricError
from basicsr_kd.metrics.lpips_metric import SMALLEST as LPIPS_SMALLEST
from basicsr_kd.metrics.video_protocol import VideoProtocol


def check_clips(sets: Sequence[ClipSet], metrics: Collection[str], protocol: VideoProtocol,
                progress: bool = False) -> None:
    """That metrics can be measured on the sets, and that every file of them can be read.

    Args:
        sets: From `find_clip_set`.
        metrics: Of `CLIP_METRICS` and `SET_METRICS`.
        protocol: What of a clip is scored.
        progress: Whether to show a bar.

    Raises:
        BadImageError: A file cannot be read.
        EvaluationError: Frames are too small, or all clips of a set too short.
    """
    if any(name in CLIP_METRICS for name in metrics):
        for one in sets:
            _check_measurable(one, 'lpips' in metrics or 'tlp' in metrics, protocol)
    pairs = [pair for one in sets for pairs in one.clips.values() for pair in pairs]
    for pair in tqdm(pairs, 'reading', unit=' frames', disable=not progress):
        for path in filter(None, [pair.hr, pair.lr, *pair.results.values()]):
            read_image(path)


def _check_measurable(one: ClipSet, lpips: bool, protocol: VideoProtocol) -> None:
    longest = max(one.clips, key=lambda clip: len(one.clips[clip]))
    if len(one.clips[longest]) < protocol.least_frames:
        raise EvaluationError(f'There is nothing to measure in {one.hr}: its longest clip, {longest}, has '
                              f'{len(one.clips[longest])} frames, and {protocol.title} needs {protocol.least_frames}.')
    for clip, pairs in one.clips.items():
        try:
            window = protocol.window(*one.size(clip))
        except MetricError as error:
            raise EvaluationError(f'{pairs[0].hr}: {error}') from None
        if lpips and (least := min(part.stop - part.start for part in window)) < LPIPS_SMALLEST:
            raise EvaluationError(f'{pairs[0].hr}: {least} pixels are scored on its shorter side. Expected at least '
                                  f'{LPIPS_SMALLEST} for LPIPS and tLP.')
