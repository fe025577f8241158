"""The methods of a report: seeds of one method together, in an order that no figure decides."""
from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import get_args

from basicsr_kd.errors import ReportError
from basicsr_kd.evaluation.schema import About, MeasuredMethod, Role
from basicsr_kd.utils.measured import Kid, Speed
from basicsr_kd.utils.metric_names import METRICS, SET_METRICS

# within a group: otherwise its mean would mix different methods
_MUST_AGREE = ('role', 'pruned', 'features', 'blocks', 'iterations')
_ROLES: tuple[str | None, ...] = get_args(Role)


@dataclass(frozen=True)
class MethodGroup:
    """One method with all its seeds."""

    label: str
    about: About
    runs: tuple[MeasuredMethod, ...]

    def counts(self, name: str) -> list[float]:
        """A field of `Complexity`, one value for each seed that was counted."""
        found = [getattr(run.complexity, name) for run in self.runs if run.complexity]
        return [value for value in found if value is not None]

    @property
    def role(self) -> str:
        """The method's role in words; empty where it has no tag."""
        about = self.about
        pruned = 'pruned teacher' if about.pruned is None else f'teacher pruned by {about.pruned:g}'
        student = {None: 'student', 0.0: 'student of unpruned teacher'}.get(about.pruned, f'student of {pruned}')
        if about.blocks is not None and about.pruned is None:
            blocks = f'{about.blocks} block{"s" if about.blocks != 1 else ""}'
            pruned, student = f'teacher pruned to {blocks}', f'student of {blocks}'
        return {'bicubic': 'bicubic', 'teacher': 'unpruned teacher', 'pruned_teacher': pruned, 'student': student,
                'student_without_distillation': 'without distillation', 'student_l1': 'L1 alone', None: ''}[about.role]

    def part_counts(self, part: str, name: str) -> list[float]:
        """A field of `Part`, one value for each seed that was counted."""
        found = [getattr(run.complexity.parts[part], name) for run in self.runs
                 if run.complexity and part in run.complexity.parts]
        return [value for value in found if value is not None]

    def values(self, name: str, metric: str) -> list[float]:
        """The method's figures on one set, one for each seed that was measured; for clips the means over frames."""
        return [value for run in self.runs if (value := _value(run, name, metric)) is not None]

    def clip_values(self, name: str, metric: str) -> list[float]:
        """The means over the clips of one set, which all weigh the same; one mean for each seed that was measured."""
        found = [run.scores[name].clips.get(metric, {}).values() for run in self.runs if name in run.scores]
        return [METRICS[metric].shown(math.fsum(map(float, values)) / len(values))
                for values in found if values]

    def averages(self, names: Sequence[str], metric: str) -> list[float]:
        """The plain means over the sets, one for each seed that was measured on all of them."""
        found = [[value for name in names if (value := _value(run, name, metric)) is not None] for run in self.runs]
        return [math.fsum(values) / len(values) for values in found if len(values) == len(names)]

    def kid(self, name: str) -> Kid | None:
        """KID with its interval and floor; None if there are several seeds."""
        found = [run.scores[name].kid for run in self.runs if name in run.scores]
        return found[0] if len(found) == 1 else None

    def samples(self, name: str) -> int:
        """The smallest number of images from which an FID on this set was computed."""
        found = [run.scores[name].fid for run in self.runs if name in run.scores]
        return min((fid.samples for fid in found if fid), default=0)

    def speed(self, number_format: str) -> Speed | None:
        """Seconds; for several seeds the mean of each quartile."""
        found = [run.speed[number_format] for run in self.runs if number_format in run.speed]
        if not found:
            return None
        low, middle, high = (math.fsum(values) / len(found)
                             for values in zip(*(speed.seconds for speed in found), strict=True))
        peaks = [speed.peak_bytes for speed in found if speed.peak_bytes is not None]
        return Speed(seconds=(low, middle, high), lr_size=found[0].lr_size, peak_bytes=max(peaks, default=None))


def group_methods(runs: Sequence[MeasuredMethod]) -> list[MethodGroup]:
    """Put seeds together, in this order: bicubic, teachers, students by their width, all others as they come.

    Of methods with the same place, the one with more residual blocks comes first.

    Raises:
        ReportError: The members of a group are no seeds of one method, or two have the same seed.
    """
    groups: dict[str, list[MeasuredMethod]] = {}
    for run in runs:
        groups.setdefault(run.about.group or run.name, []).append(run)
    for label, members in groups.items():
        for name in _MUST_AGREE:
            for run in members:
                one, other = getattr(members[0].about, name), getattr(run.about, name)
                if one != other:
                    raise ReportError(f'the group {label} is no one method: {name} is {one} of {members[0].name} and '
                                      f'{other} of {run.name}. Give them the same tags, or different groups.')
        seeds = [run.about.seed for run in members]
        for run in members:
            if run.about.seed is not None and seeds.count(run.about.seed) > 1:
                raise ReportError(f'the group {label} has the seed {run.about.seed} more than once '
                                  f'({", ".join(other.name for other in members)}). Every seed counts once.')
    methods = [MethodGroup(label, members[0].about, tuple(sorted(members, key=lambda run: run.about.seed or 0)))
               for label, members in groups.items()]
    return sorted(methods, key=_place)


def measured(methods: Sequence[MethodGroup]) -> list[str]:
    """The metrics that at least one method has."""
    return [metric for metric in METRICS if any(_value(run, name, metric) is not None for method in methods
                                                for run in method.runs for name in run.scores)]


def number_formats(methods: Sequence[MethodGroup]) -> list[str]:
    """The number formats that something was timed in, fp32 first."""
    found = {number_format for method in methods for run in method.runs for number_format in run.speed}
    return sorted(found, key=lambda number_format: (number_format != 'fp32', number_format))


def _value(run: MeasuredMethod, name: str, metric: str) -> float | None:
    scores = run.scores.get(name)
    if scores is None:
        return None
    if metric in SET_METRICS:
        found = getattr(scores, metric)
        return METRICS[metric].shown(found.value) if found else None
    mean = scores.mean.get(metric)
    return None if mean is None else METRICS[metric].shown(float(mean))


def _place(method: MethodGroup) -> tuple[int, int, int, float, int]:
    about = method.about
    kind, fewer_blocks = _ROLES.index(about.role), -(about.blocks or 0)
    if about.role and about.role.startswith('student'):  # by width, then controls before distilled ones
        return _ROLES.index('student'), about.features or 0, -kind, about.pruned or 0, fewer_blocks
    return kind, 0, 0, about.pruned or 0, fewer_blocks
