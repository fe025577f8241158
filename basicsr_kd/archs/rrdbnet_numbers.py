"""The numbers of an RRDBNet: found from its tensors, and checked."""
from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

from torch import Tensor

_TAIL = ('conv_up1', 'conv_up2', 'conv_hr')
_STEM = ('conv_first', 'conv_body', *_TAIL, 'conv_last')


def rrdbnet_options(state: dict[str, Tensor]) -> dict[str, Any] | None:
    """Find the `network_g` options that build the RRDBNet a state dict belongs to.

    `scale` is in no tensor: an RRDBNet always enlarges four times, after a pixel-unshuffle for scale 2 and 1. So an
    input of 4 or 16 times the output's channels is taken for scale 2 or 1.

    Args:
        state: Tensors by name, with BasicSR's key names (as `basicsr_kd.checkpoint.read_state_dict` gives them).

    Returns:
        `{'type': 'RRDBNet', num_in_ch, num_out_ch, scale, num_feat, num_block, num_grow_ch}` if every dense block has
        the same growth and conv_up1, conv_up2 and conv_hr are as wide as the body. Else the same with
        `'type': 'PrunedRRDBNet'`, `num_grow_ch` as a flat list of 4 * 3 * num_block widths if they differ (or are all
        0), and `num_tail_ch` as the widths of those three layers if one differs. None if this is not an RRDBNet.
    """
    shapes = {name.removesuffix('.weight'): tuple(tensor.shape) for name, tensor in state.items()
              if name.endswith('.weight')}
    if any(layer not in shapes or len(shapes[layer]) != 4 for layer in _STEM):
        return None
    num_feat, unshuffled = shapes['conv_first'][:2]
    num_out_ch = shapes['conv_last'][0]
    num_block = len({layer.split('.')[1] for layer in shapes if layer.startswith('body.')})
    growths = [shapes.get(f'body.{block}.rdb{dense}.conv{conv}', (0,))[0]
               for block in range(num_block) for dense in (1, 2, 3) for conv in (1, 2, 3, 4)]
    tail = [shapes[layer][0] for layer in _TAIL]
    if shapes != _conv_shapes(num_feat, unshuffled, num_out_ch, growths, tail):
        return None
    if set(state) != {f'{layer}.{kind}' for layer in shapes for kind in ('weight', 'bias')}:
        return None
    scale = {4 * num_out_ch: 2, 16 * num_out_ch: 1}.get(unshuffled, 4)
    equal, narrowed = len(set(growths)) == 1 and growths[0] > 0, set(tail) != {num_feat}
    return {
        'type': 'RRDBNet' if equal and not narrowed else 'PrunedRRDBNet',
        'num_in_ch': unshuffled // {4: 1, 2: 4, 1: 16}[scale],
        'num_out_ch': num_out_ch,
        'scale': scale,
        'num_feat': num_feat,
        'num_block': num_block,
        'num_grow_ch': growths[0] if equal else growths,
        **({'num_tail_ch': tail} if narrowed else {}),
    }


def _conv_shapes(num_feat: int, num_in_ch: int, num_out_ch: int, growths: list[int],
                 tail: list[int]) -> dict[str, tuple[int, ...]]:
    """Every convolution of such a network, and the shape of its weight."""
    widths = {'conv_first': (num_feat, num_in_ch), 'conv_body': (num_feat, num_feat)}
    widths.update(zip((*_TAIL, 'conv_last'), itertools.pairwise([num_feat, *tail, num_out_ch]), strict=True))
    widths.update({layer: widths[layer][::-1] for layer in (*_TAIL, 'conv_last')})  # (outputs, inputs)
    for index in range(len(growths) // 4):
        total = num_feat
        for conv, growth in enumerate((*growths[4 * index:4 * index + 4], num_feat), start=1):
            if growth:
                widths[f'body.{index // 3}.rdb{index % 3 + 1}.conv{conv}'] = (growth, total)
            total += growth
    return {layer: (*width, 3, 3) for layer, width in widths.items()}


def check_rrdbnet(name: str, scale: int, **widths: int) -> None:
    """Check that RRDBNet has this scale and that every width is a positive whole number.

    Args:
        name: The network's class, for the message.
        scale: The scale.
        widths: The value of each option, by its name.

    Raises:
        ValueError: An option is impossible; the text names it, its value and what is possible.
    """
    if scale not in (1, 2, 4):
        raise ValueError(f'{name}: scale is {scale!r}. Expected 4, 2 or 1 (an RRDBNet has no other).')
    for option, value in widths.items():
        if not _is_whole(value) or value < 1:
            raise ValueError(f'{name}: {option} is {value!r}. Expected a whole number of at least 1.')


def growth_widths(num_grow_ch: int | Sequence[int], num_block: int) -> list[int]:
    """One growth width for each of the 4 * 3 * num_block growing convolutions, in the order of the network.

    Args:
        num_grow_ch: One width for all, or the flat list itself (block by block, dense block by dense block).
        num_block: Residual-in-residual dense blocks.

    Raises:
        ValueError: The list has another length, or a width is not a whole number of at least 0.
    """
    count = 4 * 3 * num_block
    widths = [num_grow_ch] * count if isinstance(num_grow_ch, int) else list(num_grow_ch)
    if len(widths) != count:
        raise ValueError(f'PrunedRRDBNet: num_grow_ch lists {len(widths)} widths. Expected {count}: four for each of '
                         f'the 3 dense blocks of {num_block} blocks (or one number for all).')
    for index, width in enumerate(widths):
        if not _is_whole(width) or width < 0:
            raise ValueError(f'PrunedRRDBNet: num_grow_ch[{index}] is {width!r}. Expected a whole number of at least 0 '
                             '(0 leaves that convolution out).')
    return widths


def tail_widths(num_tail_ch: int | Sequence[int] | None, num_feat: int) -> list[int]:
    """The output channels of conv_up1, conv_up2 and conv_hr.

    Args:
        num_tail_ch: One width for all three, the three widths, or None: the body's width.
        num_feat: Channels of the residual stream.

    Raises:
        ValueError: There are not three widths, or one is not a whole number of at least 1.
    """
    if num_tail_ch is None:
        return [num_feat] * len(_TAIL)
    widths = list(num_tail_ch) if isinstance(num_tail_ch, Sequence) else [num_tail_ch] * len(_TAIL)
    if len(widths) != len(_TAIL) or not all(_is_whole(width) and width > 0 for width in widths):
        raise ValueError(f'PrunedRRDBNet: num_tail_ch is {num_tail_ch!r}. Expected the widths of {", ".join(_TAIL)}: '
                         'three whole numbers of at least 1, or one for all.')
    return widths


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
