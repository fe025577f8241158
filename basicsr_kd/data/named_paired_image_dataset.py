"""BasicSR's PairedImageDataset for folders as people have them: it passes over junk, and names what is broken."""
from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from basicsr.data.paired_image_dataset import PairedImageDataset

from basicsr_kd.data.broken_images import NamesBroken
from basicsr_kd.data.pairs import find_pairs


class NamedPairedImageDataset(NamesBroken, PairedImageDataset):
    """PairedImageDataset without files that are no images by their names; see NamesBroken for those that do not decode.

    Users do not name it: `basicsr_kd.preflight` puts it in the place of a PairedImageDataset.

    Args:
        opt: A section of `datasets:`; the keys are BasicSR's, for folders, LMDB and lists alike.

    Raises:
        PairError: There are no images, or one lacks its other half.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.paths = find_pairs(opt)
        found = self.paths
        super().__init__({**opt, 'meta_info_file': os.devnull})  # so BasicSR, which takes every file, finds none
        self.opt, self.paths = opt, found
