"""What a benchmark finds, as structs: what `basicsr-kd bench --json` writes and `basicsr-kd report` reads."""
from __future__ import annotations

import msgspec

from basicsr_kd.utils.measured import Device, Speed

FORMAT = 'basicsr-kd bench 1'


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A network in one runtime, precision and number of threads."""

    network: str
    file: str
    """The file that was given: a checkpoint, or a runtime's own file."""
    runtime: str
    """One of `plan.RUNTIMES`."""
    program: str
    """The runtime with its version, as people call it."""
    precision: str
    threads: int
    speed: Speed
    """Time and memory; memory is that of a separate process, beyond what it took before it opened the network."""
    macs: float | None = None
    """Multiply-accumulates for the image, as in `utils.measured.Complexity`; None for a runtime's own files."""
    time_ratio: float
    """The median time as a share of the first row's."""
    network_ratio: float | None = None
    """The median time as a share of the first network's in this runtime, precision and number of threads; None if that
    is not there."""
    macs_ratio: float | None = None
    """MACs as a share of the first network's; if `network_ratio` is larger, time falls less than MACs."""

    @property
    def way(self) -> str:
        """The way to run, in words."""
        order = {'torch': ', channels last', 'torch-nchw': ', NCHW'}.get(self.runtime, '')
        return f'{self.program}{order}, {self.precision}'


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """The content of one file of `basicsr-kd bench --json`."""

    format: str = FORMAT
    device: Device
    """The device; its number of threads is PyTorch's default, while each row has its own."""
    lr_size: tuple[int, int]
    """(height, width) of the image, which is random."""
    rows: list[Row]
    left_out: list[str] = []
    """A sentence for each thing that was not timed, with the reason."""
