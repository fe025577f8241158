"""A file with the scores of a run's validations, one line each, from which a resumed run knows the best scores."""
from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from basicsr_kd.utils.files import write_whole


class Journal(NamedTuple):
    """`validations.jsonl` in the folder of a run."""

    path: Path

    def add(self, iteration: int, dataset: str, scores: Mapping[str, float]) -> None:
        """Append a line."""
        with self.path.open('a') as file:
            file.write(_line(iteration, dataset, scores))

    def go_back_to(self, iteration: int) -> list[tuple[int, str, dict[str, float]]]:
        """Return the validations up to an iteration, and remove a torn line and later ones, which the run repeats."""
        if not self.path.is_file():
            return []
        found = [entry for entry in map(_read, self.path.read_text().splitlines()) if entry and entry[0] <= iteration]
        write_whole(self.path, ''.join(_line(*entry) for entry in found))
        return found


def _line(iteration: int, dataset: str, scores: Mapping[str, float]) -> str:
    return json.dumps({'iteration': iteration, 'dataset': dataset, 'scores': dict(scores)}) + '\n'


def _read(line: str) -> tuple[int, str, dict[str, float]] | None:
    try:
        entry = json.loads(line)
        return int(entry['iteration']), entry['dataset'], dict(entry['scores'])
    except (ValueError, KeyError, TypeError):  # cut off, or not ours
        return None
