"""The checks of `basicsr_kd.preflight` on what makes training fast: number formats and a compiler."""
from __future__ import annotations

import warnings
from typing import Any

import torch
import torch._inductor.config

from basicsr_kd.metrics.precision import cpu_has_fp16
from basicsr_kd.option_errors import OptionsError

_MISSING = {
    'cpu': 'install a C++ compiler (Debian, Ubuntu: apt install g++; or name one in the environment variable CXX)',
    'cuda': 'install triton (pip install triton) and a C compiler (Debian, Ubuntu: apt install gcc)'
}


def check_speed(opt: dict[str, Any]) -> None:
    """The device computes in the formats of `train.amp` and `teacher.amp`, and can compile for `train.compile`.

    Raises:
        OptionsError: It does not, or cannot.
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
    """A tiny function is compiled and run: what it takes depends on device, system and PyTorch's version."""
    if not hasattr(torch.compiler, 'set_stance'):
        raise OptionsError(f'train.compile: needs PyTorch 2.6 or later, found {torch.__version__}; leave it out')
    try:
        with warnings.catch_warnings(), torch._inductor.config.patch(force_disable_caches=True):
            warnings.simplefilter('ignore')  # that caches are off, which would hide what is missing now
            torch.compile(lambda x: x.sin() + 1)(torch.ones(8, device=device))
    except Exception as error:  # whatever the parts of a compiler raise
        reason = str(error).strip().partition('\n')[0]
        raise OptionsError(f'train.compile: PyTorch cannot compile on this machine ({reason}); {_MISSING[device]}, or '
                           'use compile: false') from None
