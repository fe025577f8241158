"""Opens any file of a network, be it a checkpoint or a runtime's file, so that it enlarges images."""
from __future__ import annotations

from pathlib import Path

import numpy as np
import torch

from basicsr_kd.archs.probe import tried_enlargement
from basicsr_kd.deploy.network import WHOLE, TorchNetwork, TrainedNetwork
from basicsr_kd.deploy.pieces import Tiling
from basicsr_kd.deploy.runner import Runner
from basicsr_kd.deploy.runtimes import RUNTIMES, check_precision, runtime_of
from basicsr_kd.errors import InferError
from basicsr_kd.utils.modes import fast_formats


def open_network(name: str, file: Path, *, runtime: str | None = None, precision: str | None = None,
                 threads: int | None = None, device: str | torch.device = 'cpu',
                 tiling: Tiling = WHOLE, param_key: str | None = None) -> TrainedNetwork:
    """Open a network's file.

    Args:
        name: The network's name.
        file: A checkpoint, or what `basicsr-kd export` or another program wrote: .onnx, .xml, .param.
        runtime: 'torch' or one of `RUNTIMES`; None: the file's own runtime. OpenVINO also opens .onnx files, and
            PyTorch also opens ncnn's files of the networks that `read_state_dict` knows.
        precision: 'fp32', 'bf16', 'fp16' or 'int8'; None: the file's own; for a checkpoint,
            the one that PyTorch is set to.
        threads: Number of threads on a CPU; None: the runtime's default.
        device: Where PyTorch runs; the others run on the CPU.
        tiling: How the network takes images in pieces, in LR pixels.
        param_key: Which of a checkpoint's state dicts to read; see `read_state_dict`.

    Raises:
        InferError: The file cannot be opened in this runtime and precision, or does not enlarge RGB images.
        CheckpointError: The file holds no network that can be built.
        MissingExtraError: The runtime is not installed.
    """
    own = runtime_of(file)
    possible = {None: ['torch'], 'onnxruntime': ['onnxruntime', 'openvino'], 'ncnn': ['ncnn', 'torch']}.get(
        own, [str(own)])
    if runtime and runtime not in possible:
        kind = f'a file of {own}' if own else 'a checkpoint'
        raise InferError(f'{file} is {kind}, which {" or ".join(possible)} opens and {runtime} does not. `basicsr-kd '
                         'export` writes a checkpoint for other runtimes.')
    if own is None or runtime == 'torch':
        check_precision('PyTorch', precision, fast_formats(device), file)
        return TorchNetwork(name, file, device, tiling, precision or 'fp32', threads, param_key)
    if not file.is_file():
        raise InferError(f'{file} does not exist. Expected a network that was written for {own}.')
    runner = RUNTIMES[runtime or own](file, precision, threads)
    return TrainedNetwork(name, file, runner, *_enlargement(runner, file), tiling)


def name_of(file: Path) -> str:
    """A network's name by its file: `student` for student.pth, but `student.onnx`, to tell the two apart."""
    return file.name if runtime_of(file) else file.stem


def _enlargement(runner: Runner, file: Path) -> tuple[int, int]:
    """How many times a network enlarges, and what sides must be multiples of: from the file, else by trials."""
    if {'scale', 'multiple'} <= set(runner.told):
        return int(runner.told['scale']), int(runner.told['multiple'])
    if runner.inputs > 1:
        raise InferError(f'{file} takes {runner.inputs} inputs and does not say how many times it enlarges. Expected a '
                         'network of one image, or what `basicsr-kd export` wrote.')
    try:
        return tried_enlargement(lambda side: runner(np.full((1, 3, side, side), 0.5, np.float32)).shape,
                                 out_channels=3)
    except ValueError as error:
        raise InferError(f'{file} does not enlarge RGB images: {error}') from None
