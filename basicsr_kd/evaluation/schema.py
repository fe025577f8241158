"""What an evaluation finds, as structs: what `basicsr-kd evaluate --json` writes and `basicsr-kd report` reads."""
from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec

from basicsr_kd.utils.measured import Complexity, Device, Fid, Kid, Speed

FORMAT = 'basicsr-kd evaluation 1'
Role = Literal['bicubic', 'teacher', 'pruned_teacher', 'student', 'student_without_distillation', 'student_l1', None]
Figure = float | Literal['inf']
"""The PSNR of equal images is 'inf', for which JSON has no number."""
Score = Figure | None
"""The score of one image; None for NIQE of a flat image, and for tOF and tLP of a clip's first frame."""


class About(msgspec.Struct, forbid_unknown_fields=True, frozen=True, omit_defaults=True):
    """What a method is, since figures alone do not tell."""

    role: Role = None
    pruned: Annotated[float, msgspec.Meta(ge=0, lt=1)] | None = None
    """How far the teacher was pruned: this method, or the teacher that it learned from; 0: not pruned."""
    features: Annotated[int, msgspec.Meta(ge=1)] | None = None
    blocks: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Residual blocks of an FRNet."""
    seed: int | None = None
    iterations: Annotated[int, msgspec.Meta(ge=0)] | None = None
    group: str | None = None
    """Methods of one group are seeds of one method, which is shown under the group's name."""


class MeasuredProtocol(msgspec.Struct, frozen=True):
    """How quality was measured."""

    scale: int | None
    """None where all images were finished ones and no LR was given."""
    border: int
    channel: Literal['y', 'rgb']
    text: str
    lpips_net: str | None = None
    clips: Literal['official', 'training'] | None = None
    """Which part of a clip is scored; None where the sets are of images."""
    frame_rate: float | None = None
    """Frames a second, as JOD of clips was given."""
    teacher: str | None = None
    """The network whose results stand for ground truth; None: there is ground truth, or no metric needs it."""


class MeasuredSet(msgspec.Struct, frozen=True):
    """A test set; images are named by their files' stems, frames by clip and stem, as in `calendar/0003`."""

    name: str
    images: list[str]
    hr: str | None = None
    """None where there is no ground truth: NIQE alone is measured."""
    lr: str | None = None
    clips: list[str] = []
    """Empty for a set of images; else `images` are the frames that are scored, clip by clip in their order."""

    def __str__(self) -> str:
        counts = {'clip': len(self.clips), 'frame' if self.clips else 'image': len(self.images)}
        content = (f'{count} {what}{"s" * (count != 1)}' for what, count in counts.items() if count)
        return f'{self.name} ({", ".join(content)})'


class SetFigures(msgspec.Struct, frozen=True, omit_defaults=True):
    """The quality of one method on one set."""

    images: dict[str, dict[str, Score]]
    mean: dict[str, Score]
    fid: Fid | None = None
    kid: Kid | None = None
    clips: dict[str, dict[str, Figure]] = {}
    """Means by metric and clip, whereas `mean` is over the frames of all clips."""


class MeasuredMethod(msgspec.Struct, frozen=True, kw_only=True):
    """One row of an evaluation."""

    name: str
    kind: Literal['bicubic', 'network', 'images']
    file: str | None = None
    network: dict[str, Any] | None = None
    runtime: str | None = None
    """The program that runs a file written for it, with version and precision; None: PyTorch, or nothing is run."""
    about: About = About()
    complexity: Complexity | None = None
    speed: dict[str, Speed] = {}
    scores: dict[str, SetFigures]


class Evaluation(msgspec.Struct, frozen=True, kw_only=True):
    """What was measured, how and where: the content of one file of `basicsr-kd evaluate --json`."""

    format: str = FORMAT
    protocol: MeasuredProtocol
    device: Device
    sets: list[MeasuredSet]
    left_out: dict[str, str] = {}
    """Metrics that could not be measured, and why."""
    skipped: dict[str, str] = {}
    """Files that were left out, and why."""
    warnings: list[str] = []
    """What a reader has to know."""
    methods: list[MeasuredMethod]


def figure(value: float) -> Figure:
    """A figure as a JSON file can hold it."""
    return 'inf' if value == math.inf else float(value)
