"""A student that starts with the teacher's most important channels (`student: {init: teacher}`)."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn

from basicsr_kd.archs.rrdbnet_shape import rrdbnet_options

State = dict[str, Tensor]
Conv = tuple[str, str, list[str]]  # its name, the group of channels that it writes, the groups that it reads


class InheritanceError(ValueError):
    """The student cannot inherit from this teacher."""


def check_inheritable(student: State, teacher: State) -> tuple[dict[str, Any], dict[str, Any]]:
    """The RRDBNet options of both networks, from their state dicts.

    Raises:
        InheritanceError: One is no RRDBNet, the student has more blocks, or inputs, outputs or scale differ.
    """
    options = []
    for side, state in (('student', student), ('teacher', teacher)):
        found = rrdbnet_options(state)
        if found is None:
            raise InheritanceError(f'student.init: teacher needs RRDBNets on both sides, and the {side} is none; '
                                   'use student.init: random')
        options.append(found)
    small, large = options
    for key in ('num_in_ch', 'num_out_ch', 'scale'):
        if small[key] != large[key]:
            raise InheritanceError(f'student.init: teacher: {key} is {small[key]} in the student and {large[key]} in '
                                   'the teacher')
    if small['num_block'] > large['num_block']:
        raise InheritanceError(f'student.init: teacher: the student has {small["num_block"]} blocks, the teacher only '
                               f'{large["num_block"]}')
    return small, large


@torch.no_grad()
def inherit_rrdbnet(student: nn.Module, teacher: nn.Module) -> None:
    """Copy the teacher's most important channels into the student, in place.

    Channels that belong together are chosen together: those of the residual stream once for the whole network, those of
    every growing convolution and of the tail for themselves. A channel counts by the L2 norm of the weights that write
    it times the norm of those that read it, which does not change when a layer is scaled up and the next one down; for
    the stream, written and read by every dense block, the normalised norms are summed. Blocks of a deeper teacher are
    taken at even distances. Where the teacher is narrower (a pruned growth), the student's further channels keep their
    random weights and nothing inherited reads them yet, so they start without effect and can still learn.

    Args:
        student: An RRDBNet (SlimRRDBNet, PrunedRRDBNet) on the CPU.
        teacher: An RRDBNet of the same inputs, outputs and scale, with at least as many blocks, on the CPU.

    Raises:
        InheritanceError: See `check_inheritable`.
    """
    small, large = student.state_dict(), teacher.state_dict()
    small_options, large_options = check_inheritable(small, large)
    blocks = _spread(small_options['num_block'], large_options['num_block'])
    small_layout, large_layout = _layout(range(small_options['num_block'])), _layout(blocks)
    small_widths, large_widths = _group_widths(small, small_layout), _group_widths(large, large_layout)
    scores = _scores(large, large_layout, large_widths)
    kept = {
        group: scores[twin].topk(min(small_widths[group], large_widths[twin])).indices.sort().values
        for group, twin in zip(small_widths, large_widths, strict=True)
    }
    for (name, writes, reads), (twin, _, twin_reads) in zip(small_layout, large_layout, strict=True):
        rows = kept[writes]
        if not len(rows):
            continue
        weight, source = small[f'{name}.weight'], large[f'{twin}.weight'][rows]
        inherited = torch.zeros_like(weight[:len(rows)])
        start, twin_start = 0, 0
        for group, twin_group in zip(reads, twin_reads, strict=True):
            columns = kept[group]
            inherited[:, start:start + len(columns)] = source[:, twin_start + columns]
            start, twin_start = start + small_widths[group], twin_start + large_widths[twin_group]
        weight[:len(rows)] = inherited
        small[f'{name}.bias'][:len(rows)] = large[f'{twin}.bias'][rows]
    student.load_state_dict(small)


def _spread(few: int, many: int) -> list[int]:
    """`few` block numbers at even distances out of `many`, first and last included."""
    return [round(i * (many - 1) / max(few - 1, 1)) for i in range(few)]


def _layout(blocks: Sequence[int]) -> list[Conv]:
    """The convolutions of an RRDBNet in order: name, the group of channels it writes, the groups it reads."""
    convs: list[Conv] = [('conv_first', 'stream', ['image'])]
    for block in blocks:
        for dense in (1, 2, 3):
            names = [f'body.{block}.rdb{dense}.conv{k}' for k in range(1, 6)]
            convs += [(name, name, ['stream', *names[:k]]) for k, name in enumerate(names[:4])]
            convs.append((names[4], 'stream', ['stream', *names[:4]]))
    convs.append(('conv_body', 'stream', ['stream']))
    tail = ['stream', 'conv_up1', 'conv_up2', 'conv_hr', 'conv_last']
    return convs + [(name, name, [before]) for before, name in zip(tail[:-1], tail[1:], strict=True)]


def _group_widths(state: State, layout: list[Conv]) -> dict[str, int]:
    """How many channels each group has; 0 where a pruned growth left its convolution out."""
    widths = {'image': state['conv_first.weight'].shape[1]}
    for name, writes, _ in layout:
        widths[writes] = len(state.get(f'{name}.weight', ()))
    return widths


def _scores(state: State, layout: list[Conv], widths: dict[str, int]) -> dict[str, Tensor]:
    """The importance of every channel of every group: the norms that write it times the norms that read it."""
    written = {group: torch.zeros(width) for group, width in widths.items()}
    read = {group: torch.zeros(width) for group, width in widths.items()}
    for name, writes, reads in layout:
        if f'{name}.weight' not in state:
            continue
        weight = state[f'{name}.weight'].flatten(2)
        norms = weight.norm(dim=(1, 2))
        written[writes] += norms / norms.mean().clamp_min(1e-12)
        norms = weight.norm(dim=(0, 2))
        norms = norms / norms.mean().clamp_min(1e-12)
        for group, part in zip(reads, norms.split([widths[group] for group in reads]), strict=True):
            read[group] += part
    written['image'] += 1  # the image and the output are written and read from outside
    read['conv_last'] += 1
    return {group: written[group] * read[group] for group in widths}
