"""A table of a report in HTML: it fits a desktop screen, and holds the values that it can be sorted by."""
from __future__ import annotations

import re
from html import escape

from basicsr_kd.report.cells import Cell, Table

_BREAK = re.compile('(?<=[_/-])')  # a long name may break after these characters
_ROOM = 1140  # CSS pixels for a table on a screen of 1,200
_CHARACTER, _PADDING = 7.8, 13  # CSS pixels at page.css's font size of tables, in bold
_FIRST = 128  # CSS pixels: the least width of the first column


def html_table(table: Table) -> str:
    """The table in HTML; if it is too wide for a desktop it becomes several, which all begin with the same columns."""
    return '\n'.join(map(_part, _parts(table)))


def broken(name: str) -> str:
    """A name with possible line breaks after the characters that join its words."""
    return _BREAK.sub('<wbr>', escape(name))


def _parts(table: Table) -> list[Table]:
    # what names a row: up to the first column that differs within a block
    lead = next(index for index in range(len(table.header)) if index not in table.once) + 1
    widths = [_width(table, index) for index in range(len(table.header))]
    taken = max(_FIRST, widths[0]) + sum(widths[1:lead])
    parts: list[list[int]] = [[]]
    room = _ROOM - taken
    for index in range(lead, len(table.header)):
        if parts[-1] and room < widths[index]:
            parts.append([])
            room = _ROOM - taken
        parts[-1].append(index)
        room -= widths[index]
    return [_columns(table, [*range(lead), *part]) for part in parts]


def _width(table: Table, index: int) -> float:
    """CSS pixels that a column needs: the width of its longest piece that does not break."""
    texts = [piece for word in table.header[index].split() for piece in _BREAK.split(word)]
    for block in table.blocks:
        for row in block:
            texts += _figures(row[index]) if row[index].figures else [
                piece for word in row[index].text.split() for piece in _BREAK.split(word)]
    return _CHARACTER * max(map(len, texts)) + _PADDING


def _columns(table: Table, shown: list[int]) -> Table:
    return Table(table.name, table.title, tuple(table.header[index] for index in shown),
                 tuple(tuple(tuple(row[index] for index in shown) for row in block) for block in table.blocks),
                 frozenset(place for place, index in enumerate(shown) if index in table.once))


def _part(table: Table) -> str:
    def row(cells: list[str]) -> str:
        return f'<tr>{"".join(cells)}</tr>\n'
    columns = zip(*(cells for block in table.blocks for cells in block), strict=True)
    kinds = ['' if any(cell.figures for cell in column) else ' class="text"' for column in columns]
    header = row([f'<th scope="col"{kind}>{broken(title)}</th>'
                  for kind, title in zip(kinds, table.header, strict=True)])
    several = any(len(block) > 1 for block in table.blocks)
    bodies = []
    for block in table.blocks:
        rows = []
        for line, cells in enumerate(block):
            shown = []
            for index, cell in enumerate(cells):
                if index in table.once and line:
                    continue  # the first row's cell spans all rows
                span = f' rowspan="{len(block)}"' if index in table.once and len(block) > 1 else ''
                tag, scope = ('td', '') if index else ('th', ' scope="row"')
                shown.append(f'<{tag}{scope}{kinds[index]}{span}{_value(cell)}>{_text(cell)}</{tag}>')
            rows.append(row(shown))
        bodies.append(''.join(rows))
    if several:
        content = ''.join(f'<tbody>\n{body}</tbody>\n' for body in bodies)
    else:
        content = f'<tbody>\n{"".join(bodies)}</tbody>\n'
    # blocks of several rows can be sorted only where each is one method's, which a column of `once` shows
    sortable = ' class="sortable"' if len(bodies) > 1 and (table.once or not several) else ''
    return f'<div class="scroll"><table{sortable}>\n<thead>\n{header}</thead>\n{content}</table></div>'


def _value(cell: Cell) -> str:
    """The value that a cell is sorted by."""
    value = cell.figures.get('')
    return '' if value is None else f' data-value="{"Infinity" if value == float("inf") else repr(float(value))}"'


def _text(cell: Cell) -> str:
    if not cell.figures:
        return broken(cell.text)
    return ' '.join(f'<span class="figure">{escape(piece)}</span>' for piece in _figures(cell))


def _figures(cell: Cell) -> list[str]:
    """A figure, its spread and what it is compared with, each of which stays on one line."""
    return re.split(r' (?=[\[(±])', cell.text)
