"""Data sets that name an image that does not decode, and take another one in its place."""
from __future__ import annotations

from typing import Any

from basicsr.utils import FileClient, imfrombytes

from basicsr_kd.data.ram import ImageName
from basicsr_kd.errors import BadImageError


class NamesBroken:
    """A base class to put before one of BasicSR's data sets, whose `paths` are files, keys, or pairs of them.

    In a training sample, `broken` names the images that it replaces, one line for each.

    Raises:
        BadImageError: In training, no image of the set decodes.
    """

    def sample(self, index: int) -> dict[str, Any]:
        """BasicSR's sample; it fails if an image does not decode."""
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
            except Exception:  # whatever BasicSR's code raises for an image that is None
                found = undecodable(dataset, at)
                if not found:
                    raise  # something else is wrong
                broken += found
        raise BadImageError(broken[0], 'cannot be read as an image, and no other of its set can')


def undecodable(dataset: Any, index: int) -> list[str]:
    """The images of a sample that are missing or do not decode; none for a set whose images are not known.

    Args:
        dataset: One of BasicSR's data sets of images, or a subclass of one.
        index: The sample's index.
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
    """A client for a set's files, made from the set's options; BasicSR removes the type from its own copy of them."""
    backend = dict(dataset.io_backend_opt)
    return FileClient(backend.pop('type'), **backend)


def _decodes(path: str, key: str, client: Any) -> bool:
    try:
        return imfrombytes(client.get(path, key)) is not None
    except Exception:  # a file that is gone, an LMDB without the key, OpenCV's own errors
        return False
