"""The start of a training run: only one run at a time uses a folder, and a failed start leaves everything as it was.

BasicSR renames the folder of an earlier run with the same name (`<name>_archived_<time>`) and makes a new one long
before the first iteration. Imports neither torch nor BasicSR.
"""
from __future__ import annotations

import atexit
import json
import os
import shutil
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from basicsr_kd.errors import StartError
from basicsr_kd.runs.distributed import warn
from basicsr_kd.runs.resume import resumes

_held: dict[str, Any] = {}  # open lock files by path: the kernel unlocks them when the process ends


class _Start:
    """A start until its first iteration is done, with what is needed to undo it.

    Args:
        folders: The folders that the start renames and makes anew: the run's, and that of its TensorBoard.
        journal: A file beside them that records this for the next start, in case this one is killed.
    """

    def __init__(self, folders: list[Path], journal: Path) -> None:
        self.before = {str(folder): sorted(map(str, _archived(folder))) if folder.exists() else None
                       for folder in folders}
        self.journal = journal
        journal.write_text(json.dumps(self.before))

    def undo(self) -> None:
        """Put back what was there; called if the process ends before `begun`."""
        undo(self.before)
        self.journal.unlink(missing_ok=True)


_current: _Start | None = None


def begin(opt: Mapping[str, Any]) -> None:
    """Lock a run's folder, before anything in it is created or moved; only rank 0 does it.

    First it undoes an earlier start that was killed, and removes temporary files of killed runs.

    Args:
        opt: The options of a training with our models, as BasicSR's `parse_options` returns them.

    Raises:
        StartError: The folder cannot be written to, or another process trains in it.
    """
    global _current
    if opt['rank'] != 0:
        return
    run = Path(opt['path']['experiments_root'])
    _must_be_writable(run.parent)
    _lock(run)
    journal = run.parent / f'.{run.name}.starting'
    if journal.exists():
        undo(json.loads(journal.read_text()))
        journal.unlink()
    for folder in ('models', 'training_states'):
        for left in Path(opt['path'][folder]).glob('.*.tmp'):
            left.unlink()
    if not resumes(opt):
        _current = _Start([run, run.parent.parent / 'tb_logger' / run.name], journal)
        atexit.register(_undo_current)


def begun() -> None:
    """Note that the first iteration is done: from now on the run keeps what it has."""
    global _current
    if _current:
        _current.journal.unlink(missing_ok=True)
        _current = None


def _undo_current() -> None:
    if _current:
        _current.undo()


def undo(before: Mapping[str, list[str] | None]) -> None:
    """Remove the folders that a start has made, and give the folders that it renamed their old names.

    The log of the start stays as `<name>_failed.log`. A folder with a trained network is left alone.

    Args:
        before: For each folder, the archived folders of its name that existed before; None if the folder did not exist.
    """
    for name, known in before.items():
        folder = Path(name)
        renamed = [path for path in _archived(folder) if str(path) not in (known or [])]
        if known is not None and not renamed:
            continue  # the start had not come that far
        if any(path.stem.rpartition('_')[2].isdigit() for path in folder.glob('models/net_*.pth')):
            continue
        for log in sorted(folder.glob('train_*.log'))[-1:]:
            shutil.copy(log, folder.parent / f'{folder.name}_failed.log')
        if folder.exists():
            shutil.rmtree(folder)
        if known is not None:
            renamed[-1].rename(folder)


def _archived(folder: Path) -> list[Path]:
    return sorted(folder.parent.glob(f'{folder.name}_archived_*'))


def _must_be_writable(folder: Path) -> None:
    if folder.is_symlink() and not folder.exists():
        raise StartError(f'{folder} is a link to {os.readlink(folder)}, which is not there. Make that folder, or '
                         'remove the link.')
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f'.{os.getpid()}.writable'
        probe.touch()
        probe.unlink()
    except FileExistsError:
        raise StartError(f'{folder} is a file. Expected a folder, in which runs get theirs; move the file '
                         'away.') from None
    except OSError as error:
        raise StartError(f'{folder} cannot be written to ({error.strerror}). Runs put their folders there; start in '
                         'another folder, or make it a link to one.') from None


def _lock(run: Path) -> None:
    """Lock a file beside the run's folder for as long as this process lives; its workers do not inherit the lock."""
    path = run.parent / f'.{run.name}.lock'
    if str(path) in _held:
        return
    try:
        import fcntl
    except ImportError:  # not a POSIX system
        return
    file = path.open('a+')
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except (BlockingIOError, PermissionError):
        file.seek(0)
        raise StartError(f'{run} is in use by {file.read().strip() or "another process"}. Wait until it has ended, or '
                         'give this run another name.') from None
    except OSError as error:
        warn(f'{path.parent} has no file locks ({error.strerror}), so nothing keeps a second run out of {run}')
        return
    file.truncate(0)
    file.write(f'process {os.getpid()} on {socket.gethostname()}')
    file.flush()
    _held[str(path)] = file
