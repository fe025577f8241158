"""Images decoded once and kept in memory (`cache: ram`), which the workers of a data loader share."""
from __future__ import annotations

import io
import os
import shutil
import sys
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor

import cv2
import numpy as np
import torch
from basicsr.utils import FileClient, get_root_logger, imfrombytes
from PIL import Image
from tqdm import tqdm

from basicsr_kd.errors import BadImageError
from basicsr_kd.utils.memory import free_memory, in_words
from basicsr_kd.utils.pictures import of_any_size

_HEADER = 54  # bytes of a BMP file
_SHARED = '/dev/shm'  # where Linux keeps what processes share
ImageName = tuple[str, str]
"""Path or key of an image, and the name of its LMDB if it is in one, as `FileClient.get` takes them."""


class RamImages:
    """All images, read and decoded when this is made; it replaces BasicSR's FileClient.

    They are kept as BMP files, which are pixels behind a header, so that a data set reads them as it reads any file,
    but some forty times faster than PNG. They lie one behind the other in one block of shared memory: workers that
    are forked or spawned, even anew in each epoch, neither decode nor copy them.

    Args:
        names: The images.
        client: The client that reads their files.

    Raises:
        BadImageError: An image cannot be read.
    """

    def __init__(self, names: Sequence[ImageName], client: FileClient) -> None:
        names = list(dict.fromkeys(names))
        ends = np.cumsum([_bmp_bytes(*image_size(name, client)) for name in names]).tolist()
        get_root_logger().info(f'cache: ram: {len(names)} images take {in_words(ends[-1])} of this process.')
        self.images = torch.empty(ends[-1], dtype=torch.uint8).share_memory_()
        self.places = dict(zip(names, zip([0, *ends], ends, strict=False), strict=True))

        def decode(name: ImageName) -> None:
            start, end = self.places[name]
            pixels = imfrombytes(client.get(*name))
            if pixels is None:
                raise BadImageError(name[0], 'cannot be read by OpenCV. Save it as PNG.')
            bmp = torch.from_numpy(cv2.imencode('.bmp', pixels)[1])
            self.images[start:end][:len(bmp)] = bmp

        with ThreadPoolExecutor() as pool:
            for _ in tqdm(pool.map(decode, names), 'Decoding images', len(names), disable=not sys.stderr.isatty()):
                pass

    def get(self, filepath: str, client_key: str = 'default') -> memoryview:
        """An image as a BMP file."""
        start, end = self.places[str(filepath), client_key]
        return memoryview(self.images[start:end].numpy())


def lack_of_memory(names: Iterable[ImageName], client: FileClient) -> str:
    """The message if these images do not fit into memory once for each process on this machine; else an empty text.

    Raises:
        BadImageError: An image cannot be read.
    """
    processes = int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    needed = sum(_bmp_bytes(*image_size(name, client)) for name in set(names)) * processes
    free = _free_to_share()
    if needed <= free:
        return ''
    return (f'the decoded images take {in_words(needed)}' +
            (f' in {processes} processes' if processes > 1 else '') +
            f', {in_words(free)} are free; leave it out (io_backend: lmdb reads faster than single files), or cut the '
            'images into pieces and take fewer')


def _free_to_share() -> float:
    """Bytes of free memory that processes of this machine can share; infinite if that is not known."""
    free = free_memory()
    return min(free, shutil.disk_usage(_SHARED).free) if os.path.isdir(_SHARED) else free  # containers have little


def image_size(name: ImageName, client: FileClient) -> tuple[int, int]:
    """Width and height of an image, by its header.

    Raises:
        BadImageError: The image cannot be read.
    """
    try:
        with of_any_size(), Image.open(name[0] if client.backend == 'disk' else io.BytesIO(client.get(*name))) as image:
            return image.size
    except OSError as error:
        raise BadImageError(name[0], f'cannot be read as an image: {error}') from error


def _bmp_bytes(width: int, height: int) -> int:
    """Most bytes of an image as BMP, even if its EXIF data turn it: each row is padded to a multiple of four bytes."""
    return _HEADER + max(-(-3 * row // 4) * 4 * rows for row, rows in ((width, height), (height, width)))
