"""Translates between the tensor names of ESRGAN's old files and those of BasicSR's RRDBNet, both ways."""
from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TypeVar

_Value = TypeVar('_Value')

_BLOCK = 'body.{}.rdb{}.conv{}'

# The x4 network of the first ESRGAN release: one nn.Sequential called `model`.
_FIRST = {'model.0': 'conv_first', 'model.3': 'conv_up1', 'model.6': 'conv_up2', 'model.8': 'conv_hr',
          'model.10': 'conv_last'}
_FIRST_BLOCK = 'model.1.sub.{}.RDB{}.conv{}.0'
_FIRST_TRUNK = 'model.1.sub.{}'  # conv_body is numbered as if it were one more block

# The second release, before BasicSR 1.0 renamed everything to snake case.
_SECOND = {'conv_first': 'conv_first', 'trunk_conv': 'conv_body', 'upconv1': 'conv_up1', 'upconv2': 'conv_up2',
           'HRconv': 'conv_hr', 'conv_last': 'conv_last'}
_SECOND_BLOCK = 'RRDB_trunk.{}.RDB{}.conv{}'


def rename_esrgan_keys(state: dict[str, _Value]) -> dict[str, _Value]:
    """Translate the keys of old ESRGAN files to those of BasicSR's RRDBNet.

    All or nothing: a state dict with any key that these files do not have is returned as it is, since half a
    translation would hide what the network really is (ESRGAN+ or a x2 model of the first release, say).

    Args:
        state: Name to tensor, from [ESRGAN](https://github.com/xinntao/ESRGAN) or anything else.

    Returns:
        The same tensors under BasicSR's names, or `state` itself.
    """
    for rename in (_rename_first, _rename_second):
        names = {name: rename(name) for name in state}
        if state and all(names.values()):
            return {str(new): state[old] for old, new in names.items()}
    return state


def first_release_keys(state: Mapping[str, _Value]) -> dict[str, _Value]:
    """Translate the keys of BasicSR's RRDBNet to those of the first ESRGAN release.

    Args:
        state: Name to tensor, of a x4 RRDBNet and nothing else.

    Returns:
        The same tensors under the old names, which `rename_esrgan_keys` turns back.
    """
    layers = {new: old for old, new in _FIRST.items()}
    blocks = {match[1] for match in (_match_block(_BLOCK, name.rpartition('.')[0]) for name in state) if match}
    layers['conv_body'] = _FIRST_TRUNK.format(len(blocks))
    names = {}
    for name in state:
        layer, _, kind = name.rpartition('.')
        block = _match_block(_BLOCK, layer)
        names[name] = f'{_FIRST_BLOCK.format(*block.groups()) if block else layers[layer]}.{kind}'
    return {names[name]: value for name, value in state.items()}


def _rename_first(name: str) -> str | None:
    layer, _, kind = name.rpartition('.')
    if block := _match_block(_FIRST_BLOCK, layer):
        return f'{_BLOCK.format(*block.groups())}.{kind}'
    if re.fullmatch(_FIRST_TRUNK.format(r'\d+'), layer):
        return f'conv_body.{kind}'
    return f'{_FIRST[layer]}.{kind}' if layer in _FIRST else None


def _rename_second(name: str) -> str | None:
    layer, _, kind = name.rpartition('.')
    if block := _match_block(_SECOND_BLOCK, layer):
        return f'{_BLOCK.format(*block.groups())}.{kind}'
    return f'{_SECOND[layer]}.{kind}' if layer in _SECOND else None


def _match_block(template: str, layer: str) -> re.Match[str] | None:
    return re.fullmatch(template.replace('.', r'\.').format(r'(\d+)', '([123])', '([1-5])'), layer)
