"""Small networks of BasicSR, and their pruned tensors cut by hand."""
from typing import Any

import torch
from torch import Tensor, nn

from basicsr_kd.archs.build import build

SMALL: dict[str, dict[str, Any]] = {
    'EDSR': {'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 3, 'upscale': 4,
             'res_scale': 0.1, 'img_range': 1.0},
    'RCAN': {'type': 'RCAN', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_group': 2, 'num_block': 2,
             'squeeze_factor': 4, 'upscale': 2, 'res_scale': 0.5, 'img_range': 1.0},
    'MSRResNet': {'type': 'MSRResNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 3, 'upscale': 4},
    'SRVGGNetCompact': {'type': 'SRVGGNetCompact', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_conv': 3,
                        'upscale': 4, 'act_type': 'prelu'},
}
# Layers of which one writes channels that only the last reads: (writer, activation with weights …, reader).
CHAINS = {
    'EDSR': [('body.0.conv1', 'body.0.conv2'), ('body.2.conv1', 'body.2.conv2')],
    'RCAN': [('body.1.residual_group.0.rcab.0', 'body.1.residual_group.0.rcab.2')],
    'MSRResNet': [('body.1.conv1', 'body.1.conv2'), ('conv_hr', 'conv_last')],
    'SRVGGNetCompact': [('body.0', 'body.1', 'body.2'), ('body.4', 'body.5', 'body.6')],
}


def varied(options: dict[str, Any]) -> nn.Module:
    """A network in which every parameter matters, biases and slopes too."""
    net = build(options)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.uniform_(-0.2, 0.2)
    return net.eval()


def cut_chains(net: nn.Module, kind: str) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The tensors of a network without some inner channels: cut off, and set to zero (the masked reference)."""
    cut, zeroed = ({name: tensor.clone() for name, tensor in net.state_dict().items()} for _ in range(2))
    for number, (writer, *between, reader) in enumerate(CHAINS[kind]):
        kept = [0, 2, 3, 7][:4 - number]  # a width of its own for each
        gone = [channel for channel in range(8) if channel not in kept]
        for name in (f'{writer}.weight', f'{writer}.bias', *(f'{path}.weight' for path in between)):
            cut[name] = cut[name][kept]
            zeroed[name][gone] = 0
        cut[f'{reader}.weight'] = cut[f'{reader}.weight'][:, kept]
    return cut, zeroed


def without_block(state: dict[str, Tensor], prefix: str, gone: int) -> dict[str, Tensor]:
    """A state dict without one block of the list at `prefix`, those behind it renumbered."""
    result = {}
    for name, tensor in state.items():
        if name.startswith(f'{prefix}.'):
            number, _, rest = name[len(prefix) + 1:].partition('.')
            if int(number) == gone:
                continue
            name = f'{prefix}.{int(number) - (int(number) > gone)}.{rest}'
        result[name] = tensor
    return result
