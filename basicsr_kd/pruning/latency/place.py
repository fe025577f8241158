"""Where time is measured: device, runtime, number format, size of the image."""
from __future__ import annotations

import copy
import tempfile
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import torch
from torch import Tensor, nn

from basicsr_kd.deploy.export.onnx_file import onnx_of
from basicsr_kd.deploy.runtimes import RUNTIMES, openvino_formats
from basicsr_kd.errors import BasicSRKDError, MissingExtraError, PruningError
from basicsr_kd.metrics.speed import device_info, forward_once
from basicsr_kd.metrics.timing import Call
from basicsr_kd.utils.extras import load
from basicsr_kd.utils.modes import fast_formats
from basicsr_kd.utils.prune_request import Request


@dataclass(frozen=True)
class Place:
    """Where time is measured.

    Args:
        device: 'cpu' or 'cuda'.
        runtime: 'torch', 'openvino' or 'onnxruntime'.
        dtype: 'fp32', 'bf16' or 'fp16'.
        size: Side of the low-resolution image, in pixels.
        program: The runtime with its version.
        hardware: The processor or GPU, with the number of threads.
    """
    device: str
    runtime: str
    dtype: str
    size: int
    program: str
    hardware: str

    def words(self) -> str:
        """The place in words, for people."""
        return f'{self.program}, {self.dtype}, {self.size}x{self.size} input, {self.hardware}'

    def ready(self, net: nn.Module, image: Tensor) -> Call:
        """Make a network ready to run on an image `(1, c, h, w)`: calling the result runs it once, to the end.

        Raises:
            PruningError: The runtime cannot hold the network.
        """
        if self.runtime == 'torch':
            # channels last in memory: faster on CPUs and GPUs
            net = copy.deepcopy(net).eval().to(self.device).to(memory_format=torch.channels_last)
            return partial(forward_once, net, image.to(self.device, memory_format=torch.channels_last), self.dtype)
        with tempfile.TemporaryDirectory() as folder:
            file = Path(folder, 'network.onnx')
            try:
                axes = {'input': {2: 'height', 3: 'width'}, 'output': {2: 'height_out', 3: 'width_out'}}
                file.write_bytes(onnx_of(net.eval(), (image,), ['input'], 'output', axes))
                runner = RUNTIMES[self.runtime](file, self.dtype, torch.get_num_threads())
            except BasicSRKDError:
                raise
            except Exception as error:  # PyTorch's exporter
                raise PruningError(f'prune: {self.program} cannot hold {type(net).__name__}: {error}. Expected runtime '
                                   'torch.') from error
        array = image.numpy()
        return lambda: runner(array)


def find_place(request: Request) -> Place:
    """The place to measure a request's time; open choices are filled with the fastest that this machine has.

    Raises:
        PruningError: A device or a number format is missing on this machine.
        MissingExtraError: A runtime is not installed.
    """
    device = request.device or 'cpu'
    if device == 'cuda' and not torch.cuda.is_available():
        raise PruningError('prune: device is cuda, and PyTorch finds no CUDA device here. Expected device cpu, or a '
                           'machine with an NVIDIA GPU and its driver.')
    runtime = request.runtime or ('torch' if device == 'cuda' or not _is_there('openvino') else 'openvino')
    for package in ('onnx', runtime) if runtime != 'torch' else ():
        load(package, f'prune: runtime {runtime}')
    formats = {'torch': lambda: fast_formats(device), 'openvino': lambda: list(openvino_formats()),
               'onnxruntime': lambda: ['fp32']}[runtime]()
    dtype = request.dtype or formats[-1]
    if dtype not in formats:
        raise PruningError(f'prune: dtype is {dtype}, and {runtime} on this {device} is made for {", ".join(formats)}. '
                           'Expected one of these.')
    info = device_info(device)
    threads = '' if device == 'cuda' else f', {info.threads} threads'
    version = torch.__version__ if runtime == 'torch' else load(runtime, runtime).__version__
    return Place(device, runtime, dtype, request.size or 128, f'{runtime} {version.partition("-")[0]}',
                 f'{info.name}{threads}')


def _is_there(package: str) -> bool:
    try:
        load('onnx', package)
        load(package, package)
    except MissingExtraError:
        return False
    return True
