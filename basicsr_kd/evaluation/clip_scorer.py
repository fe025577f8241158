"""Scores of clips: frame by frame, by clip, and of a whole set."""
from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor

from basicsr_kd.evaluation.protocol import CLIP_METRICS
from basicsr_kd.evaluation.scorer import Scorer, scores_of_set
from basicsr_kd.evaluation.sets import ImagePair
from basicsr_kd.metrics.clip_scores import ClipScores
from basicsr_kd.metrics.video_protocol import PROTOCOLS, cut_to_one_size


class ClipMethodScores:
    """What one method reaches on one set of clips; holds numbers, not frames.

    Args:
        scorer: The metrics, with a protocol of clips.
        truths: As of `MethodScores`.
    """

    def __init__(self, scorer: Scorer, truths: dict[str | int, dict[str, Tensor]]) -> None:
        protocol = scorer.protocol
        self._of_frames = [name for name in scorer.metrics if name in CLIP_METRICS]
        self._clips = ClipScores(self._of_frames, PROTOCOLS[protocol.clips or 'official'], protocol.lpips_weights,
                                 scorer.device)
        self._set = scorer.of_set(truths)
        self._names: dict[str, list[str]] = {}

    def add(self, clip: str, frame: ImagePair, result: np.ndarray, truth: np.ndarray) -> None:
        """Score the next frame of a clip, (h, w, 3) BGR uint8 as its ground truth.

        Raises:
            MetricError: They cannot be compared.
        """
        names = self._names.setdefault(clip, [])
        self._clips.add(clip, len(names), result, truth)
        names.append(frame.name)
        if self._set:
            self._set.add(frame.name, *cut_to_one_size(result, truth))

    def scored(self) -> dict[str, list[str]]:
        """The frames that count, clip/frame, by clip: those of the protocol; all where there are but FID and KID."""
        if not self._of_frames:
            return self._names
        return {clip: [self._names[clip][index] for index in indices]
                for clip, indices in self._clips.counted().items()}

    def results(self) -> dict[str, Any]:
        """As of `MethodScores`, `images` being frames, and `clips`: means by metric and clip.

        tOF and tLP of a clip's first frame are None: they are with the frame before.
        """
        means, by_frame = self._clips.results(), self._clips.by_frame()
        scored = [frame for frames in self.scored().values() for frame in frames]
        images = {name: dict.fromkeys(scored) | {
            self._names[clip][index]: value for clip, values in clips.items() for index, value in values.items()}
            for name, clips in by_frame.items()}
        return {'images': images, 'mean': {name: found['frames'] for name, found in means.items()},
                'clips': {name: found['by_clip'] for name, found in means.items()}} | scores_of_set(self._set)

    def warnings(self) -> list[str]:
        """What a reader has to know."""
        too_short = self._clips.warnings() if self._of_frames else []
        return [*too_short, *(self._set.warnings() if self._set else [])]
