"""One text table for screen, log and file: Markdown, with its columns aligned so that it also reads as plain text."""
from collections.abc import Sequence


def markdown_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Lay out text cells as an aligned Markdown table; the first column to the left, figures to the right.

    Raises:
        ValueError: a row has another number of cells than the header.

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
    # three characters are the least a Markdown rule may have
    widths = [max(3, *(len(row[i]) for row in [header, *rows])) for i in range(len(header))]
    rule = ['-' * width if i == 0 else '-' * (width - 1) + ':' for i, width in enumerate(widths)]
    lines = [header, rule, *rows]
    return '\n'.join('| ' + ' | '.join(cell.ljust(width) if i == 0 else cell.rjust(width)
                                       for i, (cell, width) in enumerate(zip(line, widths, strict=True))) + ' |'
                     for line in lines)
