"""What measurements give, as structs that a JSON file can hold. Imports neither torch nor BasicSR."""
from __future__ import annotations

import msgspec


class Device(msgspec.Struct, frozen=True):
    """Where time was measured."""

    name: str
    type: str
    threads: int
    """Of the CPU."""
    torch: str
    """PyTorch's version."""


class Part(msgspec.Struct, frozen=True):
    """Size and work of a part of a network."""

    params: int
    macs: float | None = None


class Complexity(msgspec.Struct, frozen=True, kw_only=True):
    """What one forward pass of a network costs; None: not counted."""

    params: int
    """Number of parameters."""
    params_nonzero: int | None = None
    """Those that are not 0; less than `params` after unstructured pruning, which saves nothing else."""
    macs: float | None = None
    """Multiply-accumulates of one image of `lr_size`, as mmengine counts them: convolutions and matrix products, and
    one for each value an interpolation puts out (0.1 % of an RRDBNet); activations and additions are free."""
    activations: float | None = None
    """Values that the convolutions and matrix products put out for that image, as mmengine counts them (Radosavovic et
    al., Designing Network Design Spaces, CVPR 2020): nearer to time and memory than MACs where widths are small."""
    lr_size: tuple[int, int]
    """(height, width) of the low-resolution input that `macs` and `activations` hold for."""
    parts: dict[str, Part] = {}
    """Of a network that goes from frame to frame, by their names in it: 'fnet', 'srnet'. What it does between them
    (enlarging the flow, warping) is in none of them."""
    file_bytes: int | None = None
    """Of its checkpoint."""
    counter: str = 'mmengine'
    """What counted."""


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """One network in one number format; what it holds for: an image of `lr_size`, one at a time."""

    seconds: tuple[float, float, float]
    """Lower quartile, median and upper quartile of a forward pass."""
    peak_bytes: int | None = None
    """The weights and the most memory that a forward pass takes besides; None where the system does not tell."""
    lr_size: tuple[int, int]
    """(height, width) of the low-resolution input."""
    turns: int | None = None
    """How many forward passes `seconds` is over."""


class Fid(msgspec.Struct, frozen=True):
    """The Fréchet distance of a set, and of how many images."""

    value: float
    samples: int


class Kid(msgspec.Struct, frozen=True):
    """KID of a result, and what to hold it against. Around 0 for equal distributions; it may be negative."""

    value: float
    low: float
    """95 % interval: how much it depends on which images are in the set."""
    high: float
    floor: float
    """Between two halves of the ground truth, whose distributions are equal: mean over random halves."""
    floor_low: float
    """95 % interval: a value inside it is no difference that these patches could show. Halves have fewer patches than
    the whole, so it is rather too wide."""
    floor_high: float
    patches: int


class StageCost(msgspec.Struct, frozen=True):
    """What pruning one stage of a network alone does."""

    stage: str
    """Module path."""
    before: int
    """Parameters or MACs of the stage."""
    after: int
    """What is left of them; widths go in steps, so it may be some way off the ratio."""
    psnr: float | None
    """Of the network's output against that of the unpruned network, in dB; infinite where nothing went, None where the
    stage was not pruned."""
    reason: str = ''
    """Why it was not."""
