"""Quantises networks to 8 bits by NNCF with its own defaults."""
from __future__ import annotations

import logging
import sys
import warnings
from collections.abc import Sequence
from contextlib import redirect_stdout
from typing import Any

from basicsr_kd.utils.extras import load


def quantise_by_nncf(model: Any, inputs: Sequence[Any]) -> Any:
    """Make a network of ONNX or OpenVINO compute in 8 bits, as NNCF does by default.

    Args:
        model: The network as its library holds it.
        inputs: The network's input for each image on which ranges of values are measured.

    Raises:
        MissingExtraError: NNCF is not installed.
    """
    with redirect_stdout(sys.stderr), warnings.catch_warnings():  # it prints progress bars
        warnings.simplefilter('ignore')
        nncf = load('nncf', '--int8')
        logging.getLogger('nncf').setLevel(logging.WARNING)
        return nncf.quantize(model, nncf.Dataset(list(inputs)), subset_size=len(inputs))
