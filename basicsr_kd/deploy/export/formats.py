"""The formats that networks are written in; imports nothing heavy."""
from __future__ import annotations

import re
from pathlib import Path
from typing import NamedTuple

from basicsr_kd.errors import ExportError


class Format(NamedTuple):
    """A format of files."""

    suffix: str
    """Of the file that is named; others lie beside it."""
    beside: tuple[str, ...]
    """Suffixes of those."""
    what: str
    """Which programs open it, for people."""


FORMATS = {
    'onnx': Format('.onnx', (), 'ONNX Runtime and most others, any size of image'),
    'openvino': Format('.xml', ('.bin',), 'OpenVINO, fp16 weights: the fastest on CPUs'),
    'ncnn': Format('.param', ('.bin',), 'Upscayl, realesrgan-ncnn-vulkan; fp16 weights'),
    'safetensors': Format('.safetensors', (), 'BasicSR with this plugin, spandrel'),
    'esrgan': Format('.pth', (), "ESRGAN's old keys, plain RRDBNets"),
    'comfyui': Format('.safetensors', (), 'ComfyUI and chaiNNer, networks of unequal widths too'),
}
QUANTISED = ('onnx', 'openvino')
"""Those that --int8 is for."""
_SCALE = re.compile(r'(?:^|[^a-z0-9])(?:x([1-8])|([1-8])x)(?![0-9])', re.IGNORECASE)


def file_name(kind: str, out: Path, name: str, scale: int, precision: str) -> Path:
    """The file to write.

    Args:
        kind: One of `FORMATS`.
        out: What the user says: the file, or a folder.
        name: Of the network's own file, without ending.
        scale: How many times larger the network makes images.
        precision: 'fp32', 'fp16' or 'int8'; a file's name says what is not fp32.

    Returns:
        `out`, or `NAME-x4.onnx` in the folder; ncnn: `models/NAME-x4.param`, since programs look there, and take the
        scale from the name.

    Raises:
        ExportError: The name has another ending or scale.
    """
    suffix = FORMATS[kind].suffix
    if out.suffix.lower() == suffix:
        named = _scales(out.stem)
        if named and scale not in named:
            raise ExportError(f'--out {out} is named x{named[0]}, and the network enlarges {scale} times. Programs '
                              f'take the scale from the name; expected one with x{scale}, as '
                              f'{out.with_name(f"{name}-x{scale}{suffix}")}.')
        return out
    if out.suffix.lower() in {one.suffix for one in FORMATS.values()} | {'.bin'} and not out.is_dir():
        raise ExportError(f'--out {out} ends in {out.suffix}; a file of --format {kind} ends in {suffix}. Expected '
                          'such a name, or a folder.')
    stem = name if name.endswith(f'-x{scale}') else f'{name}-x{scale}'
    stem += '' if precision == 'fp32' else f'-{precision}'
    folder = out / 'models' if kind == 'ncnn' and out.name != 'models' else out
    return folder / f'{stem}{suffix}'


def _scales(stem: str) -> list[int]:
    return [int(before or behind) for before, behind in _SCALE.findall(stem)]
