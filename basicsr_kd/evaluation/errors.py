"""What stops an evaluation, in words for people."""
from __future__ import annotations

import os


class EvaluationError(Exception):
    """Images or networks that cannot be evaluated; the text says what was found, what was expected, what to do."""


class BadImageError(EvaluationError):
    """One file that is no image to measure on; the others may be.

    Args:
        path: The file.
        reason: Goes on where the file's name ends: 'is cut short …'.
    """

    def __init__(self, path: str | os.PathLike[str], reason: str) -> None:
        super().__init__(f'{os.fspath(path)} {reason}')
        self.path = os.fspath(path)
        self.reason = reason
