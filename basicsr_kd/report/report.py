"""Puts a report together: what it shows, what it says, and what it has to leave out."""
from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from basicsr_kd.bench.schema import Bench
from basicsr_kd.errors import ReportError
from basicsr_kd.report.benches import (
    Timed,
    bench_notes,
    is_bench,
    read_benches,
    runtimes_panels,
    runtimes_table,
)
from basicsr_kd.report.cells import Table
from basicsr_kd.report.crops import find_comparisons
from basicsr_kd.report.evaluations import Runs, read_runs
from basicsr_kd.report.figure import Comparison
from basicsr_kd.report.gallery import Photo, find_photos
from basicsr_kd.report.methods import MethodGroup, group_methods
from basicsr_kd.report.notes import cost_notes, missing_controls, paper_notes, quality_notes
from basicsr_kd.report.pareto import Panel, pareto_panels
from basicsr_kd.report.pictures import find_pictures, images_told
from basicsr_kd.report.tables import cost_table, overview_table, parts_table, table_1, table_2
from basicsr_kd.utils.metric_names import METRICS

_NO_TABLE_1 = ('No table1: it takes students of one width from teachers pruned by different ratios, tagged with role, '
               'features and pruned.')


@dataclass(frozen=True)
class Report:
    """Everything that the pages show."""

    runs: Runs
    methods: Sequence[MethodGroup]
    tables: Sequence[Table] = ()
    panels: Sequence[Panel] = ()
    bench: Bench | None = None
    timed: Sequence[Timed] = ()
    """Methods in runtimes, from benchmarks."""
    runtimes: Sequence[Panel] = ()
    """Plots of quality against time in the runtime."""
    comparisons: Sequence[Comparison] = ()
    photos: Sequence[Photo] = ()
    """Whole photos for the reader to compare."""
    left_out: Sequence[str] = field(default_factory=list)
    """A sentence for each thing that is left out, with the reason."""

    def notes(self, table: Table) -> list[str]:
        """What a reader of this table must know."""
        if table.name == 'runtimes':
            return [*quality_notes(self.runs, self.methods), *self._bench_notes()]
        costs = cost_notes(self.runs, self.methods)
        return costs if table.name == 'cost' else [*quality_notes(self.runs, self.methods), *costs,
                                                   *paper_notes(self.runs, self.methods, [table])]

    def all_notes(self) -> list[str]:
        """What a reader of the whole report must know."""
        return [*quality_notes(self.runs, self.methods), *cost_notes(self.runs, self.methods),
                *self._bench_notes(), *paper_notes(self.runs, self.methods, self.tables),
                *missing_controls(self.runs, self.methods), *self.runs.notes, *self.left_out]

    def _bench_notes(self) -> list[str]:
        return bench_notes(self.bench, self.timed) if self.bench and self.timed else []

    def subject(self) -> str:
        """What the report is about, in one sentence."""
        return f'{len(self.methods)} methods on {", ".join(map(str, self.runs.sets))}.'


def build_report(paths: Sequence[Path], about: Path | None = None, images: Path | None = None,
                 progress: bool = False) -> Report:
    """Read evaluations, and the pictures that belong to them.

    Args:
        paths: Files of `basicsr-kd evaluate --json`, and of `basicsr-kd bench --json`.
        about: A YAML file with tags by method name; see `read_runs`.
        images: The folder of `basicsr-kd evaluate --save-images`; without it there are no pictures.
        progress: Whether to show a bar.

    Raises:
        ReportError: Something is missing or does not fit, a picture included; see `read_runs`, `group_methods` and
            `find_pictures`.
    """
    benches = [path for path in paths if is_bench(path)]
    if len(benches) == len(paths):
        raise ReportError(f'{benches[0]} is a benchmark, which has no quality. Expected an evaluation beside it, as '
                          '`basicsr-kd evaluate --json FILE` writes.')
    runs = read_runs([path for path in paths if path not in benches], about)
    methods = group_methods(runs.methods)
    bench, timed, untimed = read_benches(benches, methods)
    first, second = table_1(runs, methods), table_2(runs, methods)
    cost, parts = cost_table(methods), parts_table(runs, methods)
    panels = pareto_panels(runs, methods, [one.method.label for one in timed])
    comparisons, photos, left_out = _pictures(images, runs, methods, progress) if images else ([], [], [
        'No pictures: say --images with the folder of `basicsr-kd evaluate --save-images`.'])
    left_out += [] if first or runs.clips or runs.photos else [_NO_TABLE_1]
    left_out += [] if second else ['No table2: no quality was measured.']
    left_out += [] if cost else ['No table of costs: nothing was counted or timed.']
    *others, last = (metric.title for metric in METRICS.values() if metric.in_plots)
    left_out += [] if panels else ['No Pareto plot: it takes parameters or seconds, and '
                                   f'{", ".join(others)} or {last}, of two methods on all sets.']
    runtimes = runtimes_table(runs, timed)
    tables = [table for table in (overview_table(runs, methods), cost, runtimes, parts, first, second) if table]
    return Report(runs, methods, tables, panels, bench, timed, runtimes_panels(runs, timed), comparisons, photos,
                  [*left_out, *untimed])


def _pictures(folder: Path, runs: Runs, methods: Sequence[MethodGroup],
              progress: bool) -> tuple[list[Comparison], list[Photo], list[str]]:
    pictures, missing = find_pictures(folder, runs, methods)
    with images_told():
        return find_comparisons(pictures, progress), find_photos(pictures), missing
