"""Runs a benchmark: writes networks for their runtimes, opens them all and times them in turns."""
from __future__ import annotations

import tempfile
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from torch import Tensor

from basicsr_kd.bench.peak import opened, peaks
from basicsr_kd.bench.plan import Entry, entries
from basicsr_kd.bench.schema import Bench, Row
from basicsr_kd.deploy.export.export import Plan, export, must_take_colours
from basicsr_kd.deploy.export.formats import FORMATS, KINDS
from basicsr_kd.deploy.export.writers import Job
from basicsr_kd.deploy.network import TorchNetwork, TrainedNetwork
from basicsr_kd.deploy.open import open_network
from basicsr_kd.errors import BenchError, ExportError
from basicsr_kd.metrics.complexity import complexity
from basicsr_kd.metrics.speed import device_info
from basicsr_kd.metrics.timing import quartiles, reason, time_in_turns
from basicsr_kd.utils.measured import Speed


@dataclass(frozen=True)
class Request:
    """What is to be timed.

    Args:
        files: Checkpoints, or files of a runtime's own, by network name.
        lr_size: (height, width) of the image that each network enlarges.
        runtimes: From `plan.installed`.
        precisions: Some of 'fp32', 'bf16' and 'int8'.
        threads: Numbers of threads.
        trial: A real image, (h, w, 3) BGR uint8, on which written networks are tried.
        calibration: For int8: images (n, 3, h, w), RGB in [0, 1].
        turns: How often each network runs.
        budget: Seconds after which no new turn starts, once there are three.
        param_key: Which of a checkpoint's state dicts to read.
    """

    files: Mapping[str, Path]
    lr_size: tuple[int, int]
    runtimes: Sequence[str]
    precisions: Sequence[str]
    threads: Sequence[int]
    trial: np.ndarray
    calibration: Tensor | None = None
    turns: int = 10
    budget: float = 30.0
    param_key: str | None = None


def bench(request: Request, say: Callable[[str], None] = lambda text: None, progress: bool = False) -> Bench:
    """Time networks.

    Args:
        request: What to time, and how.
        say: Is told what comes next.
        progress: Whether to show bars.

    Raises:
        CheckpointError, InferError: A file cannot be opened.
        ExportError: A network takes images of one channel.
        BenchError: The image's size does not fit a network, or nothing is left to time.
    """
    networks = {name: open_network(name, file, param_key=request.param_key) for name, file in request.files.items()}
    for network in networks.values():
        if isinstance(network, TorchNetwork):
            must_take_colours(network)
    _check_size(networks.values(), request.lr_size)
    wanted, left_out = entries(networks, request.runtimes, request.precisions, request.threads)
    with tempfile.TemporaryDirectory() as folder:
        files = _written(request, wanted, networks, Path(folder), left_out, say)
        taken, programs = _timed(request, files, left_out, progress)
        memory = peaks({entry: files[entry] for entry in taken}, request.lr_size, request.param_key, progress)
    if not taken:
        raise BenchError(f'nothing is left to time. {" ".join(left_out)}')
    macs = _macs(networks, request.lr_size, left_out)
    rows, medians = [], {entry: float(np.median(seconds)) for entry, seconds in taken.items()}
    first = next(iter(networks))
    for entry, seconds in taken.items():
        alike = medians.get(entry._replace(network=first))
        own, its = macs.get(entry.network), macs.get(first)
        rows.append(Row(
            network=entry.network, file=str(request.files[entry.network]), runtime=entry.runtime,
            program=programs[entry], precision=entry.precision, threads=entry.threads,
            speed=Speed(seconds=quartiles(seconds), peak_bytes=memory[entry], lr_size=request.lr_size,
                        turns=len(seconds)),
            macs=own, time_ratio=medians[entry] / next(iter(medians.values())),
            network_ratio=medians[entry] / alike if alike else None, macs_ratio=own / its if own and its else None))
    return Bench(device=device_info('cpu'), lr_size=request.lr_size, rows=rows, left_out=left_out)


def _check_size(networks: Iterable[TrainedNetwork], lr_size: tuple[int, int]) -> None:
    for network in networks:
        if any(side % network.multiple for side in lr_size):
            raise BenchError(f'the image has {lr_size[1]}x{lr_size[0]} pixels, and {network.file} takes multiples of '
                             f'{network.multiple}. Give such a size.')


def _written(request: Request, wanted: Sequence[Entry], networks: Mapping[str, TrainedNetwork], folder: Path,
             left_out: list[str], say: Callable[[str], None]) -> dict[Entry, Path]:
    """The file from which each entry is opened; entries that cannot be written are left out."""
    files: dict[Entry, Path] = {}
    made: dict[tuple[str, str, str], Path | None] = {}
    for entry in wanted:
        network = networks[entry.network]
        if entry.runtime not in KINDS or not isinstance(network, TorchNetwork):
            files[entry] = network.file
            continue
        kind, precision = KINDS[entry.runtime], 'int8' if entry.precision == 'int8' else 'fp32'
        key = entry.network, kind, precision
        if key not in made:
            say(f'writing {entry.network} for {entry.runtime}, {precision}')
            path = folder / f'{len(made)}{FORMATS[kind].suffix}'
            job = Job(network.file, kind, precision, request.calibration if precision == 'int8' else None,
                      param_key=request.param_key)
            try:
                export(Plan(job, network, folder, Path(path.name)), [request.trial], timed=False)
                made[key] = path
            except ExportError as error:
                left_out.append(f'{entry.network} in {entry.runtime}, {precision}, is left out: {error}')
                made[key] = None
        if found := made[key]:
            files[entry] = found
    return files


def _timed(request: Request, files: Mapping[Entry, Path], left_out: list[str],
           progress: bool) -> tuple[dict[Entry, list[float]], dict[Entry, str]]:
    """The seconds of each turn and the program with its version, by entry."""
    calls, programs = {}, {}
    for entry, file in files.items():
        network = opened(entry, file, request.param_key)
        calls[entry] = partial(network.run_net, *network.sample(request.lr_size))
        programs[entry] = network.run_net.name
    taken, failures = time_in_turns(calls, request.turns, request.budget, progress)
    left_out += [f'{entry.network} in {entry.runtime}, {entry.precision}, is left out: {why}'
                 for entry, why in failures.items()]
    return taken, programs


def _macs(networks: Mapping[str, TrainedNetwork], lr_size: tuple[int, int], left_out: list[str]) -> dict[str, float]:
    counts: dict[str, float] = {}
    for name, network in networks.items():
        try:
            macs = complexity(network.net, lr_size).macs if isinstance(network, TorchNetwork) else None
            counts |= {} if macs is None else {name: macs}
        except Exception as error:  # whatever the network's own code raises when traced
            left_out.append(f'The operations of {name} cannot be counted: {reason(error)}')
    return counts
