"""ONNX files: any height and width, checked by onnx; and their 8-bit version."""
from __future__ import annotations

import io
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from basicsr_kd.deploy.export.by_nncf import quantise_by_nncf
from basicsr_kd.deploy.export.graph import LEAST, Graph, recording
from basicsr_kd.errors import ExportError
from basicsr_kd.utils.extras import load

OPSET = 18
"""Version of the operator set: ONNX Runtime 1.14, TensorRT 8.6, OpenVINO 2023 and all later ones read it."""
_SIZES = {2: 'height', 3: 'width'}


def write_onnx(graph: Graph, path: Path, precision: str) -> None:
    """Write a network by PyTorch's tracing exporter.

    PyTorch's newer exporter (`dynamo=True`) fixes FRNet to one image size (seen with 2.14).

    Args:
        graph: What to write.
        path: The .onnx file.
        precision: 'fp32'; 'fp16': weights, input and output; 'int8': the network rounds already, see `quantise`.

    Raises:
        ExportError: An operator has no place in ONNX, or onnx's checker refuses the file.
        MissingExtraError: `onnx` is not installed.
    """
    onnx = load('onnx', '--format onnx')
    half = precision == 'fp16'
    graph = graph.half() if half else graph
    tensors = graph.tensors(graph.side(LEAST), graph.side(LEAST + 8))
    if half:
        tensors = tuple(tensor.half() for tensor in tensors)
    sizes = {name: {axis: f'{size}{"_hr" if name.startswith("hr") else ""}' for axis, size in _SIZES.items()}
             for name in graph.inputs}
    sizes[graph.output] = {axis: f'{size}_out' for axis, size in _SIZES.items()}
    try:
        model = onnx.load_from_string(onnx_of(graph.net, tensors, graph.inputs, graph.output, sizes))
        if precision == 'int8':
            _store_int8(model)
        onnx.checker.check_model(model, full_check=True)
    except Exception as error:  # whatever the network's own code, PyTorch or onnx raises
        raise ExportError(f'ONNX (opset {OPSET}) cannot hold this network: {_reason(error)}. --format safetensors '
                          'needs no operators.') from error
    _describe(model, graph, precision)
    onnx.save(model, path)


def onnx_of(net: nn.Module, tensors: tuple[Tensor, ...], inputs: Sequence[str], output: str,
            axes: Mapping[str, Mapping[int, str]]) -> bytes:
    """A network, or a part of one, as an .onnx file has it.

    Args:
        net: The module, in evaluation mode, on the CPU.
        tensors: The module's input.
        inputs: The names of the input tensors.
        output: The name of the output.
        axes: For each name, the dimensions that may have any size, and what they are called.
    """
    content = io.BytesIO()
    with recording():
        torch.onnx.export(net, tensors, content, dynamo=False, opset_version=OPSET,  # type: ignore[arg-type]
                          input_names=list(inputs), output_names=[output], dynamic_axes=axes)
    return content.getvalue()


def quantise_onnx_by_nncf(path: Path, graph: Graph, images: Sequence[torch.Tensor]) -> None:
    """Turn an .onnx file into one that computes in 8 bits, as NNCF does by default.

    Args:
        path: The file, which is written over.
        graph: What is in it.
        images: Tensors (1, 3, h, w), on which ranges are measured.
    """
    onnx = load('onnx', '--int8')
    model = quantise_by_nncf(onnx.load(path), [{graph.inputs[0]: image.numpy()} for image in images])
    _describe(model, graph, 'int8')
    onnx.save(model, path)


def _store_int8(model: Any) -> None:
    """Store weights in 8 bits where a file has them in fp32 and rounds them: it shrinks to a quarter."""
    from onnx import numpy_helper
    values = {tensor.name: tensor for tensor in model.graph.initializer}
    values |= {node.output[0]: node.attribute[0].t for node in model.graph.node if node.op_type == 'Constant'}
    for node in model.graph.node:
        if node.op_type == 'Identity' and node.input[0] in values:
            values[node.output[0]] = values[node.input[0]]
    rounded = [node for node in model.graph.node if node.op_type == 'QuantizeLinear' and node.input[0] in values]
    for node in rounded:
        weight, step, zero = (numpy_helper.to_array(values[name]) for name in node.input)
        around = (-1, *[1] * (weight.ndim - 1))
        bounds = np.iinfo(zero.dtype)
        whole = np.rint(weight / step.reshape(around)) + zero.reshape(around)
        model.graph.initializer.append(numpy_helper.from_array(
            whole.clip(bounds.min, bounds.max).astype(zero.dtype), node.output[0]))
        model.graph.node.remove(node)
    used = {name for node in model.graph.node for name in node.input}
    for node in [one for one in model.graph.node if one.op_type == 'Identity' and one.output[0] not in used]:
        model.graph.node.remove(node)
    used = {name for node in model.graph.node for name in node.input}
    for tensor in [one for one in model.graph.initializer if one.name not in used]:
        model.graph.initializer.remove(tensor)


def _describe(model: Any, graph: Graph, precision: str) -> None:
    """Write into the file what a program that opens it has to know."""
    del model.metadata_props[:]
    for key, value in {'precision': precision, 'scale': str(graph.scale), 'multiple': str(graph.multiple)}.items():
        model.metadata_props.add(key=key, value=value)


def _reason(error: Exception) -> str:
    operator = re.search(r"operator '([^']+)'", str(error))
    if operator:
        return f'there is no operator for {operator[1]}'
    return f'{type(error).__name__}: {str(error).strip().splitlines()[0] if str(error).strip() else ""}'
