"""Which blocks of a deeper teacher the blocks of a student start as."""
from __future__ import annotations

from torch import nn

from basicsr_kd.distillation.errors import InheritanceError
from basicsr_kd.distillation.layers import evenly
from basicsr_kd.pruning.cut import Cut


def match_depth(student: nn.Module, teacher: nn.Module) -> Cut:
    """The cut that takes the blocks out of a teacher which the student does not have, and renumbers the others.

    Blocks are spread over the teacher's depth by `basicsr_kd.distillation.layers.evenly`: in every `nn.Sequential` and
    `nn.ModuleList`, nested ones too, whose children are all of one class, or convolution and activation in turn
    (SRVGGNetCompact, where the first convolution stays first and the last one last).

    Raises:
        InheritanceError: The student has more blocks, or other layers.
    """
    renamed: dict[str, str | None] = {}
    _match(student, teacher, '', '', renamed)
    return Cut(renamed=renamed)


def _match(student: nn.Module, teacher: nn.Module, path: str, teacher_path: str,
           renamed: dict[str, str | None]) -> None:
    """Add the children of two modules that stand for each other; those inside first, as `Cut` looks them up."""
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
    """The teacher's numbers in a chain to the student's, None for those that it does not have."""
    kinds = [type(child) for child in teacher]
    if len(student) == len(teacher):
        head, unit, tail = len(teacher), 1, 0
    elif len(set(kinds)) == 1:
        head, unit, tail = 0, 1, 0
    elif len(kinds) % 2 and len(student) % 2 and len(set(kinds[::2])) == len(set(kinds[1::2])) == 1:
        head, unit, tail = 2, 2, 1
    else:
        raise InheritanceError(f'student.init: teacher: {path} has {len(student)} layers in the student and '
                               f'{len(teacher)} in the teacher, and they are no row of blocks that could be left out; '
                               'use student.init: random')
    few, many = ((len(chain) - head - tail) // unit for chain in (student, teacher))
    if few > many:
        raise InheritanceError(f'student.init: teacher: the student has {few} blocks in {path}, the teacher only '
                               f'{many}; use a shallower student, or student.init: random')
    names: dict[str, str | None] = {str(index): None for index in range(len(teacher))}
    kept = [*range(head), *(head + unit * block + part for block in evenly(few, many) for part in range(unit)),
            *range(len(teacher) - tail, len(teacher))]
    names.update((str(theirs), str(own)) for own, theirs in enumerate(kept))
    return names
