"""Names of validation images in the log and in files: their own names, made different where several have one name."""
from __future__ import annotations

import os
from collections import Counter
from collections.abc import Sequence


class ImageNames:
    """Names of images of several sets whose files lie in one folder.

    Every process of a run asks for the same sets in the same order, and so has the same names.
    """

    def __init__(self) -> None:
        self._owners: dict[str, str] = {}

    def in_one_folder(self, dataset: str, names: Sequence[str]) -> list[str]:
        """The names of a set's images in one folder for all sets, as BasicSR has it in training.

        Args:
            dataset: The set's name, which is added to names that an earlier set has.
            names: The names of the set's images.
        """
        return [name if self._owners.setdefault(name, dataset) == dataset else f'{name}_{dataset}' for name in names]


def told_apart(paths: Sequence[str]) -> list[str]:
    """The base names of files without endings; for files of one name, endings, all folders or numbers are added."""
    names = [os.path.splitext(os.path.basename(path))[0] for path in paths]
    longer = [[os.path.basename(path).replace('.', '_') for path in paths],
              ['_'.join(path.replace('.', '_').strip(os.sep).split(os.sep)) for path in paths],
              [f'{name}_{number}' for number, name in enumerate(names)]]
    for others in longer:
        counts = Counter(names)
        names = [other if counts[name] > 1 else name for name, other in zip(names, others, strict=True)]
    return names
