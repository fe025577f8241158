"""Writes networks in PyTorch's formats: `safetensors`, and `esrgan` with the keys of ESRGAN's first release."""
from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from safetensors.torch import save
from torch import Tensor

from basicsr_kd.archs.rrdbnet_numbers import rrdbnet_options
from basicsr_kd.checkpoint import atomic_save, plain_tensors
from basicsr_kd.errors import ExportError
from basicsr_kd.formats.esrgan_keys import first_release_keys
from basicsr_kd.utils.files import replaced

_OLD_GROWTH = 32  # programs that open the old keys assume it, and do not read it from the file


def write_safetensors(state: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Write a network's tensors under their names; the file is whole, or as it was before.

    Args:
        state: The tensors as `basicsr_kd.checkpoint.read_state_dict` gives them.
        path: The file to write, `….safetensors`; its folder is made where it is missing.
    """
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    with replaced(path) as temporary:
        # not save_file(), whose file only its owner may read
        temporary.write_bytes(save(plain_tensors(state), {'format': 'pt'}))


def write_esrgan(state: Mapping[str, Tensor], path: str | os.PathLike[str]) -> None:
    """Write an RRDBNet under the keys of ESRGAN's first release; the file is whole, or as it was before.

    That format is for x4 networks with 32 growth channels everywhere: it has no pixel-unshuffle, and programs that open
    it assume the growth.

    Args:
        state: The tensors as `basicsr_kd.checkpoint.read_state_dict` gives them.
        path: The file to write, `….pth`; its folder is made where it is missing.

    Raises:
        ExportError: It is another network; nothing is written then.
    """
    found = _not_of_the_first_release(dict(state))
    if found:
        raise ExportError(f"{path}: this network {found}. ESRGAN's old keys are for plain RRDBNets: x4, "
                          f'{_OLD_GROWTH} growth channels everywhere. Export it as ncnn or onnx')
    atomic_save(first_release_keys(plain_tensors(state)), path)


def _not_of_the_first_release(state: dict[str, Tensor]) -> str | None:
    options = rrdbnet_options(state)
    if options is None:
        return f'is no RRDBNet ({len(state)} tensors, the first is {next(iter(state), None)!r})'
    if options['type'] != 'RRDBNet':
        return 'is an RRDBNet of unequal widths'
    if options['num_grow_ch'] != _OLD_GROWTH:
        return f'is an RRDBNet with {options["num_grow_ch"]} growth channels'
    if options['scale'] != 4:
        return f'is an RRDBNet for x{options["scale"]}, which starts with a pixel-unshuffle'
    return None
