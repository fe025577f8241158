"""Scores of results: image by image, and of a whole set."""
from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from torch import Tensor

from basicsr_kd.errors import BackboneError, MissingExtraError
from basicsr_kd.evaluation.protocol import Protocol
from basicsr_kd.evaluation.schema import Score, SetFigures, figure
from basicsr_kd.evaluation.sets import ImagePair
from basicsr_kd.metrics.clip_protocol import PROTOCOLS, cut_to_one_size
from basicsr_kd.metrics.clip_scores import ClipScores
from basicsr_kd.metrics.fid import inception_network
from basicsr_kd.metrics.image_scores import image_score
from basicsr_kd.metrics.image_values import ImageValues
from basicsr_kd.metrics.lpips import lpips_network
from basicsr_kd.metrics.set_scores import SetScores
from basicsr_kd.utils.extras import load
from basicsr_kd.utils.measured import Fid
from basicsr_kd.utils.metric_names import CLIP_METRICS, IMAGE_METRICS, METRICS, SET_METRICS


class Scorer:
    """The metrics of a protocol, with the pretrained networks that they use.

    A metric whose network or package cannot be had is left out; `left_out` says why.

    Args:
        protocol: What to measure.
        device: Where these networks run.
    """

    def __init__(self, protocol: Protocol, device: str | torch.device = 'cpu') -> None:
        self.protocol = protocol
        self.device = device
        self.left_out: dict[str, str] = {}
        for name in protocol.metrics:
            try:
                if package := METRICS[name].package:
                    load(package, METRICS[name].title)
            except MissingExtraError as error:
                self.left_out[name] = str(error)
        self.lpips = self._network(
            'lpips', lambda: lpips_network(protocol.lpips_net, protocol.lpips_weights, device))
        self._network('inception', lambda: inception_network(protocol.inception_weights, device))

    @property
    def metrics(self) -> list[str]:
        """The metrics that are measured."""
        return [name for name in self.protocol.metrics if name not in self.left_out]

    def of_set(self, truths: dict[str | int, dict[str, Tensor]]) -> SetScores | None:
        """The object that gathers FID and KID, None if neither is measured; `truths` as in `MethodScores`."""
        names = [name for name in self.metrics if name in SET_METRICS]
        return SetScores(names, self.protocol.inception_weights, self.device, truths=truths) if names else None

    def _network(self, backbone: str, build: Callable[[], torch.nn.Module]) -> torch.nn.Module | None:
        wanted = [name for name in self.protocol.metrics if METRICS[name].backbone == backbone]
        try:
            return build() if wanted else None
        except BackboneError as error:
            self.left_out |= dict.fromkeys(wanted, str(error))
            return None


class MethodScores:
    """The scores of one method on one set.

    Args:
        scorer: The metrics.
        truths: The ground truth's features for FID and KID, kept for the other methods on this set.
    """

    def __init__(self, scorer: Scorer, truths: dict[str | int, dict[str, Tensor]]) -> None:
        self._scorer = scorer
        self._images = ImageValues({name: name for name in scorer.metrics if name in IMAGE_METRICS})
        self._set = scorer.of_set(truths)

    def add(self, image: str, result: np.ndarray, truth: np.ndarray | None) -> None:
        """Score a result, (h, w, 3) BGR uint8 like the ground truth, which may be None if no metric needs it.

        Raises:
            MetricError: The two cannot be compared.
        """
        protocol = self._scorer.protocol
        for name in self._images.by_metric:
            self._images.put(name, image, image_score(
                name, result, truth, border=protocol.border, channel=protocol.channel, lpips=self._scorer.lpips,
                device=self._scorer.device))
        if self._set and truth is not None:
            self._set.add(image, result, truth)

    def results(self) -> SetFigures:
        """Values by image, and their mean (or median) over the images where they are defined."""
        means = {name: self._images.mean(name) for name in self._images.by_metric}
        return SetFigures(
            images={name: {str(image): None if value is None else figure(value) for image, value in values.items()}
                    for name, values in self._images.by_metric.items()},
            mean={name: None if mean is None else figure(mean) for name, mean in means.items()},
            **figures_of_set(self._set))

    def warnings(self) -> list[str]:
        """What a reader has to know."""
        return [*self._images.warnings(), *(self._set.warnings() if self._set else [])]


def figures_of_set(found: SetScores | None) -> dict[str, Any]:
    """`fid` and `kid` of `SetFigures`, as far as they were measured."""
    results = found.results() if found else {}
    return {'fid': Fid(results['fid'], results['fid_samples']) if 'fid' in results else None,
            'kid': results.get('kid')}


class ClipMethodScores:
    """The scores of one method on one set of clips; keeps numbers, not frames.

    Args:
        scorer: The metrics, with a protocol of clips.
        truths: As in `MethodScores`.
    """

    def __init__(self, scorer: Scorer, truths: dict[str | int, dict[str, Tensor]]) -> None:
        protocol = scorer.protocol
        self._of_frames = [name for name in scorer.metrics if name in CLIP_METRICS]
        self._clips = ClipScores(self._of_frames, PROTOCOLS[protocol.clips or 'official'], protocol.lpips_weights,
                                 scorer.device, protocol.frame_rate)
        self._set = scorer.of_set(truths)
        self._names: dict[str, list[str]] = {}

    def add(self, clip: str, frame: ImagePair, result: np.ndarray, truth: np.ndarray) -> None:
        """Score the next frame of a clip, (h, w, 3) BGR uint8 like its ground truth.

        Raises:
            MetricError: The two cannot be compared.
        """
        names = self._names.setdefault(clip, [])
        self._clips.add(clip, len(names), result, truth)
        names.append(frame.name)
        if self._set:
            self._set.add(frame.name, *cut_to_one_size(result, truth))

    def scored(self) -> dict[str, list[str]]:
        """The scored frames (clip/frame) by clip: those of the protocol, or all if only FID and KID are measured."""
        if not self._of_frames:
            return self._names
        return {clip: [self._names[clip][index] for index in indices]
                for clip, indices in self._clips.counted().items()}

    def results(self) -> SetFigures:
        """Values by frame, their means over all frames, and means by clip.

        tOF and tLP of a clip's first frame are None, since they compare a frame with the one before.
        """
        means, by_frame = self._clips.results(), self._clips.by_frame()
        scored = [frame for frames in self.scored().values() for frame in frames]
        images: dict[str, dict[str, Score]] = {name: dict.fromkeys(scored) for name in by_frame}
        for name, clips in by_frame.items():
            images[name].update({self._names[clip][index]: figure(value)
                                 for clip, values in clips.items() for index, value in values.items()})
        return SetFigures(images=images, mean={name: figure(found['frames']) for name, found in means.items()},
                          clips={name: {clip: figure(value) for clip, value in found['by_clip'].items()}
                                 for name, found in means.items()}, **figures_of_set(self._set))

    def warnings(self) -> list[str]:
        """What a reader has to know."""
        too_short = self._clips.warnings() if self._of_frames else []
        return [*too_short, *(self._set.warnings() if self._set else [])]
