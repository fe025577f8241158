"""Writes a network in each format, and says what the file holds and in which programs it is tried."""
from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from torch import Tensor

from basicsr_kd.archs.from_file import build_from_file, describe, network_section
from basicsr_kd.archs.sidecar import sidecar_path, write_sidecar
from basicsr_kd.archs.spandrel_net import as_module
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.deploy.export.formats import QUANTISED
from basicsr_kd.deploy.export.graph import Graph, graph_of
from basicsr_kd.deploy.export.ncnn_file import SMALLEST, write_ncnn
from basicsr_kd.deploy.export.onnx_file import quantise_onnx_by_nncf, write_onnx
from basicsr_kd.deploy.export.openvino_file import write_openvino
from basicsr_kd.deploy.export.torch_files import write_esrgan, write_safetensors
from basicsr_kd.deploy.runner import Runner, Torch
from basicsr_kd.deploy.runtimes import Ncnn, OnnxRuntime, OpenVino, openvino_formats


@dataclass(frozen=True)
class Job:
    """What is to be written.

    Args:
        weights: The network's checkpoint.
        kind: One of `FORMATS`.
        precision: The file's precision: 'fp32', 'fp16' (onnx) or 'int8' (onnx, openvino).
        calibration: For int8: images (n, 3, h, w), RGB in [0, 1].
        by_nncf: Whether NNCF turns the network into 8 bits, with its defaults.
        param_key: Which of the checkpoint's state dicts to read.
    """

    weights: Path
    kind: str
    precision: str = 'fp32'
    calibration: Tensor | None = None
    by_nncf: bool = False
    param_key: str | None = None


def write(job: Job, graph: Graph, path: Path, final: Path) -> list[Path]:
    """Write a network in its format.

    Args:
        job: What is to be written.
        graph: The network as runtimes get it; for int8 with its rounding (`to_eight_bits`), unless NNCF does it.
        path: The file; its folder exists.
        final: Where the file will lie, for other files that name it.

    Returns:
        All files; `path` comes first.

    Raises:
        ExportError: The format cannot hold the network.
        MissingExtraError: A package is missing.
    """
    if job.kind in QUANTISED:
        return _write_operators(job, graph, path)
    if job.kind == 'ncnn':
        write_ncnn(held(job.kind, graph), path)  # rounded here, since pnnx truncates
        return [path, path.with_suffix('.bin')]
    return _write_for_torch(job, path, final)


def _write_operators(job: Job, graph: Graph, path: Path) -> list[Path]:
    """Write a format that may hold 8 bits."""
    images = list(job.calibration.split(1)) if job.by_nncf and job.calibration is not None else None
    precision = 'fp32' if job.by_nncf else job.precision
    if job.kind == 'onnx':
        write_onnx(graph, path, precision)
        if images:
            quantise_onnx_by_nncf(path, graph, images)
        return [path]
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        whole = Path(folder, 'whole.onnx')
        write_onnx(graph, whole, precision)
        write_openvino(whole, path, images)
    return [path, path.with_suffix('.bin')]


def _write_for_torch(job: Job, path: Path, final: Path) -> list[Path]:
    state = read_state_dict(job.weights, job.param_key)
    if job.kind == 'esrgan':
        write_esrgan(state, path)
        return [path]
    described = describe(state, str(job.weights), elsewhere='')
    options = described if isinstance(described, dict) else None  # None: only spandrel knows the network
    if job.kind == 'comfyui':
        from basicsr_kd.deploy.export.comfyui import write_comfyui  # imports spandrel, which is slow
        folder = path.parents[2]  # the folder that has models/upscale_models
        *others, model = write_comfyui(state, folder, path.stem, options)
        return [model, *others]
    write_safetensors(state, path)
    if options is None:
        return [path]
    write_sidecar(path, network_section(state, final, options))
    return [path, sidecar_path(path)]


def runners(job: Job, path: Path) -> Iterator[Runner]:
    """Yield the programs that a file is tried in, one at a time."""
    if job.kind == 'onnx':
        yield OnnxRuntime(path)
    elif job.kind == 'openvino':
        for precision in ['int8'] if job.precision == 'int8' else openvino_formats():
            yield OpenVino(path, precision)
    elif job.kind == 'ncnn':
        yield Ncnn(path)
    else:
        if job.kind == 'comfyui':
            from basicsr_kd.deploy.export.comfyui import open_as_comfyui
            net = as_module(open_as_comfyui(read_state_dict(path), path.name))
        else:
            net = build_from_file(str(path))
        yield Torch(graph_of(net, 1, 1).net, channels_last=False)


def held(kind: str, graph: Graph) -> Graph:
    """The network with the weights that a file of this kind holds, as far as they can be told.

    OpenVINO merges factors and sums into the weights before it rounds them, so its file is compared with the network
    itself.
    """
    return graph.rounded(SMALLEST) if kind == 'ncnn' else graph
