"""What a benchmark has measured so far, in a file that outlives it."""
import json
import os
from pathlib import Path
from typing import Any


class Journal:
    """Lines of JSON, each on the disk as soon as it is measured: a run that is killed leaves all but the last.

    Args:
        path: The file; an earlier one is replaced.
    """

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = path.open('w', encoding='utf-8')

    def add(self, **row: Any) -> None:
        self._file.write(json.dumps(row) + '\n')
        self._file.flush()
        os.fsync(self._file.fileno())
