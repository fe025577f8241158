"""Tables before they are written, and their cells: as people read them, and as figures for a spreadsheet."""
from __future__ import annotations

import csv
import io
import math
import re
import statistics
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from basicsr_kd.utils.text import markdown_table

_LATEX = {'\\': r'\textbackslash{}', '&': r'\&', '%': r'\%', '$': r'\$', '#': r'\#', '_': r'\_', '{': r'\{',
          '}': r'\}', '~': r'\textasciitilde{}', '^': r'\textasciicircum{}', '±': r'$\pm$', '∞': r'$\infty$',
          '↑': r'$\uparrow$', '↓': r'$\downarrow$', '<': r'\textless{}', '>': r'\textgreater{}', '|': r'\textbar{}'}


@dataclass(frozen=True)
class Cell:
    """A cell of a table: brackets hold a spread or an interval, parentheses what the figure is compared with."""

    text: str
    figures: Mapping[str, float] = field(default_factory=dict)
    """Figures for a spreadsheet, by the text that is added to the column's title; empty for plain text."""


NOTHING = Cell('-')


@dataclass(frozen=True)
class Table:
    """A table that is written as Markdown, LaTeX, CSV and HTML."""

    name: str
    """The name of its files."""
    title: str
    header: tuple[str, ...]
    blocks: tuple[tuple[tuple[Cell, ...], ...], ...]
    """Rows that belong together."""
    once: frozenset[int] = frozenset()
    """Columns that are the same in all rows of a block, and are shown in the first."""


def table(name: str, title: str, header: Sequence[str], blocks: Sequence[Sequence[Sequence[Cell]]],
          once: Collection[str] = ()) -> Table:
    """Put a table together, without the columns that are empty.

    Args:
        once: Titles of columns that are the same in all rows of a block.
    """
    rows = [row for rows in blocks for row in rows]
    shown = [index for index in range(len(header)) if any(row[index] != NOTHING for row in rows)]
    return Table(name, title, tuple(header[index] for index in shown),
                 tuple(tuple(tuple(row[index] for index in shown) for row in rows) for rows in blocks),
                 frozenset(place for place, index in enumerate(shown) if header[index] in once))


def score(values: Sequence[float], decimals: int, paper: float | None = None,
          interval: tuple[float, float] | None = None) -> Cell:
    """`mean ± sd` over seeds, or for a single seed the value with its interval; the paper's figure in parentheses."""
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
    """A count in a unit such as 1e9, as the mean over seeds, with its share of `whole`."""
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
    """A figure with so many decimals; equal images have an infinite PSNR."""
    return '∞' if value == math.inf else f'{value:.{decimals}f}'


def _share(value: float, whole: float | None) -> Cell:
    return Cell(f' ({100 * value / whole:.0f} %)', {' share': value / whole}) if whole else Cell('')


def rows_of(table: Table) -> Iterator[tuple[bool, list[str]]]:
    """For each row, whether it starts a block, and its texts; the columns of `once` only in a block's first row."""
    for block in table.blocks:
        for index, row in enumerate(block):
            yield not index, ['' if index and column in table.once else cell.text for column, cell in enumerate(row)]


def to_markdown(table: Table) -> str:
    """The table alone, aligned so that it also reads as plain text."""
    def escape(text: str) -> str:
        return text.replace('|', '\\|').replace('<', '&lt;')
    return markdown_table([escape(title) for title in table.header],
                          [[escape(text) for text in row] for _, row in rows_of(table)])


def to_latex(table: Table, notes: str) -> str:
    """A booktabs table with its caption; needs the package booktabs and nothing else.

    Args:
        notes: Plain text under the table.
    """
    lines = ['% needs \\usepackage{booktabs}', '\\begin{table}', '\\centering', f'\\caption{{{_latex(table.title)}}}',
             f'\\label{{tab:{table.name}}}', f'\\begin{{tabular}}{{l{"r" * (len(table.header) - 1)}}}', '\\toprule',
             _latex_row(list(table.header)), '\\midrule']
    several = any(len(block) > 1 for block in table.blocks)
    for index, (starts, row) in enumerate(rows_of(table)):
        lines += ['\\midrule'] if several and starts and index else []
        lines.append(_latex_row(row))
    return '\n'.join([*lines, '\\bottomrule', '\\end{tabular}', '', f'\\smallskip\\footnotesize {_latex(notes)}',
                      '\\end{table}', ''])


def to_csv(table: Table) -> str:
    """One header row, and separate columns for a figure, its spread, the paper's figure and so on."""
    columns = list(zip(*(row for block in table.blocks for row in block), strict=True))
    header, content = [], []
    for title, cells in zip(table.header, columns, strict=True):
        title = re.sub(' [↑↓]$', '', title)
        suffixes = dict.fromkeys(suffix for cell in cells for suffix in cell.figures)
        for suffix in suffixes or ['']:
            header.append(title + suffix)
            content.append([_csv(cell, suffix) for cell in cells])
    text = io.StringIO()
    csv.writer(text, lineterminator='\n').writerows([header, *zip(*content, strict=True)])
    return text.getvalue()


def _latex(text: str) -> str:
    return ''.join(_LATEX.get(character, character) for character in text)


def _latex_row(row: list[str]) -> str:
    # braces: a row that begins with [ would be read as an argument of the \\ before it
    return ' & '.join(f'{{{_latex(text)}}}' if text.startswith('[') else _latex(text) for text in row) + r' \\'


def _csv(cell: Cell, suffix: str) -> str | float:
    if cell == NOTHING:
        return ''
    if not cell.figures:
        return re.sub(' [↑↓]$', '', cell.text)
    value = cell.figures.get(suffix)
    if value is None:
        return ''
    return int(value) if float(value).is_integer() else value
