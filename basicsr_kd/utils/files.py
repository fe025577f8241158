"""Files that are whole or as they were before, and the folder of those that can be had again."""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Another file of the same folder to write into, which is then renamed; where writing fails, it is removed."""
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 into another file of the same folder, which is then renamed."""
    with replaced(path) as temporary:
        temporary.write_text(text, 'utf-8')


def cache_folder() -> Path:
    """Where this package keeps what it can make or fetch again."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache', 'basicsr_kd')
