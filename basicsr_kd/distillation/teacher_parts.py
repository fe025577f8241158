"""The channels and blocks of a teacher that a narrower or shallower student takes."""
from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any

import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import Tensor, nn

from basicsr_kd.distillation.layers import evenly
from basicsr_kd.errors import InheritanceError
from basicsr_kd.pruning.channels.groups import ChannelGroup
from basicsr_kd.pruning.channels.shuffles import find_shuffled_groups
from basicsr_kd.pruning.cut import Cut

_DENSE_BLOCK = re.compile(r'(body\.\d+\.rdb[123])\.conv5\.weight')


def match_widths(student: nn.Module, teacher: nn.Module, blocks: Cut, example: Tensor,
                 importance: Callable[[Any], Tensor | None]) -> tuple[list[ChannelGroup], dict[str, list[int]]]:
    """Choose the most important channels of a teacher, as many as the student has.

    Args:
        student: The student; only its shapes matter.
        teacher: The teacher with all its blocks, so that importance is that of the trained network; its parameters
            require gradients.
        blocks: The cut from `basicsr_kd.distillation.teacher_parts.match_depth`.
        example: An input of the teacher on its device, (1, c, h, w).
        importance: torch-pruning's criterion: from a group to one value for each channel.

    Returns:
        The groups of channels in which the student has fewer, and, by their roots, the channels that stay.

    Raises:
        InheritanceError: The student has more channels, other than growth of an RRDBNet, or fewer where all must stay;
            or the teacher cannot be traced.
    """
    try:
        groups = find_shuffled_groups(teacher, example, importance)
    except Exception as error:  # torch-pruning does not know every operation
        raise InheritanceError(f'student.init: teacher: the channels of {type(teacher).__name__} cannot be traced: '
                               f'{error}; use student.init: random') from error
    own = {name: tensor.shape for name, tensor in student.state_dict().items()}
    narrower, kept = [], {}
    for group in groups:
        width = _student_width(group, blocks, own, teacher)
        if width is None or width == group.size:
            continue
        grows = isinstance(teacher, RRDBNet) and group.root.startswith('body.')
        if width < group.size and not group.blocked:
            narrower.append(group)
            kept[group.root] = group.kept(width)
        elif not (width > group.size and grows):
            why = f', which must all stay: {group.blocked}' if group.blocked else ''
            raise InheritanceError(f'student.init: teacher: {group.root} has {width} channels in the student and '
                                   f'{group.size} in the teacher{why}. Expected a student that is nowhere wider; or '
                                   'use student.init: random')
    return narrower, kept


def _student_width(group: ChannelGroup, blocks: Cut, own: Mapping[str, torch.Size], teacher: nn.Module) -> int | None:
    """The student's number of channels for a group of the teacher's; None if it has nothing of that group."""
    for path in group.producers:
        if (name := blocks.new_name(f'{path}.weight')) is not None:
            dim = int(isinstance(teacher.get_submodule(path), nn.ConvTranspose2d))
            outputs = own[name][dim] if name in own else 0  # a growth of 0 has no convolution
            return group.size * outputs // teacher.get_parameter(f'{path}.weight').shape[dim]  # before a pixel shuffle
    for part in group.slices:  # in SRVGGNetCompact the reader may stay although the writer is left out
        if (name := blocks.new_name(part.tensor)) in own:
            return own[str(name)][part.dim]
    return None


def match_depth(student: nn.Module, teacher: nn.Module) -> Cut:
    """The cut that removes the blocks that the student does not have from a teacher, and renumbers the others.

    Blocks are spread over the teacher's depth by `basicsr_kd.distillation.layers.evenly`, in every `nn.Sequential` and
    `nn.ModuleList`, also nested ones, whose children are all of one class, or convolutions and activations in turn
    (SRVGGNetCompact, whose first convolution stays first and whose last one stays last).

    Raises:
        InheritanceError: The student has more blocks, or other layers.
    """
    renamed: dict[str, str | None] = {}
    _match(student, teacher, '', '', renamed)
    return Cut(renamed=renamed)


def _match(student: nn.Module, teacher: nn.Module, path: str, teacher_path: str,
           renamed: dict[str, str | None]) -> None:
    """Add the children of two corresponding modules; inner ones first, as `Cut` looks them up."""
    if isinstance(teacher, (nn.Sequential, nn.ModuleList)) and isinstance(student, (nn.Sequential, nn.ModuleList)):
        names = _match_chain(list(student.children()), list(teacher.children()), teacher_path)
    else:
        names = {name: name for name in teacher._modules}
    for theirs, own in names.items():
        old = f'{teacher_path}.{theirs}'.lstrip('.')
        if own is None:
            renamed[old] = None
            continue
        new = f'{path}.{own}'.lstrip('.')
        child, teacher_child = student._modules.get(own), teacher._modules[theirs]
        if child is not None and teacher_child is not None:
            _match(child, teacher_child, new, old, renamed)
        if own != theirs:
            renamed[old] = new


def _match_chain(student: list[nn.Module], teacher: list[nn.Module], path: str) -> dict[str, str | None]:
    """The student's numbers in a chain, by the teacher's; None for blocks that the student does not have."""
    kinds = [type(child) for child in teacher]
    if len(student) == len(teacher):
        head, unit, tail = len(teacher), 1, 0
    elif len(set(kinds)) == 1:
        head, unit, tail = 0, 1, 0
    elif len(kinds) % 2 and len(student) % 2 and len(set(kinds[::2])) == len(set(kinds[1::2])) == 1:
        head, unit, tail = 2, 2, 1
    else:
        raise InheritanceError(f'student.init: teacher: {path} has {len(student)} layers in the student and '
                               f'{len(teacher)} in the teacher. A student can have fewer only where all layers are '
                               'blocks of one class; use student.init: random')
    few, many = ((len(chain) - head - tail) // unit for chain in (student, teacher))
    if few > many:
        raise InheritanceError(f'student.init: teacher: the student has {few} blocks in {path}, the teacher only '
                               f'{many}; use a shallower student, or student.init: random')
    names: dict[str, str | None] = {str(index): None for index in range(len(teacher))}
    kept = [*range(head), *(head + unit * block + part for block in evenly(few, many) for part in range(unit)),
            *range(len(teacher) - tail, len(teacher))]
    names.update((str(theirs), str(own)) for own, theirs in enumerate(kept))
    return names


def pad_growth(state: Mapping[str, Tensor], own: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Pad the growth channels of a narrower RRDBNet's tensors to the widths of a wider one.

    The further channels keep their values from the wider network, and nothing of the narrower one reads them yet: the
    output stays the same, and they can still learn.

    Args:
        state: The narrower network's tensors by name; convolutions may be missing (growth 0).
        own: The tensors of the network with the wanted widths: as many features and blocks, and at least as wide
            everywhere.

    Returns:
        New tensors where the two differ.
    """
    padded = dict(state)
    for block in [match[1] for name in own if (match := _DENSE_BLOCK.fullmatch(name))]:
        columns = list(range(len(own[f'{block}.conv5.weight'])))  # places of the narrower network's inputs
        width = len(columns)
        for conv in range(1, 6):
            weight, bias = f'{block}.conv{conv}.weight', f'{block}.conv{conv}.bias'
            if weight not in own:
                continue
            padded[weight], padded[bias] = own[weight].clone(), own[bias].clone()
            rows = len(state[weight]) if weight in state else 0
            padded[weight][:rows] = 0
            if rows:
                padded[weight][:rows, columns] = state[weight]
                padded[bias][:rows] = state[bias]
            columns += range(width, width + rows)
            width += len(own[weight])
    return padded
