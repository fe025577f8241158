"""ONNX files: any height and width, checked by onnx; and their 8-bit version."""
from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from basicsr_kd.deploy.export.graph import LEAST, Graph, recording
from basicsr_kd.deploy.export.int8 import quantise
from basicsr_kd.errors import ExportError
from basicsr_kd.utils.extras import load

OPSET = 18
"""Of the operators: what ONNX Runtime 1.14, TensorRT 8.6 and OpenVINO 2023 read, and all later ones."""
_SIZES = {2: 'height', 3: 'width'}


def write_onnx(graph: Graph, path: Path, half: bool) -> None:
    """Write a network by PyTorch's tracing exporter.

    Its newer one (`dynamo=True`) holds FRNet to one size of image (seen with 2.14).

    Args:
        graph: What to write.
        path: The .onnx file.
        half: Weights, input and output in fp16.

    Raises:
        ExportError: An operator has no place in ONNX, or onnx's checker refuses the file.
        MissingExtraError: onnx is not installed.
    """
    onnx = load('onnx', '--format onnx')
    graph = graph.half() if half else graph
    tensors = graph.tensors(graph.side(LEAST), graph.side(LEAST + 8))
    if half:
        tensors = tuple(tensor.half() for tensor in tensors)
    sizes = {name: {axis: f'{size}{"_hr" if name.startswith("hr") else ""}' for axis, size in _SIZES.items()}
             for name in graph.inputs}
    sizes[graph.output] = {axis: f'{size}_out' for axis, size in _SIZES.items()}
    try:
        model = onnx.load_from_string(onnx_of(graph.net, tensors, graph.inputs, graph.output, sizes))
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # of the network's own code, PyTorch's or onnx's
        raise ExportError(f'ONNX (opset {OPSET}) cannot hold this network: {_reason(error)}. --format safetensors '
                          'needs no operators.') from error
    _describe(model, graph, 'fp16' if half else 'fp32')
    onnx.save(model, path)


def onnx_of(net: nn.Module, tensors: tuple[Tensor, ...], inputs: Sequence[str], output: str,
            axes: Mapping[str, Mapping[int, str]]) -> bytes:
    """A network, or a part of one, as an .onnx file has it.

    Args:
        net: In evaluation mode, on the CPU.
        tensors: What it takes.
        inputs: Names of those.
        output: Name of what it gives.
        axes: Of each name, the dimensions that may have any size, and what they are called.
    """
    content = io.BytesIO()
    with recording():
        torch.onnx.export(net, tensors, content, dynamo=False, opset_version=OPSET,  # type: ignore[arg-type]
                          input_names=list(inputs), output_names=[output], dynamic_axes=axes)
    return content.getvalue()


def quantise_onnx(path: Path, graph: Graph, images: Sequence[torch.Tensor]) -> None:
    """Turn an .onnx file into one that computes in 8 bits.

    Args:
        path: The file, which is written over.
        graph: What is in it.
        images: (1, 3, h, w) each, on which ranges are measured.
    """
    onnx = load('onnx', '--int8')
    model = quantise(onnx.load(path), [{graph.inputs[0]: image.numpy()} for image in images])
    _describe(model, graph, 'int8')
    onnx.save(model, path)


def _describe(model: Any, graph: Graph, precision: str) -> None:
    """Write into a file what a program that opens it has to know."""
    del model.metadata_props[:]
    for key, value in {'precision': precision, 'scale': str(graph.scale), 'multiple': str(graph.multiple)}.items():
        model.metadata_props.add(key=key, value=value)


def _reason(error: Exception) -> str:
    operator = re.search(r"operator '([^']+)'", str(error))
    if operator:
        return f'there is no operator for {operator[1]}'
    return f'{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ""}'
