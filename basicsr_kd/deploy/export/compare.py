"""Compares ways to 8 bits: what each step of ours brings, and how the result compares with NNCF's defaults."""
from __future__ import annotations

import tempfile
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from basicsr.utils import tensor2img
from torch import Tensor, from_numpy, no_grad

from basicsr_kd.deploy.export.graph import Graph
from basicsr_kd.deploy.export.verify import BORDER
from basicsr_kd.deploy.export.writers import Job, runners, write
from basicsr_kd.deploy.runner import Runner
from basicsr_kd.errors import MissingExtraError
from basicsr_kd.metrics.image_scores import image_score
from basicsr_kd.metrics.timing import time_in_turns
from basicsr_kd.quantisation import quantise
from basicsr_kd.utils.metric_names import METRICS
from basicsr_kd.utils.text import markdown_table

OURS = 'ranges evened out, weights rounded together'
NEAREST = 'ranges evened out, each weight to its nearest'
NNCF = "NNCF's defaults"
_TURNS = 5


class Way(msgspec.Struct, frozen=True):
    """One way to 8 bits, compared with the network in PyTorch in fp32."""

    name: str
    file_bytes: int
    psnr: float
    """Mean over the images, dB, on Y of 8 bits without 4 border pixels."""
    texture: float | None
    """Median over the images; 1: as much fine detail as in fp32; None: the images have none."""
    milliseconds: float
    """Median of turns in one process, for the first image."""


def compare(job: Job, graph: Graph, files: Sequence[Path], images: Sequence[tuple[Tensor, ...]],
            say: Callable[[str], None]) -> list[Way]:
    """Compare a file in 8 bits with the same network made by other ways.

    Args:
        job: How the file was written.
        graph: The network in fp32.
        files: The files that were written.
        images: Real images, as the graph takes them.
        say: Is told what comes next.

    Returns:
        The given way, the same without its last step, and NNCF's defaults where NNCF is installed.
    """
    assert job.calibration is not None
    first, suffix = files[0], files[0].suffix
    with tempfile.TemporaryDirectory(dir=first.parent) as folder:
        written = {NNCF if job.by_nncf else OURS: list(files)}
        if not job.by_nncf:
            say(f'for comparison: {NEAREST}')
            nearest = replace(graph, net=quantise(graph.net, job.calibration, nearest=True).net)
            path = Path(folder, f'nearest{suffix}')
            written[NEAREST] = write(job, nearest, path, path)
            say(f'for comparison: {NNCF}')
            path = Path(folder, f'nncf{suffix}')
            try:
                written[NNCF] = write(replace(job, by_nncf=True), graph, path, path)
            except MissingExtraError as error:
                say(f'left out: {error}')
        opened = {name: next(iter(runners(job, its[0]))) for name, its in written.items()}
        arrays = [[tensor.numpy() for tensor in tensors] for tensors in images]
        taken, _ = time_in_turns({name: partial(runner, *arrays[0]) for name, runner in opened.items()}, _TURNS)
        with no_grad():
            wanted = [_picture(graph.net(*tensors).numpy()) for tensors in images]
        return [_way(name, written[name], opened[name], arrays, wanted, taken[name]) for name in written]


def _way(name: str, files: Sequence[Path], runner: Runner, arrays: Sequence[Sequence[np.ndarray]],
         wanted: Sequence[np.ndarray], seconds: Sequence[float]) -> Way:
    pairs = list(zip((_picture(runner(*its)) for its in arrays), wanted, strict=True))

    def score(metric: str) -> float | None:
        found = [image_score(metric, one, other, border=BORDER, channel='y') for one, other in pairs]
        values = [value for value in found if value is not None]
        return METRICS[metric].of_set(values) if values else None

    psnr = score('psnr')
    assert psnr is not None
    return Way(name, sum(file.stat().st_size for file in files), psnr, score('texture'),
               1000 * float(np.median(seconds)))


def _picture(output: np.ndarray) -> np.ndarray:
    return tensor2img(from_numpy(output.copy()))


def way_table(ways: Sequence[Way]) -> str:
    """A table of the ways; times also as shares of the last way's, which is NNCF's if NNCF is installed."""
    rows = [[way.name, f'{way.file_bytes / 1e6:.2f}', f'{way.psnr:.1f}',
             '-' if way.texture is None else f'{way.texture:.2f}', f'{way.milliseconds:.0f}',
             f'{way.milliseconds / ways[-1].milliseconds:.2f}'] for way in ways]
    return markdown_table(['8 bits by', 'MB', 'PSNR, dB', 'texture', 'ms', 'of the last'], rows)
