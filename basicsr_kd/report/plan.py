"""A plan as people read it: a table, and a picture of likeness against time."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from matplotlib.figure import Figure

from basicsr_kd.utils.metric_names import METRICS
from basicsr_kd.utils.text import markdown_table


def plan_table(found: Sequence[Mapping[str, Any]], front: Sequence[str]) -> str:
    """A table with a line for each way of pruning; the result nearest to the original comes first.

    Args:
        found: What was measured for each way: the fields of `pruning.planning.planner.Found`.
        front: Names of the ways such that no other is both faster and nearer to the original.
    """
    scores = [score for score in ('psnr', 'jod', 'texture') if any(score in one['scores'] for one in found)]
    rows = [[one['name'], f'{100 * one["params"]:.1f} %', f'{100 * one["macs"]:.1f} %', f'{100 * one["time"]:.1f} %',
             *(f'{one["scores"][score]:.{METRICS[score].decimals}f}' if score in one['scores'] else '-'
               for score in scores), 'yes' if one['name'] in front else '', 'all' if one['plain'] else 'this plugin']
            for one in found]
    titles = [f'{METRICS[score].column} {METRICS[score].arrow}' for score in scores]
    return markdown_table(['way', 'parameters', 'MACs', 'time', *titles, 'front', 'opens in'], rows)


def plan_plot(path: Path, found: Sequence[Mapping[str, Any]], front: Sequence[str], title: str) -> None:
    """Write a picture: PSNR against the original's output (vertical) over the share of the time (horizontal).

    Args:
        path: The file to write, .png, .svg or .pdf; its folder exists.
        found: See `plan_table`.
        front: See `plan_table`.
        title: What was planned.
    """
    figure = Figure(figsize=(8, 5), dpi=120, layout='constrained')
    axes = figure.add_subplot()
    times = [100 * one['time'] for one in found]
    middle = (min(times) + max(times)) / 2
    for one in found:
        at = 100 * one['time'], one['scores']['psnr']
        axes.plot(*at, 'o', color='#3b75af' if one['name'] in front else '#bbbbbb', markersize=8)
        left = at[0] > middle  # where a name on the right would leave the picture
        axes.annotate(one['name'], at, xytext=(-7 if left else 7, 4), textcoords='offset points', fontsize=8,
                      horizontalalignment='right' if left else 'left')
    ahead = sorted((100 * one['time'], one['scores']['psnr']) for one in found if one['name'] in front)
    axes.plot(*zip(*ahead, strict=True), color='#3b75af', linewidth=1)
    axes.margins(0.15, 0.15)
    axes.set_xlabel("time, % of the original's", fontsize=9)
    axes.set_ylabel("likeness: PSNR to the original's output, dB", fontsize=9)
    axes.set_title(title, fontsize=10, loc='left')
    axes.spines[['top', 'right']].set_visible(False)
    axes.grid(color='#eeeeee')
    axes.set_axisbelow(True)
    figure.savefig(path)
