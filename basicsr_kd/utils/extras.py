"""Packages that only some commands need: imported when they are, and named with their extra where they are missing."""
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
"""The extra of `basicsr-kd` that installs a package."""


def load(package: str, purpose: str) -> ModuleType:
    """Import a package.

    Args:
        package: One of `EXTRAS`.
        purpose: What needs it, for the error: '--format ncnn'.

    Raises:
        MissingExtraError: It is not installed, or does not start.
    """
    try:
        with no_warnings():  # what they import in their turn says that there is no CUDA, and something of setuptools
            return importlib.import_module(package)
    except ImportError as error:
        found = 'is not installed' if isinstance(error, ModuleNotFoundError) else f'does not start ({error})'
        raise MissingExtraError(f'{purpose} needs {package}, which {found}: pip install '
                                f"'basicsr-kd[{EXTRAS[package]}]'") from None


@contextmanager
def no_warnings() -> Iterator[None]:
    """Let no package warn, neither by Python's warnings nor by its log."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore')
            yield
    finally:
        logging.disable(logging.NOTSET)
