"""Notes on what a reader must know about the figures, one or two sentences each."""
from __future__ import annotations

from collections.abc import Sequence

from basicsr_kd.report import paper, paper_video
from basicsr_kd.report.cells import Table
from basicsr_kd.report.evaluations import Runs
from basicsr_kd.report.methods import MethodGroup, measured

_CONTROLS = {'bicubic': 'bicubic', 'teacher': 'the unpruned teacher', 'student_l1': 'a student trained with L1 alone',
             'student_without_distillation': 'a student trained without distillation'}
_CONTROLS_OF_VIDEO = {'bicubic': 'bicubic', 'teacher': 'the unpruned teacher',
                      'pruned_teacher': 'the pruned teacher, fine-tuned without distillation'}


def quality_notes(runs: Runs, methods: Sequence[MethodGroup]) -> list[str]:
    """Notes on how to read figures of quality."""
    found = [runs.protocol.text]
    if len(runs.sets) > 1:
        found.append('Averages are plain means over the sets, whatever their numbers of images.')
    if any(len(method.runs) > 1 for method in methods):
        found.append('Mean ± standard deviation over seeds.')
    if runs.clips:
        found.append("A set's figure is the mean over all its frames (tOF and tLP: pairs of frames), that over clips "
                     "the mean of its clips' means.")
    metrics = measured(methods)
    if 'kid' in metrics:
        found.append('KID of a single seed has its 95 % interval in brackets; what is not above that of two halves of '
                     'the ground truth tells nothing.')
    if 'niqe' in metrics:
        found.append('NIQE knows no ground truth: it tells how far statistics of a result are from those of good '
                     'photos, and noise or false detail may please it. Look at the pictures.')
    if 'fid' in metrics:
        found.append('FID is given because others give it; it ranks nothing here.')
    order = 'students by width' if not runs.clips else 'students, from more residual blocks to fewer'
    return [*found, f'Rows are in a fixed order (bicubic, teachers, {order}), not ranked.']


def cost_notes(runs: Runs, methods: Sequence[MethodGroup]) -> list[str]:
    """Notes on how to read sizes and seconds."""
    found = []
    counted = [run.complexity for method in methods for run in method.runs if run.complexity]
    if counted:
        height, width = counted[0].lr_size
        found.append(f'MACs and activations: one LR image of {width}x{height}, counted by {counted[0].counter}.')
    if any(complexity.parts for complexity in counted):
        found.append('Networks with parts go from frame to frame: theirs are of one frame of a stream.')
    if runs.timing:
        found.append(f'Seconds: measured, median with quartiles in brackets; {runs.timing}.')
    if sum(method.about.role == 'teacher' for method in methods) == 1:
        changes = '; with a sign, changes against it' if any(complexity.parts for complexity in counted) else ''
        found.append(f"Shares in parentheses are those of the unpruned teacher's{changes}.")
    return found


def paper_notes(runs: Runs, methods: Sequence[MethodGroup], tables: Sequence[Table]) -> list[str]:
    """Notes on a paper's figures: whether they stand beside ours in these tables, what that takes, what they claim."""
    shown = any(' paper' in title for table in tables for block in table.blocks for row in block for cell in row
                for title in cell.figures)
    if runs.photos:
        return []
    if not runs.clips:
        return [paper.SHOWN if shown else paper.NOT_SHOWN]
    if not any(table.name == 'parts' for table in tables) or not paper_video.lost_blocks(methods):
        return []
    return [paper_video.CLAIM, paper_video.SHOWN if shown else paper_video.NOT_SHOWN]


def missing_controls(runs: Runs, methods: Sequence[MethodGroup]) -> list[str]:
    """Notes on comparisons that a student's figures need, but that are missing."""
    roles = {method.about.role for method in methods}
    controls = _CONTROLS_OF_VIDEO if runs.clips else _CONTROLS
    missing = [words for role, words in controls.items() if role not in roles]
    if 'student' not in roles or not missing:
        return []
    return [f'Not among the runs: {", ".join(missing)}. Without them the figures do not tell what distillation is '
            'worth.']
