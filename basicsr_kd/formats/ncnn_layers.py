"""Reads ncnn's two files of a network, `.param` (its layers, as text) and `.bin` (their weights).

A line of `.param` is `kind name inputs outputs <blobs> 0=64 1=3 -23310=1,0.2`: settings by number, where -23300 - n is
setting n as a list that begins with its length. `.bin` holds the weights in the order of the lines and nothing else
(https://github.com/Tencent/ncnn/wiki/param-and-model-file-structure).
"""
from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from basicsr_kd.errors import CheckpointError

_MAGIC = '7767517'  # the first line of a .param file
_LISTS = -23300
_HALF, _FLOAT = 0x01306B47, 0  # the number before a convolution's weights
_OTHERS = {0x000D4B38: ', 8-bit integers', 0x0002C056: ', scaled 32-bit floats'}

# Kinds that have no weights. They and the kinds that `_read_bin` reads are known; another kind makes the rest of `.bin`
# unreadable.
_WITHOUT_WEIGHTS = {'Input', 'Split', 'Noop', 'Concat', 'Eltwise', 'BinaryOp', 'ReLU', 'Interp', 'PixelShuffle',
                    'Reorg'}
_WITH_WEIGHTS = {'Convolution', 'PReLU'}

Setting = float | list[float]


@dataclass(frozen=True)
class Layer:
    """A line of a `.param` file."""

    kind: str
    name: str
    settings: Mapping[int, Setting]
    weights: dict[str, np.ndarray] = field(default_factory=dict)
    """float32 under `weight` and `bias`: (out, in, k, k) and (out,) of a convolution, (channels,) of a PReLU."""

    def number(self, setting: int, default: float = 0) -> float:
        """A setting that is one number; ncnn leaves out settings with their default value."""
        value = self.settings.get(setting, default)
        return default if isinstance(value, list) else value


def is_ncnn(path: Path) -> bool:
    """Whether a file is one of ncnn's pair; a `.bin` without its `.param` may be a checkpoint of PyTorch."""
    suffix = path.suffix.lower()
    return suffix == '.param' or (suffix == '.bin' and pair_of(path)[0].is_file())


def read_layers(path: Path) -> list[Layer]:
    """Read both files of a network.

    Args:
        path: One of them; the other lies beside it.

    Returns:
        The layers in the order of the file, with their weights.

    Raises:
        CheckpointError: A file is missing, truncated, too long or of another format, or has layers or weights of an
            unknown kind.
    """
    param, weights = pair_of(path)
    layers = _read_param(param, _content(param))
    _read_bin(weights, _content(weights), layers)
    return layers


def pair_of(path: Path) -> tuple[Path, Path]:
    """The `.param` and the `.bin` of a network, given one of them."""
    return path.with_suffix('.param'), path.with_suffix('.bin')


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise CheckpointError(f'{path} cannot be read ({error.strerror}). A network of ncnn is two files in one '
                              f'folder, {pair_of(path)[0].name} and {pair_of(path)[1].name}.') from None


def _read_param(path: Path, content: bytes) -> list[Layer]:
    lines = [line for line in content.decode('utf-8', 'replace').splitlines() if line.strip()]
    if len(lines) < 2 or lines[0].strip() != _MAGIC:
        raise CheckpointError(f'{path} is no .param file of ncnn as text: expected {_MAGIC} in its first line.')
    count = lines[1].split()[0]
    if count != str(len(lines) - 2):
        raise CheckpointError(f'{path} says that it has {count} layers, and {len(lines) - 2} follow: it is cut short '
                              'or damaged; copy it again.')
    return [_layer(line, path) for line in lines[2:]]


def _layer(line: str, path: Path) -> Layer:
    try:
        kind, name, inputs, outputs, *rest = line.split()
        if kind not in _WITHOUT_WEIGHTS | _WITH_WEIGHTS:
            raise CheckpointError(f'{path} has a layer of the kind {kind} ({name}), which neither RRDBNet nor '
                                  'SRVGGNetCompact has; only these two are read from files of ncnn.')
        settings = dict(_setting(text) for text in rest[int(inputs) + int(outputs):])
    except ValueError:
        raise CheckpointError(f'{path} has a line that is no layer of ncnn: {line[:80]!r}. Is it damaged?') from None
    return Layer(kind, name, settings)


def _setting(text: str) -> tuple[int, Setting]:
    key, value = text.split('=')
    if int(key) > _LISTS:
        return int(key), _finite(value)
    return _LISTS - int(key), [_finite(item) for item in value.split(',')[1:]]


def _finite(text: str) -> float:
    value = float(text)
    if not np.isfinite(value):
        raise ValueError(text)
    return value


def _read_bin(path: Path, content: bytes, layers: list[Layer]) -> None:
    """Fill in the weights of layers."""
    param = pair_of(path)[0]
    place = 0

    def take(layer: Layer, count: int, kind: str) -> np.ndarray:
        nonlocal place
        size = count * np.dtype(kind).itemsize
        if len(content) - place < size:
            raise CheckpointError(f'{path} ({len(content):,} bytes) ends within the weights of the layer {layer.name}: '
                                  f'it is cut short or not the file of {param.name}; copy both again.')
        values = np.frombuffer(content, kind, count, place)
        place += -(-size // 4) * 4  # 16-bit floats are padded to four bytes
        return values

    for layer in layers:
        if layer.kind == 'PReLU':
            layer.weights['weight'] = take(layer, int(layer.number(0)), '<f4').astype(np.float32)
        elif layer.kind == 'Convolution':
            shape = _shape(layer, param)
            tag = int(take(layer, 1, '<u4')[0])
            if tag not in (_HALF, _FLOAT):
                raise CheckpointError(f'{path} marks the weights of the layer {layer.name} with 0x{tag:08X}'
                                      f'{_OTHERS.get(tag, "")}. Expected 0x{_HALF:08X} (16-bit floats) or 0 (32-bit '
                                      'floats): the file of the network before it was quantised.')
            values = take(layer, int(np.prod(shape)), '<f2' if tag == _HALF else '<f4')
            layer.weights['weight'] = values.astype(np.float32).reshape(shape)
            if layer.number(5):
                layer.weights['bias'] = take(layer, shape[0], '<f4').astype(np.float32)
    if place < len(content):
        raise CheckpointError(f'{path} has {len(content) - place:,} bytes more than the layers of {param.name} '
                              'take: it is not the file of that network.')


def _shape(layer: Layer, path: Path) -> tuple[int, int, int, int]:
    """The shape of a convolution's weight; no setting states its input channels."""
    size, out, width = (int(layer.number(setting)) for setting in (6, 0, 1))
    height = int(layer.number(11, width))
    if min(size, out, width, height) < 1 or size % (out * height * width):
        raise CheckpointError(f'{path} gives the layer {layer.name} {size} weights for {out} channels and a kernel of '
                              f'{height}x{width}, which cannot be. Is it damaged?')
    return out, size // (out * height * width), height, width
