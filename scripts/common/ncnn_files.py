"""Networks as ncnn's converters write them, for tests of reading them."""
from pathlib import Path

import numpy as np
from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import Tensor, nn


def write_ncnn(net: nn.Module, path: Path, half: bool = False, plain: bool = False) -> Path:
    """Write an RRDBNet or SRVGGNetCompact as `path`.param and `path`.bin.

    The layers come as in real files; what they are connected to is left out, which nothing here reads.

    Args:
        half: Weights of convolutions as 16-bit floats.
        plain: As before ncnn's optimiser: activations and multiplications are layers of their own.

    Returns:
        The `.param`.
    """
    lines = ['Input in 0 1 data', *(_rrdbnet(net, plain) if isinstance(net, RRDBNet) else _compact(net))]
    param = path.with_suffix('.param')
    param.write_text('\n'.join(['7767517', f'{len(lines)} {len(lines)}', *lines]) + '\n')
    path.with_suffix('.bin').write_bytes(b''.join(_weights(module, half) for module in net.modules()))
    return param


def _rrdbnet(net: RRDBNet, plain: bool) -> list[str]:
    lines = [f'Reorg unshuffle 1 1 a b 0={4 // net.scale}'] if net.scale < 4 else []
    for name, module in net.named_modules():
        if not isinstance(module, nn.Conv2d):
            continue
        kind = name.rpartition('.')[2]
        if kind in ('conv_up1', 'conv_up2'):
            lines.append('Interp up 1 1 a b 0=1 1=2.000000e+00 2=2.000000e+00')
        leaky = kind in ('conv1', 'conv2', 'conv3', 'conv4', 'conv_up1', 'conv_up2', 'conv_hr')
        lines += [_conv(name, module) + (' 9=2 -23310=1,2.000000e-01' if leaky and not plain else '')]
        if leaky and plain:
            lines.append('ReLU leaky 1 1 a b 0=2.000000e-01')
        if kind == 'conv5':
            lines += _scaled_sum(plain) * (2 if '.rdb3.' in name else 1)
    return lines


def _scaled_sum(plain: bool) -> list[str]:
    if plain:
        return ['BinaryOp mul 1 1 a b 0=2 1=1 2=2.000000e-01', 'BinaryOp add 2 1 a b c 0=0']
    return ['Eltwise add 2 1 a b c 0=1 -23301=2,2.000000e-01,1.000000e+00']


def _compact(net: nn.Module) -> list[str]:
    lines = ['Split split 1 2 data a b']
    for name, module in net.named_modules():
        if isinstance(module, nn.Conv2d):
            lines.append(_conv(name, module))
        elif isinstance(module, nn.PReLU):
            lines.append(f'PReLU {name} 1 1 a b 0={module.num_parameters}')
    return [*lines, f'PixelShuffle shuffle 1 1 a b 0={net.upscale}',
            f'Interp enlarged 1 1 a b 0=1 1={net.upscale}.0 2={net.upscale}.0', 'BinaryOp sum 2 1 a b output']


def _conv(name: str, conv: nn.Conv2d) -> str:
    return f'Convolution {name} 1 1 a b 0={conv.out_channels} 1=3 4=1 5=1 6={conv.weight.numel()}'


def _weights(module: nn.Module, half: bool) -> bytes:
    if isinstance(module, nn.PReLU):
        return _bytes(module.weight, np.float32)
    if not isinstance(module, nn.Conv2d):
        return b''
    tag, kind = (0x01306B47, np.float16) if half else (0, np.float32)
    weight = _bytes(module.weight, kind)
    return tag.to_bytes(4, 'little') + weight + bytes(-len(weight) % 4) + _bytes(module.bias, np.float32)


def _bytes(tensor: Tensor | None, kind: type) -> bytes:
    assert tensor is not None  # convolutions here have a bias
    return tensor.detach().numpy().astype(kind).tobytes()
