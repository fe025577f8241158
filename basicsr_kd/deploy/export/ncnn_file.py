"""ncnn's two files of a network, .param and .bin, as Upscayl and realesrgan-ncnn-vulkan read them."""
from __future__ import annotations

import copy
import re
import subprocess
import tempfile
from pathlib import Path

import torch
from torch import Tensor, nn

from basicsr_kd.deploy.export.graph import LEAST, Graph, recording
from basicsr_kd.errors import ExportError
from basicsr_kd.utils.extras import load

BLOBS = {'in0': 'data', 'out0': 'output'}
"""pnnx's names of the input and the output, and the names that these programs look for."""
SMALLEST = 2.0**-14
"""ncnn writes smaller weights as 0, since it has none of fp16's subnormal numbers."""


def write_ncnn(graph: Graph, path: Path) -> None:
    """Write a network by pnnx, with fp16 weights, for images of any size that the network takes.

    Args:
        graph: The graph of a network of images.
        path: The .param file; its .bin goes beside it.

    Raises:
        ExportError: An operation has no layer in ncnn, or the network is recurrent.
        MissingExtraError: `pnnx` is not installed.
    """
    if len(graph.inputs) > 1:
        raise ExportError('ncnn: FRNet fetches pixels along a flow, frame by frame, which Upscayl and '
                          'realesrgan-ncnn-vulkan cannot do. --format onnx writes its step.')
    pnnx = load('pnnx', '--format ncnn')
    one, other = (graph.tensors(graph.side(least), graph.side(least + 8)) for least in (LEAST, 2 * LEAST))
    with tempfile.TemporaryDirectory(dir=path.parent) as folder:
        traced = Path(folder, 'net.pt')
        try:
            with recording():
                record = torch.jit.trace(_apart(graph.net), one)
            content = record.save_to_buffer()  # .save() crashes Python if the disk is full
        except Exception as error:  # whatever the network's own code raises
            reason = f'{type(error).__name__}: {str(error).strip().splitlines()[0]}'
            raise ExportError(f'ncnn: PyTorch cannot record this network ({reason}). --format safetensors needs no '
                              'record.') from error
        traced.write_bytes(content)
        said = _convert(pnnx.EXEC_PATH, traced, [tuple(tensors[0].shape) for tensors in (one, other)])
        param, weights = Path(folder, 'net.ncnn.param'), Path(folder, 'net.ncnn.bin')
        if not (param.is_file() and weights.is_file()):
            raise ExportError(f'ncnn: pnnx wrote nothing ({said[-300:].strip()}). Is memory or disk full?')
        text = param.read_text()
        _check_layers(text, said)
        path.write_text(_renamed(text))
        weights.replace(path.with_suffix('.bin'))


def _apart(net: nn.Module) -> nn.Module:
    """A copy of the network whose parts pass on copies of their output.

    pnnx merges nested residual sums into one expression, whose memory doubles with each further block: 23 GB for 23
    blocks (seen with 20261020). It does not merge through a copy operation, and drops that in the end.
    """
    net = copy.deepcopy(net)
    for module in net.modules():
        if any(module.children()):
            module.register_forward_hook(lambda module, given, made: made.clone() if isinstance(made, Tensor) else made)
    return net


def _convert(program: str, traced: Path, shapes: list[tuple[int, ...]]) -> str:
    """Run pnnx and return what it printed; two image sizes keep it from fixing the size."""
    first, second = (f'{list(shape)}f32'.replace(' ', '') for shape in shapes)
    done = subprocess.run([program, traced.name, f'inputshape={first}', f'inputshape2={second}', 'fp16=1'],
                          cwd=traced.parent, text=True, capture_output=True)
    ending = f'\npnnx ended with status {done.returncode}' if done.returncode else ''
    return done.stdout + done.stderr + ending


def _check_layers(text: str, said: str) -> None:
    """Check that ncnn has all layers.

    Other operations stay in the file under PyTorch's or pnnx's names, or pnnx leaves them out and says so.
    """
    kinds = {line.split()[0] for line in text.splitlines()[2:] if line.strip()}
    unknown = sorted(kind for kind in kinds if '.' in kind or '::' in kind)
    unknown += re.findall(r'ignore (\S+)', said)
    if unknown:
        raise ExportError(f'ncnn has no layer for {", ".join(dict.fromkeys(unknown))}. --format onnx or openvino '
                          'may.')


def _renamed(text: str) -> str:
    """The layers with the blob names that the programs expect; these names are the words after the counts."""
    def rename(line: str) -> str:
        kind, name, inputs, outputs, *rest = line.split()
        count = int(inputs) + int(outputs)
        words = [BLOBS.get(word, word) for word in rest[:count]] + rest[count:]
        return f'{kind:<24} {name:<24} {inputs} {outputs} ' + ' '.join(words)
    magic, counts, *layers = text.splitlines()
    return '\n'.join([magic, counts, *map(rename, filter(str.strip, layers))]) + '\n'
