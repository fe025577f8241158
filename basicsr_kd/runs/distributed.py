"""The processes of a distributed run: how they start (torchrun, Slurm), exchange results, refuse and end.

Imports neither torch nor BasicSR before a run starts.
"""
from __future__ import annotations

import atexit
import gc
import itertools
import os
import subprocess
import sys
from collections.abc import Callable
from datetime import timedelta
from typing import Any, NoReturn, TypeVar

_TORCHRUN = ('RANK', 'WORLD_SIZE', 'MASTER_ADDR', 'MASTER_PORT')
_SLURM = ('SLURM_PROCID', 'SLURM_NTASKS', 'SLURM_NODELIST')

_PATIENCE = timedelta(hours=24)
_CALLS = itertools.count()  # calls of `on_master_first`, which are the same on all ranks

_Result = TypeVar('_Result')


def start_under_torchrun(backend: str, **kwargs: Any) -> None:
    """Join the process group that torchrun describes; replaces BasicSR's function for `--launcher pytorch`.

    BasicSR's own function computes `rank % number of GPUs` and insists on nccl. This one ends the process with one line
    if torchrun did not start it, or started more processes on this machine than there are GPUs.

    Args:
        backend: Backend of `torch.distributed` on GPUs; without GPUs it is gloo.
        kwargs: Further arguments of `init_process_group`.
    """
    import torch
    for name in _TORCHRUN:
        if name not in os.environ:
            refuse(f'--launcher pytorch: {name} is not set, so torchrun has not started this process. Start with '
                   'torchrun --nproc_per_node=N basicsr/train.py -opt ... --launcher pytorch; for one process leave '
                   '--launcher out')
    gpus, processes = torch.cuda.device_count(), int(os.environ.get('LOCAL_WORLD_SIZE', 1))
    if 0 < gpus < processes:
        refuse(f'--launcher pytorch: {processes} processes on this machine, PyTorch finds {gpus} GPU(s) there '
               f'(CUDA_VISIBLE_DEVICES: {os.environ.get("CUDA_VISIBLE_DEVICES", "not set")}); start with torchrun '
               f'--nproc_per_node={gpus}, or on the CPU with an empty CUDA_VISIBLE_DEVICES')
    _join(backend, os.environ.get('LOCAL_RANK', os.environ['RANK']), **kwargs)


def start_under_slurm(backend: str, port: int | None = None) -> None:
    """Join the process group of the tasks that srun started; replaces BasicSR's function for `--launcher slurm`.

    As in BasicSR, processes meet on the first node of the job, at `port`, else MASTER_PORT, else 29500. BasicSR's own
    function takes any output of the shell for that node's name, and does not start without GPUs.

    Args:
        backend: Backend of `torch.distributed` on GPUs; without GPUs it is gloo.
        port: A free port of the first node (`dist_params.port` in the options file).
    """
    for name in _SLURM:
        if name not in os.environ:
            refuse(f'--launcher slurm: {name} is not set, so srun has not started this process. Start with srun '
                   '--ntasks=N python basicsr/train.py -opt ... --launcher slurm; outside of Slurm use torchrun and '
                   '--launcher pytorch')
    task = os.environ['SLURM_PROCID']
    os.environ.update(MASTER_ADDR=_first_node(os.environ['SLURM_NODELIST']), RANK=task,
                      MASTER_PORT=str(port or os.environ.get('MASTER_PORT', 29500)),
                      WORLD_SIZE=os.environ['SLURM_NTASKS'], LOCAL_RANK=os.environ.get('SLURM_LOCALID', task))
    _join(backend, os.environ['LOCAL_RANK'])


def _first_node(nodes: str) -> str:
    command = ['scontrol', 'show', 'hostnames', nodes]
    try:
        names = subprocess.run(command, check=True, capture_output=True, text=True).stdout.split()
    except FileNotFoundError:
        refuse('--launcher slurm: there is no command scontrol, which tells the names of the nodes; run where Slurm is '
               'installed, or use torchrun and --launcher pytorch')
    except subprocess.CalledProcessError as error:
        refuse(f'--launcher slurm: {" ".join(command)} failed: {error.stderr.strip()}')
    if not names:
        refuse(f'--launcher slurm: {" ".join(command)} names no node')
    return names[0]


def _join(backend: str, local_rank: str, **kwargs: Any) -> None:
    import torch
    if torch.cuda.is_available():
        torch.cuda.set_device(int(local_rank) % torch.cuda.device_count())  # Slurm may show each task only its own GPU
        torch.distributed.init_process_group(backend, **kwargs)
    else:
        torch.distributed.init_process_group('gloo', **kwargs)
    atexit.register(leave_process_group)


def leave_process_group() -> None:
    """Leave the process group, if there is one, so that its threads end before the interpreter does.

    BasicSR never leaves it, and nccl warns of that. A gloo thread that still holds a tensor at that time aborts a
    process that has done its work (PyTorch pull request 179291). A group ends once nothing refers to it; DDP networks
    do, in reference cycles.
    """
    import torch
    if torch.distributed.is_initialized():
        gc.collect()
        torch.distributed.destroy_process_group()
        gc.collect()


def refuse(message: str) -> NoReturn:
    """End this process; one process on each machine says why."""
    if int(os.environ.get('LOCAL_RANK', 0)) == 0:
        print(f'basicsr_kd: {message}', file=sys.stderr)
    sys.exit(2)


def from_all_ranks(own: _Result) -> list[_Result]:
    """The values of all ranks in their order, the same list on every rank; a run of one process gets its own alone."""
    import torch.distributed as dist
    if not (dist.is_available() and dist.is_initialized()):
        return [own]
    shares: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(shares, own)
    return shares


def on_master_first(action: Callable[[], _Result]) -> _Result:
    """Run `action` on rank 0 while the other ranks wait, and return its result on all ranks.

    For this, rank 0 gets all cores of the machine, whereas torchrun gives each process one thread. The others wait at
    the store where processes meet: a broadcast has a time limit (10 minutes in nccl), and pruning may take longer.
    """
    import torch
    import torch.distributed as dist
    distributed = dist.is_available() and dist.is_initialized()
    if not distributed:
        return action()
    result: list[Any] = [None]
    store, key = dist.distributed_c10d._get_default_store(), f'basicsr_kd/on_master_first/{next(_CALLS)}'
    if dist.get_rank() == 0:
        threads = torch.get_num_threads()
        torch.set_num_threads(os.cpu_count() or threads)
        try:
            result = [action()]
        finally:
            torch.set_num_threads(threads)
            store.set(key, 'done')  # also after a failure: this process ends, and the others see that
    else:
        store.wait([key], _PATIENCE)
    dist.broadcast_object_list(result)
    return result[0]


def warn(message: str) -> None:
    """Print a line on stderr, from this process."""
    print(f'basicsr_kd: {message}.', file=sys.stderr)
