"""The checks of `basicsr_kd.preflight` on GPUs and processes."""
from __future__ import annotations

import os
from typing import Any

import torch

from basicsr_kd.option_errors import OptionsError


def check_device(opt: dict[str, Any]) -> None:
    """The GPUs that are asked for are there, and there is a process for each.

    In test more than one GPU becomes one: BasicSR tests image by image.

    Raises:
        OptionsError: A GPU that is not there, or several without a launcher; processes that know nothing of each other.
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
    """CUDA leaves a GPU that is not there out without a word, and the run would go on with fewer, or on the CPU."""
    named = os.environ.get('CUDA_VISIBLE_DEVICES', '')
    indices = [index for index in named.split(',') if index.strip().isdigit()]
    if len(indices) > gpus and named != '0':  # which scripts set for "one GPU, if there is any"
        raise OptionsError(f'CUDA_VISIBLE_DEVICES: found {named}, of which PyTorch finds {gpus} GPU(s); name those '
                           'that are there, or leave it empty to run on the CPU')
