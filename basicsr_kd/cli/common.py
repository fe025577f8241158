"""Common parts of the commands: refusing, checking outputs, writing. Imports nothing heavy."""
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from basicsr_kd.errors import BasicSRKDError
from basicsr_kd.utils.files import write_whole


class Refusal(BasicSRKDError):
    """What was asked for cannot be done; the text says why and what to do."""


def refuse(command: str, error: Exception) -> int:
    """Print an error as one line on stderr, and return the exit status."""
    print(f'basicsr-kd {command}: ' + ' '.join(str(error).split()).removeprefix(f'{command}: '), file=sys.stderr)
    return 2


def say(text: str) -> None:
    """Print what comes next, if stderr is a terminal."""
    if sys.stderr.isatty():
        print(f'{text} …', file=sys.stderr)


def check_outputs(outputs: Sequence[Path | None], force: bool) -> None:
    """Check that every file can be written, and that none exists already.

    Raises:
        Refusal: A file cannot be written, or it exists and `force` is not given.
    """
    paths = [path for path in outputs if path]
    if len(set(paths)) < len(paths):
        raise Refusal(f'two of the files to write have one name: {", ".join(map(str, paths))}.')
    for path in paths:
        if path.is_dir():
            raise Refusal(f'{path} is a folder. Expected the name of a file to write.')
        if path.exists() and not force:
            raise Refusal(f'{path} exists. Choose another name, or say --force to write over it.')
        _check_parent(path)


def check_folder(folder: Path, force: bool) -> None:
    """Check that files can be written into a folder, and that it is empty or still to be made.

    Raises:
        Refusal: They cannot be written, or the folder is not empty and `force` is not given.
    """
    if folder.exists() and not folder.is_dir():
        raise Refusal(f'{folder} is a file. Expected a folder, or the name of one to make.')
    if folder.is_dir() and any(folder.iterdir()) and not force:
        raise Refusal(f'{folder} is not empty. Choose another folder, or say --force to write over what is in it.')
    _check_parent(folder / '*')


def write_json(path: Path | None, content: dict[str, Any]) -> None:
    """Write a JSON file if a path is given; the file is whole or not there."""
    if path is None:
        return
    path.parent.mkdir(parents=True, exist_ok=True)
    write_whole(path, json.dumps(content, indent=2, allow_nan=False) + '\n')


def _check_parent(path: Path) -> None:
    folder = next(parent for parent in path.absolute().parents if parent.exists())
    if not folder.is_dir() or not os.access(folder, os.W_OK):
        raise Refusal(f'{path} cannot be written: {folder} is {"not writable" if folder.is_dir() else "a file"}.')


def add_param_key(parser: Any) -> None:
    """Add the argument `--param-key`."""
    parser.add_argument('--param-key', metavar='KEY',
                        help='which of its weights, if a checkpoint has several\n(default: params_ema, else params)')


def usable_device(name: str | None) -> str:
    """The device of this name, after a check that it works; default: a GPU, if there is one, else the CPU.

    Raises:
        Refusal: The device cannot be used.
    """
    import torch
    name = name or ('cuda' if torch.cuda.is_available() else 'cpu')
    try:
        torch.zeros(1, device=name).item()  # .item(), since the device meta has tensors without values
    except Exception as error:  # each device raises its own class
        reason = str(error).partition('\n')[0]
        raise Refusal(f'--device {name} cannot be used: {reason}') from None
    return name
