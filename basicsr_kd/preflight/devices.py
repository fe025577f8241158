"""The checks of `basicsr_kd.preflight` on GPUs and processes."""
from __future__ import annotations

import os
import warnings
from typing import Any

import torch
import torch._inductor.config

from basicsr_kd.errors import OptionsError
from basicsr_kd.utils.modes import cpu_has_fp16

_MISSING = {
    'cpu': 'install a C++ compiler (Debian, Ubuntu: apt install g++; or name one in the environment variable CXX)',
    'cuda': 'install triton (pip install triton) and a C compiler (Debian, Ubuntu: apt install gcc)'
}


def check_device(opt: dict[str, Any]) -> None:
    """Check that the GPUs that are asked for exist, and that each has a process.

    For a test, several GPUs become one: BasicSR tests image by image.

    Raises:
        OptionsError: A GPU does not exist, there are several without a launcher, or processes know nothing of each
            other.
    """
    gpus, found = torch.cuda.device_count(), opt['num_gpu']
    if found or not gpus:
        _check_visible(gpus)
    if opt['dist']:
        if found > 0 == gpus:
            raise OptionsError(f'num_gpu: found {found}, this machine has no GPU that PyTorch can use; use num_gpu: '
                               'auto')
        if found == 0 < gpus:
            raise OptionsError('num_gpu: found 0, but a launcher gives each process a GPU where there are any; use '
                               'num_gpu: auto, or train on the CPU with an empty CUDA_VISIBLE_DEVICES')
        return
    processes = int(os.environ.get('WORLD_SIZE', 1))
    if processes > 1 and 'LOCAL_RANK' in os.environ:
        raise OptionsError(f'torchrun has started {processes} processes, each of which would train or test alone and '
                           'write the same files; add --launcher pytorch to the command')
    if found > gpus:
        raise OptionsError(f'num_gpu: found {found}, this machine has {gpus} GPU(s); use num_gpu: auto')
    if found > 1 and not opt['is_train']:
        opt['num_gpu'] = 1  # a second GPU would have nothing to do
    elif found > 1:
        raise OptionsError(f'num_gpu: found {found} without a launcher; start with torchrun --nproc_per_node={found} '
                           'basicsr/train.py -opt ... --launcher pytorch, or train on one GPU with num_gpu: 1 '
                           '(--force_yml num_gpu=1)')


def _check_visible(gpus: int) -> None:
    """Check that CUDA sees every GPU that is named: it ignores missing ones, and the run would use fewer or the CPU."""
    named = os.environ.get('CUDA_VISIBLE_DEVICES', '')
    indices = [index for index in named.split(',') if index.strip().isdigit()]
    if len(indices) > gpus and named != '0':  # scripts set '0' for "one GPU, if there is any"
        raise OptionsError(f'CUDA_VISIBLE_DEVICES: found {named}, of which PyTorch finds {gpus} GPU(s); name those '
                           'that are there, or leave it empty to run on the CPU')


def check_speed(opt: dict[str, Any]) -> None:
    """Check that the device computes in the formats of `train.amp` and `teacher.amp`, and compiles for `train.compile`.

    Raises:
        OptionsError: The device does not compute in a format, or cannot compile.
    """
    train, teacher = opt['train'], opt.get('teacher') or {}
    device = 'cuda' if opt['num_gpu'] != 0 else 'cpu'
    for key, amp in (('train.amp', train['amp']), ('teacher.amp', teacher.get('amp'))):
        if amp == 'fp16' and device == 'cpu' and not cpu_has_fp16():
            raise OptionsError(f'{key}: found fp16, which this CPU does not compute in (it wants AVX512-FP16); use '
                               'bf16 or fp32')
    if train['compile']:
        check_compiler(device)


def check_compiler(device: str) -> None:
    """Compile and run a tiny function: what compiling needs depends on device, system and PyTorch's version."""
    if not hasattr(torch.compiler, 'set_stance'):
        raise OptionsError(f'train.compile: needs PyTorch 2.6 or later, found {torch.__version__}; leave it out')
    try:
        with warnings.catch_warnings(), torch._inductor.config.patch(force_disable_caches=True):
            warnings.simplefilter('ignore')  # silences "caches are off"; caches would hide what is missing now
            torch.compile(lambda x: x.sin() + 1)(torch.ones(8, device=device))
    except Exception as error:  # whatever the parts of a compiler raise
        reason = str(error).strip().partition('\n')[0]
        raise OptionsError(f'train.compile: PyTorch cannot compile on this machine ({reason}); {_MISSING[device]}, or '
                           'use compile: false') from None
