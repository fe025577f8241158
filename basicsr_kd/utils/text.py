"""Words for people: the closest name, some of many names, a Markdown table. Imports neither torch nor BasicSR."""
from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence

_MOST_NAMES = 40  # most names that an error lists


def closest(name: str, known: Iterable[str]) -> str:
    """`did you mean …?` for a name close to a known one in any case, else the known names, as many as can be read."""
    known = sorted(known)
    names = {one.lower(): one for one in known}
    close = difflib.get_close_matches(name.lower(), names, n=1, cutoff=0.6)
    return f'did you mean {names[close[0]]!r}?' if close else f'possible: {some(known, _MOST_NAMES)}'


def some(names: Iterable[str], most: int = 3) -> str:
    """The first names for a sentence, `a, b, c and 4 more`; empty for no names."""
    names = list(names)
    return ', '.join(names[:most]) + (f' and {len(names) - most} more' if len(names) > most else '')


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out text cells as an aligned Markdown table; the first column to the left, figures to the right.

    Raises:
        ValueError: A row has another number of cells than the header.

    Example:
        >>> print(markdown_table(['method', 'PSNR'], [['bicubic', '28.43'], ['student', '29.1']]))
        | method  |  PSNR |
        | ------- | ----: |
        | bicubic | 28.43 |
        | student |  29.1 |
    """
    for row in rows:
        if len(row) != len(header):
            raise ValueError(f'Expected {len(header)} cells a row, as in the header {list(header)}, got {list(row)}.')
    # three characters are the least that a Markdown rule may have
    widths = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]
    rule = ['-' * width if i == 0 else '-' * (width - 1) + ':' for i, width in enumerate(widths)]
    lines = [header, rule, *rows]
    return '\n'.join('| ' + ' | '.join(cell.ljust(width) if i == 0 else cell.rjust(width)
                                       for i, (cell, width) in enumerate(zip(line, widths, strict=True))) + ' |'
                     for line in lines)
