"""The programs that run networks: PyTorch, ONNX Runtime, OpenVINO, ncnn; each is called in the same way."""
from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import nn

from basicsr_kd.errors import InferError
from basicsr_kd.utils.extras import load
from basicsr_kd.utils.modes import HALF

SUFFIXES = {'.onnx': 'onnxruntime', '.xml': 'openvino', '.param': 'ncnn', '.bin': 'ncnn'}
"""Files that are a runtime's own."""


class Runner(ABC):
    """A network that a runtime holds ready.

    Takes float32 arrays, as a rule one (n, c, h, w), RGB in [0, 1], and gives one (n, c', scale·h, scale·w), about
    [0, 1] but not clamped. FRNet takes three: see its `step`.
    """

    name: str
    """Of the runtime, with its version."""
    precision: str
    """In which it computes: fp32, bf16, fp16 or int8."""

    @abstractmethod
    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        ...


class Torch(Runner):
    """PyTorch.

    Args:
        net: In evaluation mode; moved to `device`.
        device: Where it runs.
        precision: 'fp32', or by autocast 'bf16' or 'fp16'.
        channels_last: Whether channels lie last in memory, which is faster; people's scripts do without.
        threads: How many on a CPU; None: as PyTorch has it.
    """

    def __init__(self, net: nn.Module, device: str | torch.device = 'cpu', precision: str = 'fp32',
                 channels_last: bool = True, threads: int | None = None) -> None:
        self.name, self.precision = f'PyTorch {torch.__version__.partition("+")[0]}', precision
        self._device, self._threads = torch.device(device), threads
        self._format = torch.channels_last if channels_last else torch.contiguous_format
        self._net = net.eval().to(self._device)
        if channels_last:
            self._net.to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        before = torch.get_num_threads()
        torch.set_num_threads(self._threads or before)
        try:
            with torch.autocast(self._device.type, HALF.get(self.precision), enabled=self.precision in HALF):
                output = self._net(*(torch.from_numpy(array).to(self._device, memory_format=self._format)
                                     for array in arrays))
            return output.float().contiguous().cpu().numpy()
        finally:
            torch.set_num_threads(before)


class OnnxRuntime(Runner):
    """ONNX Runtime, on the CPU.

    Args:
        file: An .onnx file.
        precision: None: as the file is.
        threads: How many; None: as the runtime has it.

    Raises:
        MissingExtraError: It is not installed.
        InferError: It cannot open the file.
    """

    def __init__(self, file: Path, precision: str | None = None, threads: int | None = None) -> None:
        ort = load('onnxruntime', f'{file.name} (.onnx)')
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 3  # errors alone
        try:
            self._session = ort.InferenceSession(str(file), options, providers=['CPUExecutionProvider'])
        except Exception as error:  # its own classes have no common one
            raise InferError(f'ONNX Runtime {ort.__version__} cannot open {file}: {_first_line(error)}') from None
        self._inputs = [(one.name, np.float16 if one.type == 'tensor(float16)' else np.float32)
                        for one in self._session.get_inputs()]
        found = 'fp16' if self._inputs[0][1] == np.float16 else 'fp32'
        if self._session.get_modelmeta().custom_metadata_map.get('precision') == 'int8':
            found = 'int8'
        _check_precision('ONNX Runtime', precision, (found,), file)
        self.name, self.precision = f'ONNX Runtime {ort.__version__}', found

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        given = {name: array.astype(kind, copy=False)
                 for (name, kind), array in zip(self._inputs, arrays, strict=True)}
        return self._session.run(None, given)[0].astype(np.float32, copy=False)


class OpenVino(Runner):
    """OpenVINO, on the CPU.

    Its precision is always set: by itself it takes bf16 where the CPU is fast in it, and nobody is told.

    Args:
        file: An .xml file with its .bin, or an .onnx file.
        precision: 'fp32' or, on a CPU that has it, 'bf16'; None: fp32. Files of 8-bit weights are int8 beside it.
        threads: How many; None: as the runtime has it.

    Raises:
        MissingExtraError: It is not installed.
        InferError: It cannot open the file, or has no such precision here.
    """

    def __init__(self, file: Path, precision: str | None = None, threads: int | None = None) -> None:
        openvino = load('openvino', f'{file.name} in OpenVINO')
        core, fast = openvino.Core(), openvino_formats()
        try:
            model = core.read_model(str(file))
        except Exception as error:  # RuntimeError, and others of its readers
            raise InferError(f'OpenVINO cannot open {file}: {_first_line(error)}') from None
        eight_bits = any(node.get_type_name() == 'FakeQuantize' for node in model.get_ops())
        _check_precision('OpenVINO', precision, (*fast, *(['int8'] if eight_bits else [])), file)
        rest = precision if precision in fast else 'bf16' if eight_bits and 'bf16' in fast else 'fp32'
        config: dict[str, Any] = {'INFERENCE_PRECISION_HINT': fast[rest], 'PERFORMANCE_HINT': 'LATENCY'}
        if threads:
            config['INFERENCE_NUM_THREADS'] = threads
        self._compiled = core.compile_model(model, 'CPU', config)
        self.name = f'OpenVINO {openvino.__version__.partition("-")[0]}'
        self.precision = 'int8' if eight_bits else rest

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        return np.array(self._compiled(list(map(np.ascontiguousarray, arrays)))[0], np.float32)


class Ncnn(Runner):
    """ncnn, on the CPU in fp32: what it does in fp16 by itself is switched off.

    Args:
        file: A .param file with its .bin, or the other way round; one input, one output.
        precision: None or 'fp32'.
        threads: How many; None: as the runtime has it.

    Raises:
        MissingExtraError: It is not installed.
        InferError: It cannot open the file.
    """

    def __init__(self, file: Path, precision: str | None = None, threads: int | None = None) -> None:
        self._ncnn = load('ncnn', f'{file.name} (ncnn)')
        _check_precision('ncnn', precision, ('fp32',), file)
        self._net = self._ncnn.Net()
        self._net.opt.use_fp16_packed = self._net.opt.use_fp16_storage = self._net.opt.use_fp16_arithmetic = False
        self._net.opt.num_threads = threads or torch.get_num_threads()
        if (self._net.load_param(str(file.with_suffix('.param'))) or
                self._net.load_model(str(file.with_suffix('.bin')))):
            raise InferError(f'ncnn cannot open {file.with_suffix(".param")} and its .bin. Expected both, whole and of '
                             'layers that it knows.')
        self._input, self._output = self._net.input_names()[0], self._net.output_names()[0]
        self.name, self.precision = f'ncnn {self._ncnn.__version__}', 'fp32'

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        images, = arrays
        return np.stack([self._one(np.ascontiguousarray(image)) for image in images])

    def _one(self, image: np.ndarray) -> np.ndarray:
        extractor = self._net.create_extractor()
        extractor.input(self._input, self._ncnn.Mat(image))
        failed, output = extractor.extract(self._output)
        if failed:
            raise RuntimeError(f'ncnn gives no {self._output} ({failed})')
        return np.array(output)


RUNTIMES: dict[str, Callable[..., Runner]] = {'onnxruntime': OnnxRuntime, 'openvino': OpenVino, 'ncnn': Ncnn}
"""Those that open files of their own."""


def openvino_formats() -> dict[str, str]:
    """The number formats that OpenVINO computes fast in on this CPU, and its names of them.

    Raises:
        MissingExtraError: It is not installed.
    """
    core = load('openvino', 'OpenVINO').Core()
    fast = core.get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    return {'fp32': 'f32', **({'bf16': 'bf16'} if 'BF16' in fast else {})}


def _check_precision(runtime: str, wanted: str | None, possible: tuple[str, ...], file: Path) -> None:
    if wanted and wanted not in possible:
        raise InferError(f'{runtime} does not run {file.name} in {wanted} here. Possible: {", ".join(possible)}.')


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
