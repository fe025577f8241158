"""What a benchmark finds, as structs: what `basicsr-kd bench --json` writes and `basicsr-kd report` reads."""
from __future__ import annotations

import msgspec

from basicsr_kd.utils.measured import Device, Speed

FORMAT = 'basicsr-kd bench 1'


class Row(msgspec.Struct, frozen=True, kw_only=True):
    """A network in a runtime, in a precision, on so many threads."""

    network: str
    file: str
    """The checkpoint, or the file of the runtime's own that was given."""
    runtime: str
    """One of `plan.RUNTIMES`."""
    program: str
    """The runtime with its version, as people call it."""
    precision: str
    threads: int
    speed: Speed
    """Its memory is that of a process of its own, beyond what it took before it opened the network."""
    macs: float | None = None
    """Multiply-accumulates of the image, as `utils.measured.Complexity` has them; None for files of a runtime."""
    time_ratio: float
    """The median time as a share of the first row's."""
    network_ratio: float | None = None
    """The same of the first network's in this runtime, precision and number of threads; None: it has none."""
    macs_ratio: float | None = None
    """MACs as a share of the first network's: where `network_ratio` is more, time does not follow them."""

    @property
    def way(self) -> str:
        """How it runs, for people."""
        order = {'torch': ', channels last', 'torch-nchw': ', NCHW'}.get(self.runtime, '')
        return f'{self.program}{order}, {self.precision}'


class Bench(msgspec.Struct, frozen=True, kw_only=True):
    """The content of one file of `basicsr-kd bench --json`."""

    format: str = FORMAT
    device: Device
    """Its threads are those that PyTorch takes by itself; each row has its own."""
    lr_size: tuple[int, int]
    """(height, width) of the image, which is random."""
    rows: list[Row]
    left_out: list[str] = []
    """What was not timed, and why, a sentence each."""
