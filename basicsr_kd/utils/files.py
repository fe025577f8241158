"""Files that are either written completely or unchanged, and the folder for files that can be made again."""
from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replaced(path: str | os.PathLike[str]) -> Iterator[Path]:
    """Give a temporary file in the same folder to write into, then rename it; if writing fails, it is removed."""
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        yield temporary
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 into a temporary file in the same folder, then rename it."""
    with replaced(path) as temporary:
        temporary.write_text(text, 'utf-8')


def cache_folder() -> Path:
    """The folder for files that this package can make or fetch again."""
    return Path(os.environ.get('XDG_CACHE_HOME') or Path.home() / '.cache', 'basicsr_kd')
