"""Data sets in which an image that does not decode is named, and another comes in its place."""
from __future__ import annotations

from typing import Any

from basicsr.utils import FileClient, imfrombytes

from basicsr_kd.data.ram import ImageName
from basicsr_kd.errors import BadImageError


class NamesBroken:
    """Comes before a data set of BasicSR's among the bases, whose `paths` are files, keys, or pairs of them.

    A sample for training says in `broken` which images it is there in place of, a line each.

    Raises:
        BadImageError: In training, no image of the set decodes.
    """

    def sample(self, index: int) -> dict[str, Any]:
        """BasicSR's sample, which fails where an image does not decode."""
        return super().__getitem__(index)  # type: ignore[misc]

    def __getitem__(self, index: int) -> dict[str, Any]:
        dataset: Any = self
        if dataset.opt.get('phase', 'train') != 'train':
            return self.sample(index)
        broken: list[str] = []
        for further in range(len(dataset)):
            at = (index + further) % len(dataset)
            try:
                return {**self.sample(at), 'broken': '\n'.join(broken)}
            except Exception:  # whatever BasicSR's code raises of an image that is None
                found = undecodable(dataset, at)
                if not found:
                    raise  # something else is wrong
                broken += found
        raise BadImageError(broken[0], 'cannot be read as an image, and no other of its set can')


def undecodable(dataset: Any, index: int) -> list[str]:
    """The images of a sample that are missing or do not decode; none of a set whose images are not known.

    Args:
        dataset: One of BasicSR's data sets of images, or on top of it.
        index: Of the sample.
    """
    if not getattr(dataset, 'paths', None) or not hasattr(dataset, 'io_backend_opt'):
        return []
    client = dataset.file_client or reader_of(dataset)
    return [path for path, key in images_of(dataset, index) if not _decodes(path, key, client)]


def images_of(dataset: Any, index: int) -> list[ImageName]:
    """The images that a sample is made of."""
    found, own = dataset.paths[index % len(dataset.paths)], 'gt' if 'dataroot_gt' in dataset.opt else 'lq'
    return [(found, own)] if isinstance(found, str) else [(found[f'{key}_path'], key) for key in ('gt', 'lq')]


def reader_of(dataset: Any) -> FileClient:
    """What reads its files, by the options that the set was given; BasicSR takes the type out of its own at first."""
    backend = dict(dataset.io_backend_opt)
    return FileClient(backend.pop('type'), **backend)


def _decodes(path: str, key: str, client: Any) -> bool:
    try:
        return imfrombytes(client.get(path, key)) is not None
    except Exception:  # a file that is gone, an LMDB without the key, OpenCV's own errors
        return False
