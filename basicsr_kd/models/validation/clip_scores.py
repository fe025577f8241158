"""The metrics of one validation set of clips, over all ranks."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch

from basicsr_kd.errors import BackboneError
from basicsr_kd.metrics.clip_protocol import PROTOCOLS, cut_to_one_size
from basicsr_kd.metrics.clip_scores import ClipMeans, ClipScores
from basicsr_kd.metrics.set_scores import SetScores
from basicsr_kd.models.validation.scores import Score, kid_score, set_scores
from basicsr_kd.runs.distributed import from_all_ranks
from basicsr_kd.utils.metric_names import METRICS, SET_TYPES


class VideoScores:
    """Takes in clips frame by frame, whole clips on each rank, and gives the set's scores.

    FID and KID are over all whole frames of all clips, whatever the protocol says.

    Args:
        metrics: `val: metrics:`, a section with `type` for each name, as `basicsr_kd.options.validate` leaves it.
        protocol: A name in `PROTOCOLS`.
        device: The device that backbones run on.
        left_out: Metrics that were left out before, and why.
        frame_rate: Frames per second, for JOD.
    """

    def __init__(self, metrics: Mapping[str, Mapping[str, Any]], protocol: str, device: torch.device,
                 left_out: Mapping[str, str], frame_rate: float | None = None) -> None:
        self._frame_rate = frame_rate
        self.left_out = dict(left_out)
        self._average = PROTOCOLS[protocol].average
        self._metrics = metrics
        self._sets: dict[str, SetScores] = {}
        for name, metric in metrics.items():
            if metric['type'] in SET_TYPES and name not in self.left_out:
                try:
                    self._sets[name] = set_scores(metric, device)
                except BackboneError as error:
                    self.left_out[name] = str(error)
        self._metric_of = {name: metric['type'].removeprefix('calculate_') for name, metric in metrics.items()
                       if metric['type'] not in SET_TYPES}
        weights = next((metrics[name]['weights'] for name in self._metric_of if metrics[name].get('weights')), None)
        try:
            self._scores = self._build(protocol, weights, device)
        except BackboneError as error:
            self.left_out.update((name, str(error)) for name, kind in self._metric_of.items()
                                 if METRICS[kind].backbone == 'lpips')
            self._scores = self._build(protocol, weights, device)

    def _build(self, protocol: str, weights: str | None, device: torch.device) -> ClipScores:
        kinds = {kind for name, kind in self._metric_of.items() if name not in self.left_out}
        return ClipScores(kinds, PROTOCOLS[protocol], weights, device, self._frame_rate)

    @property
    def protocol(self) -> str:
        """The sentence that names the scores' protocol, to be shown beside them."""
        return self._scores.protocol

    def add(self, clip: str, index: int, result: np.ndarray, truth: np.ndarray) -> None:
        """Take in the next frame of a clip; see `ClipScores.add`."""
        self._scores.add(clip, index, result, truth)
        for scores in self._sets.values():
            scores.add(f'{clip} {index:08d}', *cut_to_one_size(result, truth))

    def gather(self) -> None:
        """Give every rank the scores of all ranks; a metric that one rank left out is left out."""
        shares = from_all_ranks((self._scores.state(), {name: scores.state() for name, scores in self._sets.items()},
                                 self.left_out))
        self._scores.merge(state for state, _, _ in shares)
        for name, scores in self._sets.items():
            scores.merge(states[name] for _, states, _ in shares if name in states)
        for _, _, left_out in shares:
            self.left_out = {**left_out, **self.left_out}

    def results(self) -> dict[str, Score]:
        """The scores by the metrics' names, in their order, without metrics left out; the note is the other average."""
        means = self._scores.results()
        found: dict[str, Score] = {}
        for name in self._metrics:
            if name in self.left_out:
                continue
            if name in self._sets:
                of_set = self._sets[name].results()
                if 'fid' in of_set:
                    found[name] = Score(of_set['fid'], f'{of_set["fid_samples"]} frames')
                elif 'kid' in of_set:
                    found[name] = kid_score(of_set['kid'])
            elif self._metric_of[name] in means:
                found[name] = self._score(means[self._metric_of[name]])
        return found

    def _score(self, means: ClipMeans) -> Score:
        if self._average == 'frames':
            return Score(means['frames'], f'mean over frames; over clips {means["clips"]:.4f}')
        return Score(means['clips'], f'mean over clips; over frames {means["frames"]:.4f}')

    def warnings(self) -> list[str]:
        """Warnings that a reader of the scores should see."""
        asked = {SET_TYPES.get(metric['type'], '') for metric in self._metrics.values()}
        return [*self._scores.warnings(),
                *(text for scores in self._sets.values() for text in scores.warnings(asked))]
