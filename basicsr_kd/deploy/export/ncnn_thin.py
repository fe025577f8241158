"""A thin copy of a network for pnnx, and its real weights put into what pnnx made of the copy.

pnnx takes about 4 bytes times parameters times convolutions: 21 GB for RealESRGAN_x4plus. So it gets the network with
kernels of one pixel, which is a ninth of it; sizes of images, and with them its graph, stay the same.
"""
from __future__ import annotations

import copy
import re
from collections.abc import Mapping

import numpy as np
import torch
from torch import Tensor, nn

from basicsr_kd.errors import ExportError

_HALF = np.array([0x01306B47], '<u4').tobytes()  # before weights in fp16
_TAGGED = {'Convolution': (0, 5, 6), 'Deconvolution': (0, 5, 6), 'ConvolutionDepthWise': (0, 5, 6),
           'InnerProduct': (0, 1, 2)}
"""Layers whose weights have a tag: the settings that tell outputs, whether there is a bias, and the weights' size."""


def thin(net: nn.Module) -> tuple[nn.Module, dict[int, nn.Conv2d]]:
    """Give a copy of a network kernels of one pixel, as far as they keep the size of images.

    Returns:
        The copy, and the convolutions of the network by the number that is the copy's first bias.
    """
    slim = copy.deepcopy(net)
    originals: dict[int, nn.Conv2d] = {}
    for name, conv in list(net.named_modules()):
        if not isinstance(conv, nn.Conv2d) or not _keeps_size(conv):
            continue
        assert conv.bias is not None
        originals[len(originals) + 1] = conv
        small = nn.Conv2d(conv.in_channels, conv.out_channels, 1)
        with torch.no_grad():
            small.bias[0] = len(originals)  # type: ignore[index]
        parent, _, last = name.rpartition('.')
        setattr(slim.get_submodule(parent), last, small)
    return slim.eval(), originals


def _keeps_size(conv: nn.Conv2d) -> bool:
    kernel = conv.kernel_size
    same = conv.padding == tuple(side // 2 for side in kernel) and all(side % 2 for side in kernel)
    return (same and max(kernel) > 1 and conv.bias is not None and conv.groups == 1 and conv.padding_mode == 'zeros' and
            set(conv.stride) | set(conv.dilation) == {1})


def thicken(param: str, content: bytes, originals: Mapping[int, nn.Conv2d]) -> tuple[str, bytes]:
    """Put the real weights into both of ncnn's files.

    Args:
        param: Text of the .param of a thin copy.
        content: Of its .bin.
        originals: From `thin`; their weights fit fp16.

    Raises:
        ExportError: The layers do not account for all of the .bin: it has some of a kind that is not known here.
    """
    lines, parts, place = param.splitlines(), [], 0
    done: set[int] = set()
    for index, line in enumerate(lines[2:], start=2):
        size = _bytes_of(line, content, place)
        part = content[place:place + size]
        place += size
        if line.split()[:1] == ['Convolution']:
            outputs = _setting(line, 0)
            number = round(float(np.frombuffer(part[-4 * outputs:], '<f4')[0])) if _setting(line, 5) else 0
            if number in originals and _setting(line, 1) == 1:
                line, part = _real(line, originals[number])
                done.add(number)
        lines[index] = line
        parts.append(part)
    if place != len(content) or done != set(originals):
        raise ExportError('ncnn: pnnx wrote layers with weights that are not known here. --format onnx or openvino may '
                          'do.')
    return '\n'.join(lines) + '\n', b''.join(parts)


def _bytes_of(line: str, content: bytes, place: int) -> int:
    """How many bytes of the .bin a layer has."""
    kind = line.split()[0] if line.strip() else ''
    if kind == 'PReLU':
        return 4 * _setting(line, 0)
    if kind not in _TAGGED:
        return 0
    outputs, bias, weights = (_setting(line, which) for which in _TAGGED[kind])
    each = 2 if content[place:place + 4] == _HALF else 4
    return 4 + -(-each * weights // 4) * 4 + (4 * outputs if bias else 0)


def _real(line: str, conv: nn.Conv2d) -> tuple[str, bytes]:
    height, width = conv.kernel_size
    settings = {1: width, 11: height, 4: width // 2, 15: width // 2, 14: height // 2, 16: height // 2,
                6: conv.weight.numel()}
    for key, value in settings.items():
        line = re.sub(rf'(?<=\s){key}=\S+', f'{key}={value}', line)
    assert conv.bias is not None
    return line, _HALF + _padded(_array(conv.weight, '<f2')) + _array(conv.bias, '<f4')


def _array(tensor: Tensor, kind: str) -> bytes:
    return tensor.detach().numpy().astype(kind).tobytes()


def _padded(content: bytes) -> bytes:
    return content + bytes(-len(content) % 4)


def _setting(line: str, key: int) -> int:
    found = re.search(rf'\s{key}=(\S+)', line)
    return int(found[1]) if found else 0
