"""From a checkpoint to a file for a runtime that has been tried there."""
from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from torch import Tensor

from basicsr_kd.deploy.export.formats import FORMATS, file_name
from basicsr_kd.deploy.export.graph import Graph, graph_of
from basicsr_kd.deploy.export.ncnn_file import SMALLEST, write_ncnn
from basicsr_kd.deploy.export.onnx_file import quantise_onnx, write_onnx
from basicsr_kd.deploy.export.openvino_file import write_openvino
from basicsr_kd.deploy.export.verify import Trial, try_out
from basicsr_kd.deploy.network import TorchNetwork
from basicsr_kd.deploy.runner import Runner
from basicsr_kd.deploy.runtimes import Ncnn, OnnxRuntime, OpenVino, openvino_formats
from basicsr_kd.errors import ExportError


class ToleranceError(ExportError):
    """A file was written and does not give what PyTorch gives; `trials` have the figures."""

    def __init__(self, text: str, trials: Sequence[Trial]) -> None:
        super().__init__(text)
        self.trials = trials


@dataclass(frozen=True)
class Job:
    """What is to be written.

    Args:
        weights: The network's checkpoint.
        kind: One of `FORMATS`.
        precision: Of the file: 'fp32', 'fp16' (onnx) or 'int8' (onnx, openvino).
        calibration: (n, 3, h, w), RGB in [0, 1], for int8.
    """

    weights: Path
    kind: str
    precision: str = 'fp32'
    calibration: Tensor | None = None


def plan(job: Job, out: Path) -> tuple[TorchNetwork, Path]:
    """Open the network and name the file; nothing is written.

    Raises:
        ExportError: The name does not go with the network or the format.
        CheckpointError, InferError: There is no network of RGB images in the file.
    """
    network = TorchNetwork(job.weights.stem, job.weights)
    return network, file_name(job.kind, out, job.weights.stem, network.scale, job.precision)


def export(job: Job, network: TorchNetwork, path: Path, images: Sequence[np.ndarray],
           say: Callable[[str], None] = lambda text: None, timed: bool = True) -> tuple[list[Trial], list[Path]]:
    """Write a network and try it; files have their names only once it works.

    Args:
        job: What to write.
        network: From `plan`.
        path: From `plan`.
        images: Real ones, (h, w, 3) BGR uint8, at least one.
        say: Is told what comes next.
        timed: Whether the trials are to say how fast it is.

    Returns:
        How it does in each runtime and precision, and the files.

    Raises:
        ExportError: The format cannot hold the network.
        ToleranceError: It does not give there what it gives in PyTorch.
        MissingExtraError: A package is missing.
        OSError: It cannot be written.
    """
    graph = graph_of(network.net, network.scale, network.multiple)
    given = [graph.of_image(image) for image in images]
    with _folder_near(path) as folder:
        say(f'writing {path.name}')
        draft = Path(folder, path.name)
        _write(job, graph, draft)
        files = [draft, *(draft.with_suffix(suffix) for suffix in FORMATS[job.kind].beside)]
        trials = []
        for runner in _runners(job, draft):
            say(f'trying it in {runner.name}, {runner.precision}')
            trials.append(try_out(job.kind, runner, files, graph, _held(job.kind, graph), given, timed))
        failures = [f'in {trial.runtime}, {trial.precision}: {trial.failure}' for trial in trials if trial.failure]
        if failures:
            raise ToleranceError(f'{path.name} does not do what {job.weights.name} does: {"; ".join(failures)}. '
                                 'Nothing was left behind.', trials)
        path.parent.mkdir(parents=True, exist_ok=True)
        final = [path.with_name(file.name) for file in files]
        for file, name in zip(reversed(files), reversed(final), strict=True):  # the one that is named last
            os.replace(file, name)
    return trials, final


def _write(job: Job, graph: Graph, path: Path) -> None:
    images = None if job.calibration is None else list(job.calibration.split(1))
    if images and len(graph.inputs) > 1:
        raise ExportError('--int8 is for networks of images; FRNet adds up what it did in earlier frames, and with it '
                          'every error of rounding. Expected --format onnx or openvino without --int8.')
    if job.kind == 'onnx':
        write_onnx(graph, path, job.precision == 'fp16')
        if images:
            quantise_onnx(path, graph, images)
    elif job.kind == 'openvino':
        with tempfile.TemporaryDirectory(dir=path.parent) as folder:
            whole = Path(folder, 'whole.onnx')
            write_onnx(graph, whole, False)
            write_openvino(whole, path, images)
    elif job.kind == 'ncnn':
        write_ncnn(graph, path)


def _runners(job: Job, path: Path) -> Iterator[Runner]:
    """The programs that a file is tried in, one at a time."""
    if job.kind == 'onnx':
        yield OnnxRuntime(path)
    elif job.kind == 'openvino':
        for precision in ['int8'] if job.precision == 'int8' else openvino_formats():
            yield OpenVino(path, precision)
    elif job.kind == 'ncnn':
        yield Ncnn(path)


def _held(kind: str, graph: Graph) -> Graph:
    """The network with the weights that a file of this kind holds."""
    return {'openvino': graph.rounded, 'ncnn': lambda: graph.rounded(SMALLEST)}.get(kind, lambda: graph)()


@contextmanager
def _folder_near(path: Path) -> Iterator[str]:
    """A temporary folder on the disk of a file, whose own folder may be still to be made."""
    near = next(folder for folder in path.absolute().parents if folder.is_dir())
    with tempfile.TemporaryDirectory(prefix=f'.{path.stem}.', dir=near) as folder:
        yield folder
