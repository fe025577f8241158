"""The programs that run networks from files of their own: ONNX Runtime, OpenVINO, ncnn."""
from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import torch

from basicsr_kd.deploy.runner import Runner
from basicsr_kd.errors import InferError
from basicsr_kd.utils.extras import load


class OnnxRuntime(Runner):
    """ONNX Runtime, on the CPU.

    Args:
        file: An .onnx file.
        precision: The file's precision; None means the same.
        threads: Number of threads; None: the runtime's default.

    Raises:
        MissingExtraError: ONNX Runtime is not installed.
        InferError: It cannot open the file.
    """

    def __init__(self, file: Path, precision: str | None = None, threads: int | None = None) -> None:
        ort = load('onnxruntime', f'{file.name} (.onnx)')
        options = ort.SessionOptions()
        options.intra_op_num_threads = threads or 0
        options.log_severity_level = 4  # errors are raised
        # else its threads wait busily for the next run, and slow down other work
        options.add_session_config_entry('session.force_spinning_stop', '1')
        try:
            self._session = ort.InferenceSession(str(file), options, providers=['CPUExecutionProvider'])
        except Exception as error:  # its error classes have no common base
            raise InferError(f'ONNX Runtime {ort.__version__} cannot open {file}: {_first_line(error)}') from None
        self._inputs = [(one.name, np.float16 if one.type == 'tensor(float16)' else np.float32)
                        for one in self._session.get_inputs()]
        self.inputs, self.told = len(self._inputs), self._session.get_modelmeta().custom_metadata_map
        found = 'fp16' if self._inputs[0][1] == np.float16 else 'fp32'
        if self.told.get('precision') == 'int8':
            found = 'int8'
        check_precision('ONNX Runtime', precision, (found,), file)
        self.name, self.precision = f'ONNX Runtime {ort.__version__}', found

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        given = {name: array.astype(kind, copy=False)
                 for (name, kind), array in zip(self._inputs, arrays, strict=True)}
        return self._session.run(None, given)[0].astype(np.float32, copy=False)


class OpenVino(Runner):
    """OpenVINO, on the CPU.

    Its precision is always set, since by default OpenVINO silently takes bf16 where the CPU is fast in it.

    Args:
        file: An .xml file with its .bin, either of them, or an .onnx file.
        precision: 'fp32' or, on a CPU that has it, 'bf16'; None: fp32. Of a file in 8 bits, the layers in 8 bits run in
            these, the rest in fp32: bf16 values would be reordered each time before rounding, which takes longer.
        threads: Number of threads; None: the runtime's default.

    Raises:
        MissingExtraError: OpenVINO is not installed.
        InferError: It cannot open the file, or has no such precision on this CPU.
    """

    def __init__(self, file: Path, precision: str | None = None, threads: int | None = None) -> None:
        openvino = load('openvino', f'{file.name} in OpenVINO')
        core, fast = openvino_core(), openvino_formats()
        try:
            model = core.read_model(str(file.with_suffix('.xml') if file.suffix == '.bin' else file))
        except Exception as error:  # RuntimeError, and other classes of its readers
            raise InferError(f'OpenVINO cannot open {file}: {_first_line(error)}') from None
        eight_bits = any(node.get_type_name() == 'FakeQuantize' for node in model.get_ops())
        check_precision('OpenVINO', precision, (*fast, *(['int8'] if eight_bits else [])), file)
        rest = precision if precision in fast else 'fp32'
        config: dict[str, Any] = {'INFERENCE_PRECISION_HINT': fast[rest], 'PERFORMANCE_HINT': 'LATENCY'}
        if threads:
            config['INFERENCE_NUM_THREADS'] = threads
        self._compiled = core.compile_model(model, 'CPU', config)
        self.name = f'OpenVINO {openvino.__version__.partition("-")[0]}'
        self.precision = 'int8' if eight_bits else rest
        self.inputs = len(model.inputs)
        # where OpenVINO keeps an .onnx file's metadata, also once it is written as .xml
        self.told = {key: str(model.get_rt_info(['framework', key]).value) for key in ('scale', 'multiple')
                     if model.has_rt_info(['framework', key])}

    def __call__(self, *arrays: np.ndarray) -> np.ndarray:
        return np.array(self._compiled(list(map(np.ascontiguousarray, arrays)))[0], np.float32)


class Ncnn(Runner):
    """ncnn, on the CPU in fp32: the fp16 that it uses by default is switched off.

    Args:
        file: A .param file with its .bin, or the other way round; one input, one output.
        precision: None or 'fp32'.
        threads: Number of threads; None: the runtime's default.

    Raises:
        MissingExtraError: `ncnn` is not installed.
        InferError: It cannot open the file.
    """

    def __init__(self, file: Path, precision: str | None = None, threads: int | None = None) -> None:
        self._ncnn = load('ncnn', f'{file.name} (ncnn)')
        check_precision('ncnn', precision, ('fp32',), file)
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
"""The runtimes that open files of their own."""
_SUFFIXES = {'.onnx': 'onnxruntime', '.xml': 'openvino', '.param': 'ncnn'}


def runtime_of(file: Path) -> str | None:
    """The runtime that a file is for; None: a checkpoint. For a .bin the file beside it tells."""
    suffix = file.suffix.lower()
    if suffix == '.bin':
        suffix = next((its for its in ('.xml', '.param') if file.with_suffix(its).is_file()), '')
    return _SUFFIXES.get(suffix)


@cache
def openvino_core() -> Any:
    """OpenVINO's core, one for the whole process.

    A core that opens the CPU gives the thread a stack for signals (for AMX; openvinotoolkit/openvino, pull request
    11894), and restores the previous stack when it is deleted. Of two cores that overlap, the second restores a stack
    that the first has freed, and the next signal, even that of a child process's end, kills the program.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    return load('openvino', 'OpenVINO').Core()


def openvino_formats() -> dict[str, str]:
    """The number formats in which OpenVINO is fast on this CPU, and OpenVINO's names of them.

    Raises:
        MissingExtraError: OpenVINO is not installed.
    """
    fast = openvino_core().get_property('CPU', 'OPTIMIZATION_CAPABILITIES')
    return {'fp32': 'f32', **({'bf16': 'bf16'} if 'BF16' in fast else {})}


def check_precision(runtime: str, wanted: str | None, possible: Sequence[str], file: Path) -> None:
    """Check that a runtime runs a file in the wanted precision; None fits all.

    Raises:
        InferError: The runtime does not.
    """
    if wanted and wanted not in possible:
        raise InferError(f'{runtime} does not run {file.name} in {wanted} here. Possible: {", ".join(possible)}.')


def _first_line(error: Exception) -> str:
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
