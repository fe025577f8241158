"""What an ablation has measured, in results.json, and means over its seeds."""
import fcntl
import json
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from studies.ablation.plan import AblationError, Run

Row = Mapping[str, Any]
FILE = 'results.json'


class Results:
    """The content of `folder`/results.json: settings, sets, references (bicubic, teacher) and runs.

    Raises:
        AblationError: the file cannot be read.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._file = folder / FILE
        self.settings: dict[str, Any] = {}
        self.sets: dict[str, list[str]] = {}
        self.references: dict[str, dict[str, Any]] = {}
        self.runs: dict[str, dict[str, Any]] = {}
        if self._file.exists():
            try:
                vars(self).update(json.loads(self._file.read_text()))
            except ValueError as error:
                raise AblationError(f'{self._file} is damaged: {error}') from None

    def claim(self, settings: Mapping[str, Any], sets: Mapping[str, Sequence[str]]) -> int:
        """Lock the folder for this process and make sure that what comes is measured as what is there was.

        Returns:
            The lock's file descriptor; processes that inherit it hold the lock too.

        Raises:
            AblationError: another process holds the lock, or the folder holds results of other settings.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        self._lock = (self.folder / '.lock').open('w')
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            raise AblationError(f'another ablation, or a training that one left behind, works in {self.folder}; wait '
                                'for it to end or choose another --output.') from None
        for before, wanted in ((self.settings, settings), (self.sets, sets)):
            changes = [f'{key}: {before[key]} before, {value} now' for key, value in wanted.items()
                       if before.get(key, value) != value]
            if changes:
                raise AblationError(f'{self.folder} holds results of other settings ({"; ".join(changes)}). Choose '
                                    'another --output or remove that folder.')
        self.settings, self.sets = dict(settings), {**self.sets, **{name: list(paths) for name, paths in sets.items()}}
        return self._lock.fileno()

    def trained(self, run: Run) -> bool:
        """Whether this very run, with these options, has ended."""
        return self.runs.get(run.key, {}).get('digest') == run.digest

    def write(self) -> None:
        """The file is whole or as it was, whatever happens meanwhile."""
        content = {key: getattr(self, key) for key in ('settings', 'sets', 'references', 'runs')}
        temporary = self.folder / f'.{FILE}.tmp'
        temporary.write_text(json.dumps(content, indent=1) + '\n')
        os.replace(temporary, self._file)


def image_mean(row: Row, name: str, metric: str) -> float | None:
    """A metric's mean over a set's images; None where it was not measured or is not defined for one of them."""
    values = list(row['sets'].get(name, {}).get(metric, {}).values())
    return float(np.mean(values)) if values and None not in values else None


def seed_values(rows: Sequence[Row], name: str, metric: str) -> list[float]:
    """The means over images, one a seed; none at all where one of them is not defined."""
    values = [image_mean(row, name, metric) for row in rows if name in row['sets']]
    defined = [value for value in values if value is not None]
    return defined if len(defined) == len(values) else []


def mean_sd(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean and sample standard deviation (n - 1); one value has none."""
    return float(np.mean(values)), float(np.std(values, ddof=1)) if len(values) > 1 else None
