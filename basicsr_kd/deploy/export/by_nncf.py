"""8 bits by NNCF with its own defaults."""
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
        model: As its library holds it.
        inputs: What it takes, for each image on which the ranges of its values are measured.

    Raises:
        MissingExtraError: NNCF is not installed.
    """
    with redirect_stdout(sys.stderr), warnings.catch_warnings():  # bars
        warnings.simplefilter('ignore')
        nncf = load('nncf', '--int8')
        logging.getLogger('nncf').setLevel(logging.WARNING)
        return nncf.quantize(model, nncf.Dataset(list(inputs)), subset_size=len(inputs))
