"""PSNR, LPIPS, tOF, tLP and JOD of clips, gathered frame by frame, in one process or in many."""
from __future__ import annotations

from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import NamedTuple, TypedDict

import numpy as np
import torch
from basicsr.metrics import calculate_psnr
from basicsr.utils import bgr2ycbcr

from basicsr_kd.errors import MetricError
from basicsr_kd.metrics.clip_protocol import PROTOCOLS, VideoProtocol, Window, cut_to_one_size
from basicsr_kd.metrics.jod import Film
from basicsr_kd.metrics.lpips import lpips_distance, lpips_network
from basicsr_kd.metrics.tlp import perceptual_change_distance
from basicsr_kd.metrics.tof import flow_distance
from basicsr_kd.utils.metric_names import CLIP_METRICS, METRICS

Frames = list[dict[str, float]]
"""For each frame of a clip, from the first on: the scores by metric. tOF and tLP compare it with the frame before; JOD
is that of the whole clip."""


class ClipMeans(TypedDict):
    """A metric's means over a set of clips."""
    frames: float
    """Mean over the frames of all clips (tOF, tLP: over pairs of frames)."""
    clips: float
    """Mean over the means of clips."""
    by_clip: dict[str, float]


class _Frame(NamedTuple):
    clip: str
    number: int
    result: np.ndarray
    truth: np.ndarray


class ClipScores:
    """Scores clips as their frames come; it keeps only the last frame, and for JOD one clip in a file.

    Args:
        names: Names from `CLIP_METRICS`.
        protocol: Which part of a clip is scored.
        weights: File of AlexNet's weights, which LPIPS and tLP use; default: from PyTorch's cache, else downloaded.
        device: Where AlexNet runs and JOD is computed.
        frame_rate: Frames a second, which JOD depends on.

    Raises:
        MetricError: A name is unknown, or JOD has no frame rate.
        BackboneError: AlexNet's weights cannot be had.
    """

    def __init__(self, names: Collection[str], protocol: VideoProtocol = PROTOCOLS['official'],
                 weights: str | Path | None = None, device: str | torch.device = 'cpu',
                 frame_rate: float | None = None) -> None:
        if unknown := set(names) - set(CLIP_METRICS):
            raise MetricError(f'found {sorted(unknown)} as metrics of clips. Expected {", ".join(CLIP_METRICS)}.')
        self.names = names
        self._of_films = [name for name in names if METRICS[name].package == 'pycvvdp']
        if self._of_films and not frame_rate:
            raise MetricError(f'{METRICS[self._of_films[0]].title} of clips depends on how fast they are. Expected a '
                              'frame rate.')
        self._frame_rate, self._device = frame_rate, device
        self._film: Film | None = None
        self._protocol = protocol
        on_lpips = any(METRICS[name].backbone == 'lpips' for name in names)
        self._lpips = lpips_network('alex', weights, device) if on_lpips else None
        self._clips: dict[str, Frames] = {}
        self._last: _Frame | None = None

    @property
    def protocol(self) -> str:
        """The sentence that the scores need beside them."""
        return self._protocol.describe(self.names, self._frame_rate)

    def add(self, clip: str, index: int, result: np.ndarray, truth: np.ndarray) -> None:
        """Take in the next frame; a clip that begins again is replaced.

        Args:
            clip: A key that tells the clip from others of the set, in every process.
            index: Number of the frame, from 0 and without gaps; a clip's frames come one after the other.
            result: uint8, (h, w, 3) BGR or (h, w) grey.
            truth: The ground truth, of the same size, or up to three rows and columns smaller or larger.

        Raises:
            MetricError: They are no pair of images, are too small, have another size than the frame before, or that
                frame is missing.
        """
        frame = _Frame(clip, index, *cut_to_one_size(result, truth))
        window = self._protocol.window(*frame.truth.shape[:2])
        before = self._before(frame) if index else None
        if self._of_films and not before:
            self._end_film()
            self._film = Film()
        scores: dict[str, float] = {}
        if index >= self._protocol.dropped:
            scores |= self._of_frame(frame, window)
        if before and index > self._protocol.dropped:
            scores |= self._of_pair(before, frame, window)
        if before:
            self._clips[clip].append(scores)
        else:
            self._clips[clip] = [scores]
        if self._film:
            self._film.add(frame.result[window], frame.truth[window])
        # copies, since the caller may read the next frame into the same array
        self._last = frame._replace(result=frame.result.copy(), truth=frame.truth.copy())

    def state(self) -> dict[str, Frames]:
        """Everything gathered so far, for `merge` in another process: numbers, some hundred bytes a frame."""
        self._end_film()
        return dict(self._clips)

    def merge(self, states: Iterable[Mapping[str, Frames]]) -> None:
        """Take in the whole clips that other processes gathered; a clip that several have counts once."""
        for state in states:
            self._clips.update(state)

    def results(self) -> dict[str, ClipMeans]:
        """The scores by metric; empty if no clip is long enough.

        They are the same for any order of clips. Clips that are too short are left out; `warnings` names them.
        """
        found: dict[str, ClipMeans] = {}
        for name, clips in self.by_frame().items():
            by_clip = {clip: float(np.mean([*values.values()])) for clip, values in clips.items()}
            found[name] = {'frames': float(np.mean([value for values in clips.values() for value in values.values()])),
                           'clips': float(np.mean([*by_clip.values()])), 'by_clip': by_clip}
        return found

    def by_frame(self) -> dict[str, dict[str, dict[int, float]]]:
        """The scores that count, by metric, clip and frame number; tOF and tLP have no score for the first frame."""
        self._end_film()
        counted = self.counted()
        return {name: {clip: {index: self._clips[clip][index][name] for index in indices
                              if name in self._clips[clip][index]} for clip, indices in counted.items()}
                for name in (self.names if counted else ())}

    def counted(self) -> dict[str, range]:
        """The numbers of the frames that count, by clip, without clips that are too short."""
        dropped = self._protocol.dropped
        return {clip: range(dropped, len(frames) - dropped) for clip, frames in sorted(self._clips.items())
                if len(frames) >= self._protocol.least_frames}

    def warnings(self) -> list[str]:
        """What a reader of the scores has to know, one sentence each."""
        least = self._protocol.least_frames
        return [f'clip {clip} is left out of the scores: it has {len(frames)} frames, {self._protocol.title} needs '
                f'{least}.' for clip, frames in sorted(self._clips.items()) if len(frames) < least]

    def _end_film(self) -> None:
        """Compute the JOD of the last clip, and give it to its frames."""
        film, self._film = self._film, None
        if film and self._last and self._last.clip in (counted := self.counted()):
            frames = counted[self._last.clip]
            for name in self._of_films:
                score = film.jod(name, frames, self._frame_rate or 0, self._device)
                for index in frames:
                    self._clips[self._last.clip][index][name] = score

    def _before(self, frame: _Frame) -> _Frame:
        last = self._last
        if last is None or (last.clip, last.number + 1) != (frame.clip, frame.number):
            found = f'frame {last.number} of clip {last.clip}' if last else 'nothing'
            raise MetricError(f'frame {frame.number} of clip {frame.clip} comes after {found}. Expected it after frame '
                              f'{frame.number - 1} of its clip: frames are numbered from 0 and come in order.')
        if frame.truth.shape != last.truth.shape:
            (height, width), (last_height, last_width) = frame.truth.shape[:2], last.truth.shape[:2]
            raise MetricError(f'frame {frame.number} of clip {frame.clip} is {width}x{height} pixels, the one before '
                              f'{last_width}x{last_height}. Expected frames of one size.')
        return last

    def _of_frame(self, frame: _Frame, window: Window) -> dict[str, float]:
        result, truth = frame.result[window], frame.truth[window]
        scores: dict[str, float] = {}
        if 'psnr' in self.names:
            scores['psnr'] = _psnr(result, truth, self._protocol.rounded_y)
        if 'lpips' in self.names and self._lpips:
            scores['lpips'] = lpips_distance(self._lpips, result, truth)
        return scores

    def _of_pair(self, before: _Frame, frame: _Frame, window: Window) -> dict[str, float]:
        images = before.truth, frame.truth, before.result, frame.result
        scores: dict[str, float] = {}
        if 'tof' in self.names:
            scores['tof'] = flow_distance(*images, crop=window)
        if 'tlp' in self.names and self._lpips:
            scores['tlp'] = perceptual_change_distance(self._lpips, *(image[window] for image in images))
        return scores


def _psnr(result: np.ndarray, truth: np.ndarray, rounded: bool) -> float:
    """PSNR in dB on Y, infinite for equal images."""
    if rounded:  # as BasicSR rounds Y of uint8
        result, truth = (bgr2ycbcr(image, y_only=True) for image in (result, truth))
    return float(calculate_psnr(result, truth, crop_border=0, test_y_channel=not rounded))
