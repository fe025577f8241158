"""Python commands in processes that have BasicSR and PyTorch imported already, which takes 8 s."""
from __future__ import annotations

import atexit
import multiprocessing
import os
import runpy
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import torch

_SERVER = multiprocessing.get_context('forkserver')  # it imports and does nothing else; each process is a fork of it
_SERVER.set_forkserver_preload(['basicsr.train', 'basicsr_kd.train'])


def run_processes(function: Callable[..., None], args: tuple[Any, ...], number: int) -> None:
    """`torch.multiprocessing.spawn` of a test's function, which gets its rank and `args`."""
    torch.multiprocessing.start_processes(function, args, number, start_method='forkserver')


def run_warm(*args: str | Path, cwd: Path, **environment: str) -> subprocess.CompletedProcess[str]:
    """As `helpers.entry.run_python`, of `-c CODE …`, `-m MODULE …` or `SCRIPT …`; exit statuses, too."""
    with tempfile.TemporaryDirectory() as folder:
        process = start_warm(*args, cwd=cwd, output=[Path(folder, name) for name in ('out', 'err')], **environment)
        process.join()
        assert process.exitcode is not None
        said = [Path(folder, name).read_text() for name in ('out', 'err')]
    return subprocess.CompletedProcess(args, process.exitcode, *said)


def start_warm(*args: str | Path, cwd: Path, output: Sequence[Path], **environment: str) -> Any:
    """Start it; what it says goes into files, stdout into the first, stderr into the last."""
    process = _SERVER.Process(target=_be, args=(list(map(str, args)), str(cwd), list(map(str, output)), environment))
    process.start()
    return process


def _be(args: list[str], cwd: str, output: list[str], environment: dict[str, str]) -> None:
    multiprocessing.set_start_method('fork', force=True)  # a fresh process has it; this one has that of its server
    os.setsid()  # a signal to all of its group is to reach no other
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    os.chdir(cwd)
    os.environ.update(environment, CUDA_VISIBLE_DEVICES='')
    for number, path in zip((1, 2), (output[0], output[-1]), strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND), number)
    os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
    sys.stdin, sys.stdout, sys.stderr = (os.fdopen(number, mode, 1, closefd=False)
                                         for number, mode in enumerate(('r', 'w', 'w')))
    status = _status(lambda: _main(args))
    atexit._run_exitfuncs()
    sys.stdout.flush(), sys.stderr.flush()
    os._exit(status)


def _main(args: list[str]) -> None:
    """What the interpreter does with its arguments."""
    if args[0] == '-c':
        sys.argv, sys.path[0] = ['-c', *args[2:]], ''
        module = sys.modules['__main__'] = ModuleType('__main__')
        exec(compile(args[1], '<string>', 'exec'), module.__dict__)
    elif args[0] == '-m':
        sys.argv, sys.path[0] = args[1:], os.getcwd()
        runpy.run_module(args[1], run_name='__main__', alter_sys=True)
    else:
        sys.argv, sys.path[0] = args, str(Path(args[0]).resolve().parent)
        runpy.run_path(args[0], run_name='__main__')


def _status(main: Callable[[], None]) -> int:
    try:
        main()
    except SystemExit as error:
        if isinstance(error.code, str):
            print(error.code, file=sys.stderr)
        return error.code if isinstance(error.code, int) else 0 if error.code is None else 1
    except BaseException:
        traceback.print_exc()
        return 1
    return 0
