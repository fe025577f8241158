"""Results of measurements, as structs that a JSON file can hold. Imports neither torch nor BasicSR."""
from __future__ import annotations

import msgspec


class Device(msgspec.Struct, frozen=True):
    """The device that time was measured on."""

    name: str
    type: str
    threads: int
    """Threads of the CPU."""
    torch: str
    """PyTorch's version."""


class Part(msgspec.Struct, frozen=True):
    """Size and work of a part of a network."""

    params: int
    macs: float | None = None


class Complexity(msgspec.Struct, frozen=True, kw_only=True):
    """The cost of one forward pass of a network; None: not counted."""

    params: int
    """Number of parameters."""
    params_nonzero: int | None = None
    """Parameters that are not 0; fewer than `params` after unstructured pruning, which saves nothing else."""
    macs: float | None = None
    """Multiply-accumulates of one image of `lr_size`, as mmengine counts them: convolutions, matrix products, and one
    for each value that an interpolation gives (0.1 % of an RRDBNet); activations and additions are free."""
    activations: float | None = None
    """Values that convolutions and matrix products give for that image, as mmengine counts them (Radosavovic et al.,
    Designing Network Design Spaces, CVPR 2020): nearer to time and memory than MACs if widths are small."""
    lr_size: tuple[int, int]
    """(height, width) of the low-resolution input that `macs` and `activations` hold for."""
    parts: dict[str, Part] = {}
    """Parts of a network that goes from frame to frame, by their names in it: 'fnet', 'srnet'. The work between them
    (enlarging the flow, warping) is in none of them."""
    file_bytes: int | None = None
    """Size of the network's checkpoint."""
    counter: str = 'mmengine'
    """The program that counted."""


class Speed(msgspec.Struct, frozen=True, kw_only=True):
    """Speed of one network in one number format, on images of `lr_size`, one at a time."""

    seconds: tuple[float, float, float]
    """Lower quartile, median and upper quartile of a forward pass."""
    peak_bytes: int | None = None
    """The weights, and the most memory that a forward pass takes in addition; None if the system does not tell."""
    lr_size: tuple[int, int]
    """(height, width) of the low-resolution input."""
    turns: int | None = None
    """Number of forward passes that `seconds` is over."""


class Fid(msgspec.Struct, frozen=True):
    """The Fréchet distance of a set, and the number of its images."""

    value: float
    samples: int


class Kid(msgspec.Struct, frozen=True):
    """KID of a result, and values to compare it with. It is around 0 for equal distributions, and may be negative."""

    value: float
    low: float
    """95 % interval: how much it depends on which images are in the set."""
    high: float
    floor: float
    """KID between two halves of the ground truth, whose distributions are equal: mean over random halves."""
    floor_low: float
    """95 % interval: a value inside it is no difference that these patches could show. Halves have fewer patches than
    the whole, so the interval is rather too wide."""
    floor_high: float
    patches: int


class StageCost(msgspec.Struct, frozen=True):
    """The effect of pruning one stage of a network alone."""

    stage: str
    """Module path."""
    before: int
    """Parameters or MACs of the stage."""
    after: int
    """Parameters or MACs that are left; widths go in steps, so this may differ from the ratio."""
    psnr: float | None
    """PSNR of the network's output against that of the unpruned network, in dB; infinite if nothing was removed, None
    if the stage was not pruned."""
    reason: str = ''
    """Why the stage was not pruned."""
