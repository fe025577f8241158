"""Which channels of a teacher a narrower student starts with."""
from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import Tensor, nn

from basicsr_kd.distillation.errors import InheritanceError
from basicsr_kd.pruning.cut import Cut
from basicsr_kd.pruning.groups import ChannelGroup
from basicsr_kd.pruning.shuffles import find_shuffled_groups


def match_widths(student: nn.Module, teacher: nn.Module, blocks: Cut, example: Tensor,
                 importance: Callable[[Any], Tensor | None]) -> tuple[list[ChannelGroup], dict[str, list[int]]]:
    """The most important channels of a teacher, as many as the student has.

    Args:
        student: Only its shapes matter.
        teacher: With all its blocks, so that importance is what channels are worth in the network that was trained;
            its parameters require gradients.
        blocks: What `basicsr_kd.distillation.depth.match_depth` gives.
        example: An input of the teacher on its device, (1, c, h, w).
        importance: torch-pruning's criterion: its group to one value a channel.

    Returns:
        The groups of channels in which the student has fewer, and, by their roots, the channels that stay.

    Raises:
        InheritanceError: The student has more channels, other than growth of an RRDBNet, or fewer where they must
            all stay; or the teacher cannot be traced.
    """
    try:
        groups = find_shuffled_groups(teacher, example, importance)
    except Exception as error:  # of torch-pruning, which does not know every operation
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
    """How many channels the student has of a group of the teacher's; None where it has nothing of that group."""
    for path in group.producers:
        if (name := blocks.new_name(f'{path}.weight')) is not None:
            dim = int(isinstance(teacher.get_submodule(path), nn.ConvTranspose2d))
            outputs = own[name][dim] if name in own else 0  # a growth of 0 has no convolution
            return group.size * outputs // teacher.get_parameter(f'{path}.weight').shape[dim]  # before a pixel shuffle
    for part in group.slices:  # what reads them may stay, where what writes them is left out: SRVGGNetCompact
        if (name := blocks.new_name(part.tensor)) in own:
            return own[str(name)][part.dim]
    return None
