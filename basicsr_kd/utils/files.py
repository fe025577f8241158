"""Text files that are whole or as they were before."""
from __future__ import annotations

import os
from pathlib import Path


def write_whole(path: str | os.PathLike[str], text: str) -> None:
    """Write UTF-8 into another file of the same folder, which is then renamed."""
    path = Path(path)
    temporary = path.with_name(f'.{path.name}.{os.getpid()}.tmp')
    try:
        temporary.write_text(text, 'utf-8')
        os.replace(temporary, path)
    finally:
        temporary.unlink(missing_ok=True)
