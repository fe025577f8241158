"""Packages that only some commands need: imported on demand; an error names the extra that installs a missing one."""
from __future__ import annotations

import importlib
import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from types import ModuleType

from basicsr_kd.errors import MissingExtraError

EXTRAS = {'onnx': 'onnx', 'onnxruntime': 'onnx', 'openvino': 'openvino', 'nncf': 'openvino', 'ncnn': 'ncnn',
          'pnnx': 'ncnn', 'pycvvdp': 'perceptual', 'piq': 'perceptual'}
"""The extra of `basicsr-kd` that installs each package."""


def load(package: str, purpose: str) -> ModuleType:
    """Import a package.

    Args:
        package: One of `EXTRAS`.
        purpose: What needs it, for the error: '--format ncnn'.

    Raises:
        MissingExtraError: The package is not installed, or cannot be imported.
    """
    try:
        with no_warnings():  # their own imports warn that there is no CUDA, and about setuptools
            return importlib.import_module(package)
    except ImportError as error:
        found = 'is not installed' if isinstance(error, ModuleNotFoundError) else f'does not start ({error})'
        raise MissingExtraError(f'{purpose} needs {package}, which {found}: pip install '
                                f"'basicsr-kd[{EXTRAS[package]}]'") from None


@contextmanager
def no_warnings() -> Iterator[None]:
    """A context in which no package warns, neither by Python's warnings nor by its log."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(logging.NOTSET)
