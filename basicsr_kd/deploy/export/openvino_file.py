"""Writes OpenVINO's two files of a network, .xml and .bin, with fp16 weights or in 8 bits."""
from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import torch

from basicsr_kd.deploy.export.by_nncf import quantise_by_nncf
from basicsr_kd.errors import ExportError
from basicsr_kd.utils.extras import load


def write_openvino(onnx_file: Path, path: Path, images: Sequence[torch.Tensor] | None) -> None:
    """Write the network of an .onnx file, for any height and width.

    Args:
        onnx_file: A file in fp32, or in 8 bits.
        path: The .xml file; its .bin goes beside it.
        images: Tensors (1, 3, h, w), on which NNCF measures ranges for 8 bits; None: the precision stays.

    Raises:
        ExportError: OpenVINO refuses the network.
        MissingExtraError: OpenVINO or NNCF is not installed.
    """
    openvino = load('openvino', '--format openvino')
    try:
        model = openvino.convert_model(str(onnx_file))
    except Exception as error:  # RuntimeError, and classes of its readers
        raise ExportError(f'OpenVINO cannot hold this network: {str(error).strip().splitlines()[0]}') from error
    if images is not None:
        model = quantise_by_nncf(model, [image.numpy() for image in images])
    try:
        openvino.save_model(model, str(path), compress_to_fp16=True)
    except Exception as error:  # RuntimeError
        raise ExportError(f'OpenVINO cannot write {path.name}: {str(error).strip().splitlines()[-1]}. Is the disk '
                          'full?') from error
