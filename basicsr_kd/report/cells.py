"""A table before it is written, and its cells: as people read them, and as figures for a spreadsheet."""
from __future__ import annotations

import math
import statistics
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Cell:
    """Brackets hold a spread or an interval, parentheses what the figure is compared with."""

    text: str
    figures: Mapping[str, float] = field(default_factory=dict)
    """For a spreadsheet, by what is added to the column's title; empty for mere text."""


NOTHING = Cell('-')


@dataclass(frozen=True)
class Table:
    """What is written as Markdown, LaTeX, CSV and HTML."""

    name: str
    """Of its files."""
    title: str
    header: tuple[str, ...]
    blocks: tuple[tuple[tuple[Cell, ...], ...], ...]
    """Rows that belong together."""
    once: frozenset[int] = frozenset()
    """Columns that are the same in all rows of a block, and are shown in the first."""


def table(name: str, title: str, header: Sequence[str], blocks: Sequence[Sequence[Sequence[Cell]]],
          once: Collection[str] = ()) -> Table:
    """Put a table together, without the columns in which nothing stands.

    Args:
        once: titles of columns that are the same in all rows of a block.
    """
    rows = [row for rows in blocks for row in rows]
    shown = [index for index in range(len(header)) if any(row[index] != NOTHING for row in rows)]
    return Table(name, title, tuple(header[index] for index in shown),
                 tuple(tuple(tuple(row[index] for index in shown) for row in rows) for rows in blocks),
                 frozenset(place for place, index in enumerate(shown) if header[index] in once))


def score(values: Sequence[float], decimals: int, paper: float | None = None,
          interval: tuple[float, float] | None = None) -> Cell:
    """`mean ± sd` over seeds, of a single one the value with its interval; the paper's figure in parentheses."""
    if not values:
        return NOTHING
    mean = math.inf if math.inf in values else statistics.fmean(values)
    text, figures = number(mean, decimals), {'': mean}
    if len(values) > 1 and math.isfinite(mean):
        figures[' sd'] = statistics.stdev(values)
        text += f' ± {figures[" sd"]:.{decimals}f}'
    if interval:
        figures |= {' low': interval[0], ' high': interval[1]}
        text += f' [{interval[0]:.{decimals}f}, {interval[1]:.{decimals}f}]'
    if paper is not None:
        figures[' paper'] = round(paper, 2)
        text += f' (paper {paper:.2f})'
    return Cell(text, figures)


def amount(values: Sequence[float], whole: float | None = None, unit: float = 1, decimals: int = 0) -> Cell:
    """A count in a unit such as 1e9, the mean over seeds, and its share of `whole`."""
    if not values:
        return NOTHING
    mean = statistics.fmean(values)
    share = _share(mean, whole)
    return Cell(f'{mean / unit:,.{decimals}f}{share.text}', {'': mean / unit, **share.figures})


def seconds(quartiles: tuple[float, float, float], whole: float | None = None) -> Cell:
    """The median, its quartiles in brackets, and its share of `whole`."""
    low, median, high = quartiles
    decimals = 4 if median < 0.1 else 3 if median < 1 else 2
    share = _share(median, whole)
    return Cell(f'{median:.{decimals}f} [{low:.{decimals}f}, {high:.{decimals}f}]{share.text}',
                {'': median, ' low': low, ' high': high, **share.figures})


def number(value: float, decimals: int) -> str:
    """With so many decimals; infinity is what equal images have."""
    return '∞' if value == math.inf else f'{value:.{decimals}f}'


def _share(value: float, whole: float | None) -> Cell:
    return Cell(f' ({100 * value / whole:.0f} %)', {' share': value / whole}) if whole else Cell('')
