"""Options of BasicSR's networks, found from the shapes of their tensors (RRDBNet: `rrdbnet_numbers`)."""
from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from torch import Tensor, nn

from basicsr_kd.archs.build import build_for_shapes, differences
from basicsr_kd.archs.probe import input_channels
from basicsr_kd.archs.resize import resize_to
from basicsr_kd.archs.rrdbnet_numbers import rrdbnet_options

Options = dict[str, Any]
State = Mapping[str, Tensor]


def recognise(state: State) -> Options | None:
    """Find the options of the SRVGGNetCompact (with PReLU), MSRResNet or FRNet a state dict belongs to, pruned or not.

    All numbers of these networks show in their tensors. If channels were pruned unevenly, the options are those of a
    network that `basicsr_kd.archs.resize.resize_to` brings to these shapes; else those of the network itself.

    Args:
        state: Tensors by name; only the shapes matter.

    Returns:
        `{'type': …, num_in_ch, num_out_ch, num_feat, num_conv or num_block, upscale}`, with FRNet's own names for its
        numbers; None if it is none of these networks.
    """
    for find in (_compact, _msrresnet, _frnet):
        options = find(state)
        if options is not None and _is_pruned(options, state):
            return options
    return None


def stock_options(base: Options, state: State) -> Options | None:
    """Find options with which the network's own type fits a state dict of the pruned network strictly.

    Args:
        base: Options of the network before pruning.
        state: Tensors by name; only the shapes matter.

    Returns:
        `base` with other widths and numbers of blocks, None if no such network has these shapes.

    Raises:
        ValueError, CheckpointError: `base` cannot be built.
    """
    numbers = _NUMBERS.get(base['type'].removesuffix('_basicsr'), lambda state: {})(state)
    for options in (base, {**base, **numbers}):
        if not differences(build_for_shapes(options), state):
            return options
    return None


def number_differences(net: nn.Module, state: State) -> list[str]:
    """Where a network's numbers differ from those of a state dict, in words: `nb is 10 in the file, 5 in the network`.

    This works only for architectures that shapes tell; for others the list is empty.
    """
    own, theirs = (rrdbnet_options(tensors) or recognise(tensors) or discriminator_options(tensors) or {}
                   for tensors in (net.state_dict(), dict(state)))
    return [f'{name} is {value} in the file, {own[name]} in the network' for name, value in theirs.items()
            if name in own and own[name] != value and not isinstance(value, list)]


def _compact(state: State) -> Options | None:
    numbers = _compact_numbers(state)
    if not numbers or numbers['num_conv'] < 0 or 'body.0.weight' not in state or state['body.0.weight'].dim() != 4:
        return None
    num_in_ch = state['body.0.weight'].shape[1]  # the image is added to the output, which has as many channels
    last = state.get(f'body.{2 * numbers["num_conv"] + 2}.weight')
    upscale = math.isqrt(len(last) // num_in_ch) if last is not None else 0
    return {'type': 'SRVGGNetCompact', 'num_in_ch': num_in_ch, 'num_out_ch': num_in_ch, **numbers, 'upscale': upscale,
            'act_type': 'prelu'} if upscale else None


def _msrresnet(state: State) -> Options | None:
    convs = {name: state.get(f'{name}.weight') for name in ('conv_first', 'upconv1', 'conv_hr', 'conv_last')}
    shapes = {name: weight.shape for name, weight in convs.items() if weight is not None and weight.dim() == 4}
    if len(shapes) < len(convs):
        return None
    enlarged = shapes['upconv1'][0] // shapes['conv_hr'][1]  # tells the scale if there is no second enlargement
    upscale = 4 if 'upconv2.weight' in state else {4: 2, 9: 3}.get(enlarged)
    return {'type': 'MSRResNet', 'num_in_ch': shapes['conv_first'][1], 'num_out_ch': shapes['conv_last'][0],
            **_resnet_numbers(state), 'upscale': upscale} if upscale else None


def _frnet(state: State) -> Options | None:
    convs = {name: state.get(f'{name}.weight') for name in ('fnet.encoder1.0', 'srnet.conv_in.0', 'srnet.conv_out')}
    shapes = {name: weight.shape for name, weight in convs.items() if weight is not None and weight.dim() == 4}
    scale = 2**_count(state, r'srnet\.conv_up\.(\d+)\.')
    if len(shapes) < len(convs) or scale not in (2, 4):
        return None
    return {'type': 'FRNet', 'in_nc': shapes['fnet.encoder1.0'][1] // 2, 'out_nc': shapes['srnet.conv_out'][0],
            **_frnet_numbers(state), 'degradation': 'BD' if 'upsample_func.kernels' in state else 'BI', 'scale': scale}


def _is_pruned(options: Options, state: State) -> bool:
    """Whether the state dict is that of such a network, perhaps pruned, by names, shapes and a run without weights."""
    try:
        net = build_for_shapes(options)
        resize_to(net, state)
        with torch.no_grad():
            net(torch.zeros(1, input_channels(net), 8, 8, device='meta'))
    except (ValueError, RuntimeError):
        return False
    return True


def _resnet_numbers(state: State) -> Options:
    return {**_first_width(state), 'num_block': _count(state, r'body\.(\d+)\.')}


def _rcan_numbers(state: State) -> Options:
    numbers = {**_first_width(state), 'num_group': _count(state, r'body\.(\d+)\.'),
               'num_block': _count(state, r'body\.0\.residual_group\.(\d+)\.')}
    squeezed = state.get('body.0.residual_group.0.rcab.3.attention.1.weight')
    if squeezed is not None and 'num_feat' in numbers:
        numbers['squeeze_factor'] = max(1, numbers['num_feat'] // len(squeezed))
    return numbers


def _compact_numbers(state: State) -> Options:
    convs = [name for name, tensor in state.items() if re.fullmatch(r'body\.\d+\.weight', name) and tensor.dim() == 4]
    return {**_first_width(state), 'num_conv': len(convs) - 2}


def _frnet_numbers(state: State) -> Options:
    first = state.get('srnet.conv_in.0.weight')
    width = {} if first is None else {'nf': len(first)}
    return {**width, 'nb': _count(state, r'srnet\.resblocks\.(\d+)\.')}


_NUMBERS: dict[str, Callable[[State], Options]] = {
    'EDSR': _resnet_numbers,
    'FRNet': _frnet_numbers,
    'MSRResNet': _resnet_numbers,
    'RCAN': _rcan_numbers,
    'SRVGGNetCompact': _compact_numbers,
}


def _first_width(state: State) -> Options:
    return next(({'num_feat': len(tensor)} for tensor in state.values() if tensor.dim() == 4), {})


def _count(state: State, pattern: str) -> int:
    return len({match[1] for match in (re.match(pattern, name) for name in state) if match})


def discriminator_options(state: Mapping[str, Tensor]) -> dict[str, Any] | None:
    """Find out which of BasicSR's discriminators of images a state dict belongs to.

    Args:
        state: Tensors by name; only names and shapes matter.

    Returns:
        `{'type': 'VGGStyleDiscriminator', num_in_ch, num_feat, input_size}` or `{'type': 'UNetDiscriminatorSN',
        num_in_ch, num_feat}`; None if it is neither.
    """
    if {'conv0_0.weight', 'linear2.weight'} <= state.keys():
        size = 256 if 'conv5_0.weight' in state else 128
        return {'type': 'VGGStyleDiscriminator', **_widths(state['conv0_0.weight']), 'input_size': size}
    if {'conv0.weight', 'conv8.weight_orig'} <= state.keys():  # spectral normalisation calls the weight weight_orig
        return {'type': 'UNetDiscriminatorSN', **_widths(state['conv0.weight'])}
    return None


def _widths(first: Tensor) -> dict[str, int]:
    return {'num_in_ch': first.shape[1], 'num_feat': len(first)}
