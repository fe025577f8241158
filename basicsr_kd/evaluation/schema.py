"""What `basicsr-kd evaluate --json` writes, as strict structs, and the tags that say what a method is."""
from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec

FORMAT = 'basicsr-kd evaluation 1'
Role = Literal['bicubic', 'teacher', 'pruned_teacher', 'student', 'student_without_distillation', 'student_l1', None]
Score = float | Literal['inf'] | None
"""One figure; the PSNR of equal images is 'inf', for which JSON has no number; NIQE of a flat image is none, and so
are tOF and tLP of a clip's first frame."""


class About(msgspec.Struct, forbid_unknown_fields=True, frozen=True):
    """What a method is: figures alone do not tell."""

    role: Role = None
    pruned: Annotated[float, msgspec.Meta(ge=0, lt=1)] | None = None
    """How far the teacher was pruned: this one, or the one that the student learned from (0: not at all)."""
    features: Annotated[int, msgspec.Meta(ge=1)] | None = None
    blocks: Annotated[int, msgspec.Meta(ge=0)] | None = None
    """Residual blocks of an FRNet."""
    seed: int | None = None
    iterations: Annotated[int, msgspec.Meta(ge=0)] | None = None
    group: str | None = None
    """Methods of one group are the seeds of one method, which has the group's name."""


class Protocol(msgspec.Struct, frozen=True):
    """How quality was measured."""

    scale: int | None
    """None where the images were finished ones and no LR was given."""
    border: int
    channel: Literal['y', 'rgb']
    text: str
    lpips_net: str | None = None
    clips: Literal['official', 'training'] | None = None
    """What of a clip counts; None where the sets are of images."""


class Device(msgspec.Struct, frozen=True):
    """Where time was measured."""

    name: str
    type: str
    threads: int
    torch: str


class ImageSet(msgspec.Struct, frozen=True):
    """A test set; images are named by their files' stems, frames by their clip and that, `calendar/0003`."""

    name: str
    images: list[str]
    hr: str | None = None
    """None where there is no ground truth: NIQE alone is measured."""
    lr: str | None = None
    clips: list[str] = []
    """None where it is a set of images; else `images` are the frames that are scored, clip by clip in their order."""

    def __str__(self) -> str:
        if not self.clips:
            return f'{self.name} ({len(self.images)} images)'
        return f'{self.name} ({len(self.clips)} clip{"s" if len(self.clips) > 1 else ""}, {len(self.images)} frames)'


class Part(msgspec.Struct, frozen=True):
    """Size and work of a part of a network."""

    params: int
    macs: float | None = None


class Complexity(msgspec.Struct, frozen=True):
    """Size and work; MACs and activations are those of an LR image of `lr_size` (height, width)."""

    params: int
    lr_size: tuple[int, int]
    counter: str
    params_nonzero: int | None = None
    macs: float | None = None
    activations: float | None = None
    file_bytes: int | None = None
    parts: dict[str, Part] = {}
    """Of a network that goes from frame to frame, by their names in it: 'fnet', 'srnet'."""


class Speed(msgspec.Struct, frozen=True):
    """Measured seconds of one LR image of `lr_size` (height, width): lower quartile, median, upper quartile."""

    seconds: tuple[float, float, float]
    lr_size: tuple[int, int]
    peak_bytes: int | None = None


class Fid(msgspec.Struct, frozen=True):
    """The Fréchet distance of a set, and of how many images."""

    value: float
    samples: int


class Kid(msgspec.Struct, frozen=True):
    """Patch-wise kernel distance of a set with its 95 % interval, and what two halves of the ground truth give."""

    value: float
    low: float
    high: float
    floor: float
    floor_low: float
    floor_high: float
    patches: int


class SetScores(msgspec.Struct, frozen=True):
    """The quality of one method on one set."""

    images: dict[str, dict[str, Score]] = {}
    mean: dict[str, Score] = {}
    fid: Fid | None = None
    kid: Kid | None = None
    clips: dict[str, dict[str, float | Literal['inf']]] = {}
    """Means by metric and clip; `mean` is over the frames of all clips."""


class Method(msgspec.Struct, frozen=True):
    """One row of an evaluation."""

    name: str
    kind: Literal['bicubic', 'network', 'images']
    scores: dict[str, SetScores]
    file: str | None = None
    network: dict[str, Any] | None = None
    about: About = About()
    complexity: Complexity | None = None
    speed: dict[str, Speed] = {}


class Evaluation(msgspec.Struct, frozen=True):
    """One file of `basicsr-kd evaluate --json`."""

    format: str
    protocol: Protocol
    device: Device
    sets: list[ImageSet]
    methods: list[Method]
    left_out: dict[str, str] = {}
    skipped: dict[str, str] = {}
    warnings: list[str] = []
