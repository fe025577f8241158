"""A teacher's outputs for the low resolution of a training set, made once, in files: `teacher: cache: outputs`."""
from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from basicsr.utils import FileClient, get_root_logger, imfrombytes
from tqdm import tqdm

from basicsr_kd.data.ram import ImageName, image_size
from basicsr_kd.errors import BadImageError
from basicsr_kd.utils.files import cache_folder, replaced
from basicsr_kd.utils.memory import in_words

_BYTES = 3 * 2  # bytes of a pixel: three colours in fp16


class TeacherOutputs:
    """Outputs of one teacher, one file for each image, named by a hash of the image: a changed image has another file.

    Args:
        folder: The teacher's folder, see `folder_of`.
    """

    def __init__(self, folder: str | Path) -> None:
        self.folder = Path(folder)

    def file(self, lq: np.ndarray) -> Path:
        """The file for the output of an image, (h, w, 3) uint8, whether or not it exists."""
        digest = hashlib.sha1(np.ascontiguousarray(lq).data)
        digest.update(str(lq.shape).encode())
        return self.folder / f'{digest.hexdigest()}.npy'

    def read(self, lq: np.ndarray) -> np.ndarray:
        """The output for an image, (scale·h, scale·w, 3) BGR, about 0 to 1, fp16; only parts that are used are read.

        Raises:
            FileNotFoundError: The output was not made, or is lost.
        """
        return np.load(self.file(lq), mmap_mode='r')

    def make(self, names: Sequence[ImageName], client: FileClient,
             enlarge: Callable[[np.ndarray], np.ndarray]) -> None:
        """Make the outputs that are missing.

        Args:
            names: The low-resolution images.
            client: The client that reads their files.
            enlarge: The teacher: (h, w, 3) BGR uint8 to (scale·h, scale·w, 3) BGR, about 0 to 1.

        Raises:
            BadImageError: An image cannot be read.
            OSError: An output cannot be written.
        """
        self.folder.mkdir(parents=True, exist_ok=True)
        made = 0
        for name in tqdm(names, "Teacher's outputs", disable=not sys.stderr.isatty()):
            lq = decoded(name, client)
            file = self.file(lq)
            if _is_whole(file, lq):
                continue
            output = enlarge(lq).astype(np.float16)
            with replaced(file) as unfinished, unfinished.open('wb') as stream:
                np.save(stream, output)
            made += 1
        get_root_logger().info(f"Teacher's outputs: {made} made, {len(names) - made} were there, in {self.folder}")


def _is_whole(file: Path, lq: np.ndarray) -> bool:
    """Whether an output exists and can be read: it may have been copied in part, or damaged."""
    try:
        height, width, _ = np.load(file, mmap_mode='r').shape
    except (OSError, EOFError, ValueError):
        return False
    return height % lq.shape[0] == width % lq.shape[1] == 0


def decoded(name: ImageName, client: FileClient) -> np.ndarray:
    """An image as BasicSR's data sets decode it, (h, w, 3) BGR, but uint8.

    Raises:
        BadImageError: The image cannot be read.
    """
    image = imfrombytes(client.get(*name))
    if image is None:
        raise BadImageError(name[0], 'cannot be read by OpenCV. Save it as PNG.')
    return image


def folder_of(teacher: Mapping[str, Any]) -> Path:
    """The folder for the outputs of a teacher; other weights, pruning or number format have another folder.

    Args:
        teacher: The validated section `teacher:`; its file exists.
    """
    content = hashlib.sha256(Path(teacher['path']).read_bytes()).hexdigest()
    told = {key: teacher[key] for key in ('network', 'param_key', 'amp', 'prune')}
    digest = hashlib.sha256(json.dumps([content, told], sort_keys=True).encode()).hexdigest()
    root = teacher['cache_path']
    return (Path(os.path.expanduser(root)) if root else cache_folder() / 'teacher_outputs') / digest[:32]


def lack_of_room(folder: Path, names: Sequence[ImageName], client: FileClient, scale: int) -> str:
    """The message if the outputs would not fit on the disk; else an empty text.

    Raises:
        BadImageError: An image cannot be read.
    """
    needed = sum(_BYTES * scale ** 2 * width * height for width, height in (image_size(name, client) for name in names))
    there = sum(file.stat().st_size for file in folder.glob('*.npy')) if folder.is_dir() else 0
    disk = next(parent for parent in (folder, *folder.parents) if parent.is_dir())
    free = shutil.disk_usage(disk).free
    if needed - there <= free:
        return ''
    return (f'the outputs for {len(names)} images take {in_words(needed)}, and {in_words(free)} are free in {disk}. '
            'Give teacher.cache_path on another disk, or take fewer images')
