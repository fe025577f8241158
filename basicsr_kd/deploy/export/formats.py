"""The formats that networks are written in; imports nothing heavy."""
from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from basicsr_kd.errors import ExportError


class Format(NamedTuple):
    """A format of files."""

    suffix: str
    """Suffix of the main file; others lie beside it."""
    beside: tuple[str, ...]
    """Suffixes of the files beside it."""
    what: str
    """Which programs open it, in words."""
    folder: str = ''
    """Where in the user's folder the programs look for the file."""
    exact: bool = True
    """Whether the weights in a file in fp32 are known exactly, so that it must give what PyTorch gives with them."""


FORMATS = {
    'onnx': Format('.onnx', (), 'ONNX Runtime and most others, any size of image'),
    'openvino': Format('.xml', ('.bin',), 'OpenVINO, fp16 weights: the fastest on CPUs', exact=False),
    'ncnn': Format('.param', ('.bin',), 'Upscayl, realesrgan-ncnn-vulkan; fp16 weights', 'models'),
    'safetensors': Format('.safetensors', ('.yml',), 'BasicSR with this plugin, spandrel'),
    'esrgan': Format('.pth', (), "ESRGAN's old keys, plain RRDBNets"),
    'comfyui': Format('.safetensors', (), "ComfyUI's folders, networks of unequal widths too",
                      'models/upscale_models'),
}
KINDS = {'onnxruntime': 'onnx', 'openvino': 'openvino', 'ncnn': 'ncnn'}
"""The format that each runtime opens."""
QUANTISED = ('onnx', 'openvino')
"""The formats that --int8 is for."""
_SCALE = re.compile(r'(?:^|[^a-z0-9])(?:x([1-8])|([1-8])x)(?![0-9])', re.IGNORECASE)


def place(kind: str, out: Path, name: str, scale: int, precision: str) -> tuple[Path, Path]:
    """Where a network is written.

    Args:
        kind: One of `FORMATS`.
        out: The file or the folder that the user gave.
        name: The name of the network's own file, without ending.
        scale: How many times larger the network makes images.
        precision: 'fp32', 'fp16' or 'int8'; a file's name states it unless it is fp32.

    Returns:
        A folder, and the file's path in it: `NAME-x4.onnx`, for ncnn `models/NAME-x4.param`, since its programs look
        there, and take the scale from the name.

    Raises:
        ExportError: The name has another ending or scale, or names a file where a folder is needed.
    """
    suffix, inside = FORMATS[kind].suffix, FORMATS[kind].folder
    if kind != 'comfyui' and out.suffix.lower() == suffix:
        named = _scales(out.stem)
        if named and scale not in named:
            raise ExportError(f'--out {out} is named x{named[0]}, and the network enlarges {scale} times. Programs '
                              f'take the scale from the name; expected one with x{scale}, as '
                              f'{out.with_name(f"{name}-x{scale}{suffix}")}.')
        return out.parent, Path(out.name)
    if out.suffix.lower() in {'.bin', *(one.suffix for one in FORMATS.values())} and not out.is_dir():
        expected = 'a folder' if kind == 'comfyui' else f'a folder, or a name that ends in {suffix}'
        raise ExportError(f'--out {out} ends in {out.suffix}. Expected {expected} for --format {kind}.')
    stem = name if name.endswith(f'-x{scale}') else f'{name}-x{scale}'
    stem += '' if precision == 'fp32' else f'-{precision}'
    return out, Path('' if out.name == inside else inside, f'{stem}{suffix}')


def _scales(stem: str) -> list[int]:
    return [int(before or behind) for before, behind in _SCALE.findall(stem)]
