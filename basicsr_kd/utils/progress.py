"""Progress of long work on stderr: a bar on a screen, a line now and then in a file or a pipe."""
from __future__ import annotations

import sys
from collections.abc import Iterable, Iterator
from typing import Any, TypeVar

from tqdm import tqdm

_T = TypeVar('_T')
SECONDS = 20
"""Seconds between two lines."""
_LINE = '{desc}: {n:.0f} of {total:.0f}, {elapsed} gone, {remaining} to go'


class Progress(tqdm):
    """tqdm's bar if stderr is a screen; else a line at the start and every 20 seconds, and none at the end.

    Args:
        title: The name of the work.
        total: The number of its steps.
        shown: Whether anything is shown.
        options: Further options of tqdm.
    """

    def __init__(self, title: str, total: int, shown: bool = True, **options: Any) -> None:
        self.lines = not sys.stderr.isatty()
        if self.lines:
            options.update(mininterval=SECONDS, miniters=1, bar_format=_LINE)
        super().__init__(total=total, desc=title, disable=not shown, leave=False, file=sys.stderr, **options)

    def update(self, n: float | None = 1) -> bool | None:
        """Add to what is done. It stays within the total, else tqdm takes the total for unknown and cannot show it."""
        return super().update(n if n is None or self.disable else min(n, self.total - self.n))

    def display(self, msg: str | None = None, pos: int | None = None) -> bool:
        """Show the progress; tqdm calls this."""
        if not self.lines:
            return super().display(msg, pos)
        if msg is None:  # an empty message would clear the bar from a screen
            self.fp.write(f'{self}\n')
            self.fp.flush()
        return True

    def close(self) -> None:
        """End the bar; lines need no end."""
        if getattr(self, 'lines', False):
            self.disable = True
        super().close()


def progressing(values: Iterable[_T], title: str, total: int, shown: bool = True) -> Iterator[_T]:
    """Go through values and show the progress."""
    with Progress(title, total, shown) as bar:
        for value in values:
            yield value
            bar.update()
