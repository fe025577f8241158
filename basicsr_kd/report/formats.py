"""A table as Markdown, LaTeX and CSV."""
from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterator

from basicsr_kd.report.cells import NOTHING, Cell, Table
from basicsr_kd.report.table import markdown_table

_LATEX = {'\\': r'\textbackslash{}', '&': r'\&', '%': r'\%', '$': r'\$', '#': r'\#', '_': r'\_', '{': r'\{',
          '}': r'\}', '~': r'\textasciitilde{}', '^': r'\textasciicircum{}', '±': r'$\pm$', '∞': r'$\infty$',
          '↑': r'$\uparrow$', '↓': r'$\downarrow$', '<': r'\textless{}', '>': r'\textgreater{}', '|': r'\textbar{}'}


def rows_of(table: Table) -> Iterator[tuple[bool, list[str]]]:
    """Whether a block starts, and a row's texts, those that are the same in a block in its first row alone."""
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
        notes: plain text under the table.
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
    """One header row; a column each for a figure, its spread, the paper's and so on; nothing where nothing stands."""
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
