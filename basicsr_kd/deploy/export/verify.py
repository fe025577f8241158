"""Checks whether a written network gives in its runtime what it gives in PyTorch, and times it."""
from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import msgspec
import numpy as np
from basicsr.utils import tensor2img
from torch import Tensor, from_numpy, nn, no_grad

from basicsr_kd.deploy.export.formats import FORMATS
from basicsr_kd.deploy.export.graph import Graph
from basicsr_kd.deploy.runner import Runner, Torch
from basicsr_kd.metrics.image_scores import image_score
from basicsr_kd.metrics.timing import time_in_turns
from basicsr_kd.utils.text import markdown_table

BORDER = 4
TURNS = 3  # turns that are timed
MOST_DIFFERENCE = 1e-3
"""Tolerance in fp32, against PyTorch in fp32 with the weights as the file holds them; values are 0 to 1."""
LEAST_PSNR = {'fp32': 40.0, 'fp16': 40.0, 'bf16': 40.0, 'int8': 20.0}
"""Least PSNR of the images against PyTorch in fp32, dB. For int8 the loss is reported; below 20 dB it is broken."""


class Trial(msgspec.Struct, frozen=True):
    """A file in a runtime, beside the network in PyTorch."""

    format: str
    runtime: str
    precision: str
    file_bytes: int
    difference: float
    """The largest difference on random input of two sizes and on the images; ncnn: with weights rounded as in the file.
    """
    psnr: float | None
    """Mean over the images that differ, dB, on Y of 8 bits without 4 border pixels, against fp32; None: all equal."""
    milliseconds: float | None
    """Time for the first image; None: not timed, like fp16 on a CPU."""
    torch_milliseconds: float | None
    """Time in PyTorch in fp32 as people's scripts run it, in the same process, in turns."""
    largest_activation: float | None = None
    """Largest value of any layer on the images, for formats whose programs compute in fp16, which ends at 65,504."""

    @property
    def failure(self) -> str | None:
        """What is out of tolerance, in words."""
        if not math.isfinite(self.difference):
            return 'it makes other sizes or values that are not finite'
        if self.precision == 'fp32' and FORMATS[self.format].exact and self.difference > MOST_DIFFERENCE:
            return f"its output is {self.difference:.1e} from PyTorch's, over {MOST_DIFFERENCE:g}"
        least = LEAST_PSNR[self.precision]
        if self.psnr is not None and self.psnr < least:
            return f"its images are {self.psnr:.1f} dB from PyTorch's, below {least:g} dB"
        return None


def try_out(kind: str, runner: Runner, files: Sequence[Path], graph: Graph, held: Graph,
            images: Sequence[tuple[Tensor, ...]], timed: bool = True) -> Trial:
    """Run a written network beside the original.

    Args:
        kind: The name of the format.
        runner: The file, opened in a runtime.
        files: The files that were written.
        graph: The network.
        held: The network with the weights that the files hold; the same where they are not rounded.
        images: Real images, as the graph takes them.
        timed: Whether to time it; fp16 is never timed, since it is for GPUs.
    """
    sizes = (graph.side(32), graph.side(48)), (graph.side(57), graph.side(33))
    given = [graph.tensors(*size, seed=index) for index, size in enumerate(sizes)] + list(images)
    reference = _eager(held)
    outputs = [(runner(*arrays), reference(*arrays)) for arrays in map(_arrays, given)]
    difference = max(map(_difference, outputs))
    fp32 = reference if held is graph else _eager(graph)
    scores = [_psnr(output, expected if held is graph else fp32(*_arrays(tensors)))
              for tensors, (output, expected) in zip(images, outputs[-len(images):], strict=True)]
    differing = [score for score in scores if score != math.inf]
    psnr = float(np.mean(differing)) if differing else None
    seconds: tuple[float | None, ...] = None, None
    if timed and runner.precision != 'fp16':
        seconds = _times([runner, fp32], _arrays(images[0]))
    here, there = (None if one is None else 1000 * one for one in seconds)
    largest = _largest_activation(graph, images) if kind == 'ncnn' else None
    return Trial(kind, runner.name, runner.precision, sum(file.stat().st_size for file in files),
                 difference, psnr, here, there, largest)


def trial_table(trials: Sequence[Trial]) -> str:
    """A table of the trials."""
    rows = [[trial.format, f'{trial.runtime}, {trial.precision}', f'{trial.file_bytes / 1e6:.2f}',
             f'{trial.difference:.1e}', 'equal' if trial.psnr is None else f'{trial.psnr:.1f}',
             *('-' if value is None else f'{value:.0f}' if value >= 100 else f'{value:.1f}'
               for value in (trial.milliseconds, trial.torch_milliseconds))] for trial in trials]
    table = markdown_table(['format', 'runs in', 'MB', 'largest difference', 'PSNR, dB', 'ms', 'PyTorch fp32, ms'],
                           rows)
    largest = [trial.largest_activation for trial in trials if trial.largest_activation is not None]
    if largest:
        table += (f'\n\nLargest activation on the images: {max(largest):.3g}; fp16, in which GPUs run it, ends at '
                  '65,504.')
    return table


def _arrays(tensors: Sequence[Tensor]) -> list[np.ndarray]:
    return [tensor.numpy() for tensor in tensors]


def _difference(pair: tuple[np.ndarray, np.ndarray]) -> float:
    """The largest difference; infinite where sizes differ or a value is not finite."""
    output, expected = pair
    if output.shape != expected.shape or not np.isfinite(output).all():
        return math.inf
    return float(np.abs(output - expected).max())


def _eager(graph: Graph) -> Torch:
    return Torch(graph.net, channels_last=False)


@no_grad()
def _largest_activation(graph: Graph, images: Sequence[tuple[Tensor, ...]]) -> float:
    largest = 0.0

    def look(module: nn.Module, inputs: object, output: object) -> None:
        nonlocal largest
        if isinstance(output, Tensor):
            largest = max(largest, float(output.abs().max()))

    hooks = [module.register_forward_hook(look) for module in graph.net.modules()]
    for tensors in images:
        graph.net(*tensors)
    for hook in hooks:
        hook.remove()
    return largest


def _psnr(output: np.ndarray, expected: np.ndarray) -> float:
    if output.shape != expected.shape:
        return -math.inf
    one, other = (tensor2img(from_numpy(np.nan_to_num(image))) for image in (output, expected))
    score = image_score('psnr', one, other, border=BORDER, channel='y')
    assert score is not None
    return score


def _times(runners: Sequence[Runner], arrays: Sequence[np.ndarray]) -> tuple[float, ...]:
    """The median seconds of each runner; they take turns."""
    taken, _ = time_in_turns({place: partial(runner, *arrays) for place, runner in enumerate(runners)}, TURNS)
    return tuple(float(np.median(own)) for own in taken.values())
