"""Tables and pictures of an ablation from its results: table.md, curves.png, plane_<set>.png."""
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from basicsr_kd.report import markdown_table
from basicsr_kd.report.pareto import label_beside
from studies.ablation.evaluate import protocol
from studies.ablation.plan import Study, runs_of
from studies.ablation.results import Results, Row, image_mean, mean_sd, seed_values

COLUMNS = {'psnr_y': ('PSNR-Y', 2), 'psnr_rgb': ('PSNR-RGB', 2), 'ssim': ('SSIM', 4), 'niqe': ('NIQE', 2),
           'lpips': ('LPIPS', 4)}
"""Title and decimals by metric."""

_SHOWN = 2.0
"""How far below the lowest end of a panel's curves it shows them (dB): what is to be compared are the ends."""
_MARKS = 'os^Dv<>PX*'


def report(study: Study, options: Mapping[str, Mapping[str, Any]], results: Results) -> str:
    """Write table.md and the pictures; returns the tables. Runs of options that are no longer those are left out.

    Args:
        options: BasicSR's by arm, placeholders not filled in.
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    left_out = []
    for key, row in sorted(results.runs.items(), key=lambda item: item[1]['seed']):
        arm = row['arm']
        if arm in options and runs_of(study, arm, options[arm], [row['seed']])[0].digest == row['digest']:
            rows.setdefault(arm, []).append(row)
        else:
            left_out.append(key)
    if not rows:
        return f'No finished runs of these arms in {results.folder}.'
    everything = [row for group in rows.values() for row in group]
    sets = [name for name in results.sets if any(name in row['sets'] for row in everything)]
    metrics = measured(everything)
    text = (f'Mean ± standard deviation over n seeds. {protocol(metrics)}\n\n'
            + ablation_tables(study, results.references, rows, sets))
    if left_out:
        text += f'\n\nLeft out, since their options are others now: {", ".join(left_out)}.'
    (results.folder / 'table.md').write_text(f'{text}\n')
    curves_plot(results.folder / 'curves.png', study, rows)
    for name in sets:
        plane_plot(results.folder / f'plane_{name}.png', study, rows, results.references, name,
                   'lpips' if 'lpips' in metrics else 'niqe')
    return text


def ablation_tables(study: Study, references: Mapping[str, Row], rows: Mapping[str, Sequence[Row]],
                    sets: Sequence[str]) -> str:
    """Markdown: every group with what its arms are, then a table a set, with the gain over the group's first arm.

    Args:
        references: rows of bicubic and the teacher.
        rows: one a seed, by arm; arms that have none are left out.
    """
    parts = []
    for group, names in study.groups.items():
        arms = {name: rows[name] for name in names if rows.get(name)}
        if not arms:
            continue
        parts += [f'## {group}', _notes(study, arms, rows)]
        for name in sets:
            parts += [f'{group}, {name}:', _table(references, arms, name)]
    return '\n\n'.join(part for part in parts if part)


def measured(rows: Sequence[Row]) -> list[str]:
    """The metrics that some row has."""
    found = {metric for row in rows for scores in row['sets'].values() for metric in scores}
    return [metric for metric in COLUMNS if metric in found]


def cell(values: Sequence[float], decimals: int, sign: str = '') -> str:
    """`mean ± sd`; the mean alone of a single value, a dash of none; `sign='+'` gives gains theirs."""
    if not values:
        return '-'
    mean, sd = mean_sd(values)
    return f'{mean:{sign}.{decimals}f}' + ('' if sd is None else f' ± {sd:.{decimals}f}')


def gains(rows: Sequence[Row], baseline: Sequence[Row], name: str, metric: str = 'psnr_y') -> list[float]:
    """How much better than the baseline, seed by seed, so that what a seed does to both does not count."""
    before = {row['seed']: image_mean(row, name, metric) for row in baseline if name in row['sets']}
    after = {row['seed']: image_mean(row, name, metric) for row in rows if name in row['sets']}
    pairs = [(after[seed], before[seed]) for seed in after if seed in before]
    return [new - old for new, old in pairs if new is not None and old is not None]


def _table(references: Mapping[str, Row], arms: Mapping[str, Sequence[Row]], name: str) -> str:
    metrics = measured([row for rows in arms.values() for row in rows])
    baseline = next(iter(arms))
    lines = [[title, *(cell([value] if (value := image_mean(row, name, metric)) is not None else [],
                            COLUMNS[metric][1]) for metric in metrics), '-', '-']
             for title, row in references.items() if name in row['sets']]
    for arm, rows in arms.items():
        gain = gains(rows, arms[baseline], name) if arm != baseline else []
        lines.append([arm, *(cell(seed_values(rows, name, metric), COLUMNS[metric][1]) for metric in metrics),
                      cell(gain, 2, sign='+'), str(sum(name in row['sets'] for row in rows))])
    return markdown_table(['arm', *(COLUMNS[metric][0] for metric in metrics), f'PSNR-Y over {baseline}', 'n'], lines)


def _notes(study: Study, arms: Mapping[str, Sequence[Row]], everything: Mapping[str, Sequence[Row]]) -> str:
    """What each arm is; its iterations and parameters where they are not the usual ones."""
    usual = {key: Counter(row[key] for rows in everything.values() for row in rows).most_common(1)[0][0]
             for key in ('iterations', 'parameters')}
    lines = []
    for arm, rows in arms.items():
        unusual = [f'{rows[0][key]:,} {key}' for key, value in usual.items() if rows[0][key] != value]
        said: list[Any] = [study.arms[arm].note, *unusual]
        if any(said):
            lines.append(f'- `{arm}`: {"; ".join(filter(None, said))}')
    return '\n'.join(lines)


def curves_plot(path: Path, study: Study, rows: Mapping[str, Sequence[Row]]) -> None:
    """PSNR (Y) on the held-out photos over iterations, a panel a group: mean over seeds, band of a standard deviation.

    Args:
        rows: one a seed, by arm.
    """
    figure, panels = _panels(study, rows, 'PSNR-Y on the held-out photos over iterations; bands: ± 1 sd over seeds')
    for axes, arms in panels:
        ends = []
        for name, colour, _ in _styles(arms):
            curves = [row['curve'] for row in rows[name]]
            shared = sorted(set.intersection(*({at for at, _ in curve} for curve in curves)))
            values = np.array([[dict(map(tuple, curve))[at] for at in shared] for curve in curves])
            mean = values.mean(axis=0)
            axes.plot(shared, mean, color=colour, linewidth=1.5, marker='.')
            if len(values) > 1:
                sd = values.std(axis=0, ddof=1)
                axes.fill_between(shared, mean - sd, mean + sd, color=colour, alpha=0.15, linewidth=0)
            ends.append((name, colour, shared[-1], float(mean[-1])))
        axes.set_ylim(bottom=max(axes.get_ylim()[0], min(end for *_, end in ends) - _SHOWN))
        axes.set_xlabel('iterations')
        axes.set_ylabel('PSNR-Y (dB)')
        label_beside(axes, ends)
    figure.savefig(path)


def plane_plot(path: Path, study: Study, rows: Mapping[str, Sequence[Row]], references: Mapping[str, Row], name: str,
               metric: str) -> None:
    """PSNR (Y) against a perceptual metric on one set, a panel a group, a point an arm with standard deviations.

    Args:
        rows: one a seed, by arm.
        references: rows of bicubic and the teacher.
        metric: niqe or lpips; lower is better.
    """
    figure, panels = _panels(study, rows, f'{name}: PSNR-Y against {COLUMNS[metric][0]} (lower is better); '
                                          'bars: ± 1 sd over seeds')
    for axes, arms in panels:
        points = []
        for title, row in references.items():
            x, y = image_mean(row, name, metric), image_mean(row, name, 'psnr_y')
            if x is not None and y is not None:
                axes.plot(x, y, marker='+', color='black', markersize=9)
                points.append((title, 'black', x, y))
        for arm, colour, mark in _styles(arms):
            xs, ys = seed_values(rows[arm], name, metric), seed_values(rows[arm], name, 'psnr_y')
            if xs and ys:
                (x, x_sd), (y, y_sd) = mean_sd(xs), mean_sd(ys)
                axes.errorbar(x, y, xerr=x_sd, yerr=y_sd, color=colour, marker=mark, capsize=2, linewidth=1)
                points.append((arm, colour, x, y))
        axes.set_xlabel(COLUMNS[metric][0])
        axes.set_ylabel('PSNR-Y (dB)')
        label_beside(axes, points)
    figure.savefig(path)


def _panels(study: Study, rows: Mapping[str, Sequence[Row]], title: str) -> tuple[Figure, list[tuple[Axes, list[str]]]]:
    """A panel for each group that has results."""
    groups = {group: [name for name in names if rows.get(name)] for group, names in study.groups.items()}
    groups = {group: names for group, names in groups.items() if names}
    lines = math.ceil(len(groups) / 2)
    figure = Figure(figsize=(13, 0.6 + 4.4 * lines), dpi=110, layout='constrained')
    figure.suptitle(title, fontsize=11)
    panels = []
    for index, (group, names) in enumerate(groups.items(), start=1):
        axes = figure.add_subplot(lines, min(2, len(groups)), index)
        axes.set_title(group, fontsize=10, loc='left')
        axes.spines[['top', 'right']].set_visible(False)
        axes.grid(True, color='#e5e5e5')
        axes.set_axisbelow(True)
        axes.margins(0.08)
        panels.append((axes, names))
    return figure, panels


def _styles(arms: Sequence[str]):
    for index, arm in enumerate(arms):
        yield arm, colormaps['tab10'](index % 10), _MARKS[index % len(_MARKS)]
