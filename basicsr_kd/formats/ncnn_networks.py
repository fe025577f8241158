"""Reads RRDBNet and SRVGGNetCompact from ncnn's files, under BasicSR's names.

ncnn keeps neither the names nor the roles of a network's parts: they are found from their order and shapes.
"""
from __future__ import annotations

import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from basicsr_kd.errors import CheckpointError
from basicsr_kd.formats.ncnn_layers import Layer, read_layers

_CONV, _LEAKY_CONV, _SCALED = '3x3 convolution', '3x3 convolution with LeakyReLU 0.2', 'multiplication by 0.2'
_TAIL = ['conv_body', 'conv_up1', 'conv_up2', 'conv_hr', 'conv_last']
_TAIL_STEPS = [_CONV, 'enlargement by 2', _LEAKY_CONV, 'enlargement by 2', _LEAKY_CONV, _LEAKY_CONV, _CONV]
_ADD, _MULTIPLY = 0, 2  # a BinaryOp's operation
_SUM = 1  # an Eltwise's
_NEAREST = 1  # an Interp's
_LEAKY = 2  # a convolution's activation


def read_ncnn(path: Path) -> dict[str, np.ndarray]:
    """Read a network of ncnn, pruned or not.

    Where convolutions were pruned away from a dense block, the remaining ones become its first: the file does not tell
    which they were, and the network's output is the same.

    Args:
        path: Its `.param` or its `.bin`; the other lies beside it.

    Returns:
        Float32 values by name, as in BasicSR's RRDBNet (or PrunedRRDBNet) or SRVGGNetCompact with PReLU.

    Raises:
        CheckpointError: The files cannot be read, or hold another network, or have further layers after the network.
    """
    layers = read_layers(path)
    weighted = [layer for layer in layers if layer.weights]
    compact = any(layer.kind == 'PReLU' for layer in weighted)
    names, expected = _compact(weighted, path) if compact else _rrdbnet(weighted, path)
    _compare(_steps(layers), expected, path)
    return {f'{name}.{kind}': values for name, layer in zip(names, weighted, strict=True)
            for kind, values in layer.weights.items()}


def _rrdbnet(convs: Sequence[Layer], path: Path) -> tuple[list[str], list[str]]:
    """The names of RRDBNet's convolutions, and what its layers do."""
    tail = len(convs) - len(_TAIL)
    if tail < 1:
        raise _refusal(path, f'it has {len(convs)} convolutions and an RRDBNet has at least {1 + len(_TAIL)}')
    widths = [conv.weights['weight'].shape[:2] for conv in convs]  # out, in
    feat, channels = widths[0]
    last = widths[-1][0]
    shrunk = {4 * last: 2, 16 * last: 4}.get(channels)
    names, steps = ['conv_first'], [f'pixel-unshuffle by {shrunk}', _CONV] if shrunk else [_CONV]
    starts = [index for index in range(1, tail) if widths[index][1] == feat]  # of dense blocks: none else takes so few
    for number, (start, end) in enumerate(zip(starts, [*starts, tail][1:], strict=True)):
        block = f'body.{number // 3}.rdb{number % 3 + 1}'
        growing = [f'{block}.conv{index}' for index in range(1, end - start)]
        names += [*growing, f'{block}.conv5']
        steps += [_LEAKY_CONV] * len(growing) + [_CONV, _SCALED]
        if number % 3 == 2:
            steps.append(_SCALED)
        inside = [feat + sum(width for width, _ in widths[start:index]) for index in range(start, end)]
        if end - start > 5 or widths[end - 1][0] != feat or inside != [width for _, width in widths[start:end]]:
            raise _refusal(path, f'the convolutions from {convs[start].name} to {convs[end - 1].name} are no dense '
                                 f'block of {feat} channels')
    names += _TAIL
    if len(starts) % 3 or len(names) != len(convs) or widths[tail:] != [(feat, feat)] * 4 + [(last, feat)]:
        raise _refusal(path, f'its {len(convs)} convolutions do not follow each other as those of an RRDBNet do')
    return names, steps + _TAIL_STEPS


def _compact(layers: Sequence[Layer], path: Path) -> tuple[list[str], list[str]]:
    """The names of SRVGGNetCompact's convolutions and PReLUs, and what its layers do."""
    kinds = [layer.kind for layer in layers]
    if len(layers) < 3 or kinds != ['Convolution', 'PReLU'] * (len(layers) // 2) + ['Convolution']:
        raise _refusal(path, 'its convolutions and PReLUs do not take turns as those of an SRVGGNetCompact do')
    width = channels = layers[0].weights['weight'].shape[1]
    for layer in layers:
        taken = layer.weights['weight'].shape[1 if layer.kind == 'Convolution' else 0]
        if taken != width:
            raise _refusal(path, f'the layer {layer.name} takes {taken} channels and is given {width}')
        width = layer.weights['weight'].shape[0]
    scale = math.isqrt(width // channels)
    if width != channels * scale**2:
        raise _refusal(path, f'its last convolution makes {width} channels, which is no enlarged image of {channels}')
    return ([f'body.{index}' for index in range(len(layers))],
            [_CONV, 'PReLU'] * (len(layers) // 2) + [_CONV, f'pixel-shuffle by {scale}', f'enlargement by {scale}'])


def _compare(steps: Sequence[tuple[str, str]], expected: Sequence[str], path: Path) -> None:
    """Check that the layers do what the network does, in its order; `steps` is what is done and by which layer."""
    for index, (found, layer) in enumerate(steps):
        if index == len(expected):
            raise CheckpointError(
                f'{path} goes on behind its network: {layer}, {found}. That would be lost, so it is not read. Take the '
                'network without it (of realesr-animevideov3-x2 and -x3 that is realesr-animevideov3-x4).')
        if found != expected[index]:
            raise _refusal(path, f'the layer {layer} is {found}, expected {expected[index]}')
    if len(steps) < len(expected):
        raise _refusal(path, f'it ends before its {expected[len(steps)]}')


def _steps(layers: Sequence[Layer]) -> list[tuple[str, str]]:
    """What is done to the image, each with the name of its layer, without sums and layers that only pass values on."""
    steps: list[tuple[str, str]] = []
    for layer in layers:
        if layer.kind == 'ReLU' and steps and steps[-1][0] == _CONV:  # not fused
            steps[-1] = (f'{_CONV} with LeakyReLU {layer.number(0):g}', steps[-1][1])
            continue
        step = _step(layer)
        if step:
            steps.append((step, layer.name))
    return steps


def _step(layer: Layer) -> str:
    if layer.kind == 'Convolution':
        return _convolution(layer)
    if layer.kind == 'Interp':
        height, width = layer.number(1, 1), layer.number(2, 1)
        if layer.number(0) == _NEAREST and height == width and not layer.number(3) and not layer.number(4):
            return f'enlargement by {height:g}'
        return f'resizing by {height:g} and {width:g}, mode {layer.number(0):g}'
    if layer.kind == 'PixelShuffle':
        return f'pixel-shuffle by {layer.number(0):g}' + (', mode 1' if layer.number(1) else '')
    if layer.kind == 'Reorg':
        return f'pixel-unshuffle by {layer.number(0):g}' + (', mode 1' if layer.number(1) else '')
    if layer.kind == 'BinaryOp':
        return _binary(layer)
    if layer.kind == 'Eltwise':
        factors = layer.settings.get(1, [])
        if layer.number(0) != _SUM or not isinstance(factors, list):
            return 'a product or maximum'
        return ' and '.join(f'multiplication by {factor:g}' for factor in factors if factor != 1)
    return layer.kind if layer.kind in ('PReLU', 'ReLU') else ''


def _binary(layer: Layer) -> str:
    operation, has_number = layer.number(0), layer.number(1)
    if operation == _MULTIPLY and has_number:
        return f'multiplication by {layer.number(2):g}'
    return '' if operation == _ADD and not has_number else f'operation {operation:g} of BinaryOp'


def _convolution(layer: Layer) -> str:
    """A convolution's kernel and activation, and whatever is unusual about it."""
    height, width = layer.weights['weight'].shape[2:]
    activation, slope, padding = int(layer.number(9)), layer.settings.get(10), layer.number(4)
    above = layer.number(14, padding)
    facts = {
        f'LeakyReLU {slope[0]:g}' if activation == _LEAKY and isinstance(slope, list) and slope else
        f'activation {activation}': activation != 0,
        'a stride or dilation': {layer.number(one, layer.number(one % 10, 1)) for one in (2, 3, 12, 13)} != {1},
        'another padding than 1': {padding, above, layer.number(15, padding), layer.number(16, above)} != {1},
        'no bias': 'bias' not in layer.weights,
    }
    told = ' and '.join(fact for fact, is_so in facts.items() if is_so)
    return f'{height}x{width} convolution' + (f' with {told}' if told else '')


def _refusal(path: Path, reason: str) -> CheckpointError:
    return CheckpointError(f'{path} holds neither an RRDBNet nor an SRVGGNetCompact, and only these two are read from '
                           f'files of ncnn: {reason}.')
