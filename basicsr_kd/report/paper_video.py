"""The figures of the paper on pruning TecoGAN, how it seems to have counted, and where they compare with ours."""
from __future__ import annotations

from collections.abc import Sequence

from basicsr_kd.report.evaluations import Runs
from basicsr_kd.report.methods import MethodGroup

SETS = {'Vid4': 4, 'ToS3': 3}
"""The paper's test sets, and how many clips they have."""
PARAMETERS = {10: 2_589_093, 5: 2_219_813}
"""Parameters of TecoGAN's whole generator by residual blocks: 10 before pruning, 5 in the paper's model #3."""
CHANGES = {'psnr': -1.0, 'lpips': 0.0119, 'tof': 0.0757}
"""Model #3 minus the unpruned model. No more of the paper's tables is available, nor is it known for which set."""

CLAIM = ('The paper on pruning TecoGAN says that its model #3 has 48 % fewer parameters, and not how they were '
         'counted. That fits 5 of 10 residual blocks with SRNet counted alone, without its transposed convolutions '
         '(769,731 to 400,451, -48.0 %). Of the whole generator, FNet and all, 5 of 10 blocks are -14.3 % parameters '
         '(2,589,093 to 2,219,813) and -33.5 % operations.')
SHOWN = ("After 'paper': by how much the paper's model #3 differs from its unpruned one, on a set that is not known; "
         'both were trained on REDS for 300,000 iterations.')
NOT_SHOWN = ("The paper's changes of quality compare with none of these. That takes the unpruned generator of 10 "
             'blocks tagged as teacher, one pruned to 5 and tagged as pruned_teacher, both whole otherwise, Vid4 (4 '
             "clips) or ToS3 (3), x4, TecoGAN's official protocol.")


def change_beside(runs: Runs, method: MethodGroup, teacher: MethodGroup, metric: str, name: str) -> float | None:
    """By how much the paper's pruned model differs from its unpruned one; None if `method` and `teacher` are others."""
    clips = next(len(images.clips) for images in runs.sets if images.name == name)
    models = [(method, 5), (teacher, 10)]
    comparable = (method.about.role == 'pruned_teacher' and runs.protocol.clips == 'official'
                  and runs.protocol.scale == 4 and SETS.get(name) == clips
                  and all(one.counts('params')[:1] == [PARAMETERS[blocks]] for one, blocks in models))
    return CHANGES.get(metric) if comparable else None


def lost_blocks(methods: Sequence[MethodGroup]) -> bool:
    """Whether methods differ in their number of residual blocks, which is what the paper prunes."""
    return len({method.about.blocks for method in methods} - {None}) > 1
