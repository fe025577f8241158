"""Keys of ESRGAN's own releases in BasicSR's names."""
from __future__ import annotations

import re
from typing import TypeVar

T = TypeVar('T')

# The x4 network of the first ESRGAN release: one nn.Sequential called `model`.
_FIRST = {'model.0': 'conv_first', 'model.3': 'conv_up1', 'model.6': 'conv_up2', 'model.8': 'conv_hr',
          'model.10': 'conv_last'}
_FIRST_BLOCK = re.compile(r'model\.1\.sub\.(\d+)\.RDB([123])\.conv([1-5])\.0')
_FIRST_TRUNK = re.compile(r'model\.1\.sub\.\d+')

# The second release, before BasicSR 1.0 renamed everything to snake case.
_SECOND = {'conv_first': 'conv_first', 'trunk_conv': 'conv_body', 'upconv1': 'conv_up1', 'upconv2': 'conv_up2',
           'HRconv': 'conv_hr', 'conv_last': 'conv_last'}
_SECOND_BLOCK = re.compile(r'RRDB_trunk\.(\d+)\.RDB([123])\.conv([1-5])')


def rename_esrgan_keys(state: dict[str, T]) -> dict[str, T]:
    """Translate the keys of old ESRGAN files to those of BasicSR's RRDBNet.

    All or nothing: a state dict with any key that is not one of these files' comes back as it is, since half a
    translation would hide what the network really is (ESRGAN+ or a x2 model of the first release, say).

    Args:
        state: name to tensor, from `ESRGAN <https://github.com/xinntao/ESRGAN>`_ or anything else.

    Returns:
        The same tensors under BasicSR's names, or ``state`` itself.
    """
    for rename in (_rename_first, _rename_second):
        names = {name: rename(name) for name in state}
        if state and all(names.values()):
            return {str(new): state[old] for old, new in names.items()}
    return state


def _rename_first(name: str) -> str | None:
    layer, _, kind = name.rpartition('.')
    if block := _FIRST_BLOCK.fullmatch(layer):
        return 'body.{}.rdb{}.conv{}.{}'.format(*block.groups(), kind)
    if _FIRST_TRUNK.fullmatch(layer):
        return f'conv_body.{kind}'
    return f'{_FIRST[layer]}.{kind}' if layer in _FIRST else None


def _rename_second(name: str) -> str | None:
    layer, _, kind = name.rpartition('.')
    if block := _SECOND_BLOCK.fullmatch(layer):
        return 'body.{}.rdb{}.conv{}.{}'.format(*block.groups(), kind)
    return f'{_SECOND[layer]}.{kind}' if layer in _SECOND else None
