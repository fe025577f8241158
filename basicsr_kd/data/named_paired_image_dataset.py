"""BasicSR's PairedImageDataset for real folders: it skips files that are no images, and names broken images."""
from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from basicsr.data.paired_image_dataset import PairedImageDataset

from basicsr_kd.data.broken_images import NamesBroken
from basicsr_kd.data.pairs import find_pairs


class NamedPairedImageDataset(NamesBroken, PairedImageDataset):
    """PairedImageDataset that skips files without an image's name; see NamesBroken for images that do not decode.

    Users do not name it: `basicsr_kd.preflight` puts it in the place of a PairedImageDataset.

    Args:
        opt: A section of `datasets:`; the keys are BasicSR's, for folders, LMDB and lists alike.

    Raises:
        PairError: There are no images, or an image has no partner.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.paths = find_pairs(opt)
        found = self.paths
        super().__init__({**opt, 'meta_info_file': os.devnull})  # so BasicSR, which takes every file, finds none
        self.opt, self.paths = opt, found
