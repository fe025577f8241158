"""BasicSR's PairedImageDataset with `cache: ram`."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from basicsr.utils import FileClient

from basicsr_kd.data.broken_images import images_of, reader_of
from basicsr_kd.data.named_paired_image_dataset import NamedPairedImageDataset
from basicsr_kd.data.ram import ImageName, RamImages


class CachedPairedImageDataset(NamedPairedImageDataset):
    """PairedImageDataset, with the same samples, that decodes all images once, in the process that makes it.

    Users do not name it: `basicsr_kd.preflight` puts it in the place of a PairedImageDataset with `cache: ram`.

    Args:
        opt: A section of `datasets:`; the keys are BasicSR's, for folders, LMDB and lists alike.

    Raises:
        BadImageError: An image cannot be read.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        super().__init__(opt)
        self.file_client = RamImages(*files_of(self))


def files_of(dataset: NamedPairedImageDataset) -> tuple[list[ImageName], FileClient]:
    """The images of a data set, and the client that reads their files."""
    return [name for index in range(len(dataset.paths)) for name in images_of(dataset, index)], reader_of(dataset)
