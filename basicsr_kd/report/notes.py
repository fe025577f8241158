"""What a reader must know of the figures: one sentence or two each."""
from __future__ import annotations

from collections.abc import Sequence

from basicsr_kd.report.cells import Table
from basicsr_kd.report.methods import Method, measured
from basicsr_kd.report.paper import NOT_SHOWN, SHOWN
from basicsr_kd.report.runs import Runs

_CONTROLS = {'bicubic': 'bicubic', 'teacher': 'the unpruned teacher', 'student_l1': 'a student trained with L1 alone',
             'student_without_distillation': 'a student trained without distillation'}


def quality_notes(runs: Runs, methods: Sequence[Method]) -> list[str]:
    """How to read figures of quality."""
    found = [runs.protocol.text]
    if len(runs.sets) > 1:
        found.append('Averages are plain means over the sets, whatever their numbers of images.')
    if any(len(method.runs) > 1 for method in methods):
        found.append('Mean ± standard deviation over seeds.')
    metrics = measured(methods)
    if 'kid' in metrics:
        found.append('KID of a single seed has its 95 % interval in brackets; what is not above that of two halves of '
                     'the ground truth tells nothing.')
    if 'fid' in metrics:
        found.append('FID is given because others give it; it ranks nothing here.')
    return [*found, 'Rows are in a fixed order (bicubic, teachers, students by width), not ranked.']


def cost_notes(runs: Runs, methods: Sequence[Method]) -> list[str]:
    """How to read sizes and seconds."""
    found = []
    counted = [run.complexity for method in methods for run in method.runs if run.complexity]
    if counted:
        height, width = counted[0].lr_size
        found.append(f'MACs and activations: one LR image of {width}x{height}, counted by {counted[0].counter}.')
    if runs.timing:
        found.append(f'Seconds: measured, median with quartiles in brackets; {runs.timing}.')
    if sum(method.about.role == 'teacher' for method in methods) == 1:
        found.append("Shares in parentheses are those of the unpruned teacher's.")
    return found


def paper_notes(tables: Sequence[Table]) -> list[str]:
    """Whether the paper's figures stand beside ours in these tables, and what that takes."""
    shown = any(' paper' in cell.figures for table in tables for block in table.blocks for row in block for cell in row)
    return [SHOWN if shown else NOT_SHOWN]


def missing_controls(methods: Sequence[Method]) -> list[str]:
    """The comparisons that a student's figures need and that were not given."""
    roles = {method.about.role for method in methods}
    missing = [words for role, words in _CONTROLS.items() if role not in roles]
    if 'student' not in roles or not missing:
        return []
    return [f'Not among the runs: {", ".join(missing)}. Without them the figures do not tell what distillation is '
            'worth.']
