"""The runs that Tables 1 and 2 of the paper need: teachers pruned by 0.3, 0.5 and 0.8, and their students.

Every run is an options file of options/ with changes. Beside the paper's rows stand the two that show what distillation
adds: the student trained by the same losses without it, and the student trained by L1 alone.
"""
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml
from common.overrides import override, with_iterations
from common.trainings import Run

TABLE2 = 0.3
"""How far the teacher of Table 2 is pruned."""


@dataclass(frozen=True)
class Scale:
    """What differs between the paper's size and a demonstration."""

    prune: Mapping[float, str]
    """The options file that prunes, by ratio."""
    students: Mapping[int, str]
    """The options file that distils, by features; the first one is Table 1's."""
    iterations: tuple[int, int] | None = None
    """Of pruning and of distilling; None: those of the options files."""
    set_prune: Mapping[float, Mapping[str, Any]] = field(default_factory=dict)
    """Changes to the options of pruning, by ratio."""


SCALES = {
    'full': Scale({0.3: 'prune_esrgan_r30', 0.5: 'prune_esrgan_r50', 0.8: 'prune_esrgan_r80'},
                  {16: 'kd_esrgan_s16', 32: 'kd_esrgan_s32', 48: 'kd_esrgan_s48'}),
    # half of the paper's widths, since the demo's teacher has half of ESRGAN's; its growth channels are 79 % of it, so
    # its stream must go, too, for 0.8
    'demo': Scale(dict.fromkeys((0.3, 0.5, 0.8), 'demo_prune'), dict.fromkeys((8, 16, 24), 'demo_kd_s16'),
                  (100, 200), {0.8: {'layout': 'balanced', 'importance': 'taylor', 'reconstruct': True}}),
}


def teacher_file(scale: Scale) -> Path:
    """The unpruned teacher."""
    return Path(_read(scale.prune[TABLE2])['path']['pretrain_network_g'])


def plan(name: str, iterations: int | None = None) -> list[Run]:
    """The runs of a scale, each after those whose weights it needs.

    Args:
        name: of the scale.
        iterations: of every run; None: the scale's.
    """
    scale = SCALES[name]
    counts = (iterations, iterations) if iterations else scale.iterations or (None, None)

    def run(label: str, file: str, count: int | None, changes: Mapping[str, Any], **about: Any) -> Run:
        options = override(_read(file), {'name': f'paper_{name}_{label}', **changes})
        if count:
            options = with_iterations(options, count, 1)
        return Run(label, options, {**about, 'iterations': int(options['train']['total_iter']),
                                    'seed': options['manual_seed']})

    pruned = {ratio: run(f'teacher_{ratio}', file, counts[0],
                         {'prune': {'ratio': ratio, **scale.set_prune.get(ratio, {})}},
                         role='pruned_teacher', pruned=ratio) for ratio, file in scale.prune.items()}
    whole = _read(scale.prune[TABLE2])['path']
    teachers = {0.0: (str(teacher_file(scale)), whole.get('pretrain_network_d'))} | {
        ratio: (str(one.weights), str(one.weights.with_name('net_d_latest.pth'))) for ratio, one in pruned.items()}

    def student(features: int, ratio: float, role: str = 'student', label: str = '', **changes: Any) -> Run:
        path, path_d = teachers[ratio]
        return run(f'student_{features}_{label or f"from_{ratio}"}', scale.students[features], counts[1], {
            'network_g.num_feat': features, 'teacher.path': path, 'path.pretrain_network_d': path_d, **changes},
            role=role, features=features, pruned=ratio)

    first = min(scale.students)
    return [*pruned.values(), *(student(first, ratio) for ratio in teachers),
            *(student(features, TABLE2) for features in scale.students if features != first),
            student(first, TABLE2, 'student_without_distillation', 'without_distillation',
                    **{'train.distill_opt': None}),
            student(first, TABLE2, 'student_l1', 'l1', **{'train.distill_opt': None, 'train.gan_opt': None,
                                                          'network_d': None, 'path.pretrain_network_d': None})]


def _read(name: str) -> dict[str, Any]:
    return yaml.safe_load(Path(f'options/{name}.yml').read_text())
