"""What BasicSR (1.4.2 and master) needs on today's stack. Each shim names the problem of BasicSR it answers."""

import functools
import importlib
import os
import pickle
import sys
from types import ModuleType
from typing import Any

from basicsr_kd import launchers


class ResumeError(Exception):
    """The training state to resume from is missing, cannot be read, or lacks its networks."""


def prepare_import() -> None:
    """Provides the modules that BasicSR imports and that are gone; to be called before its own `__init__` runs."""
    _provide_functional_tensor()
    _provide_distutils()


def _provide_functional_tensor() -> None:
    """torchvision 0.17 removed `transforms.functional_tensor`, which `basicsr/data/degradations.py` imports.

    PyPI's BasicSR 1.4.2 cannot be imported without (BasicSR issue 663). One function is wanted, public elsewhere.
    """
    name = 'torchvision.transforms.functional_tensor'
    try:
        importlib.import_module(name)
    except ModuleNotFoundError:
        from torchvision.transforms.functional import rgb_to_grayscale
        module = ModuleType(name, 'Stand-in by basicsr_kd for a module that torchvision 0.17 removed.')
        module.rgb_to_grayscale = rgb_to_grayscale  # type: ignore[attr-defined]
        sys.modules[name] = module


def _provide_distutils() -> None:
    """Python 3.12 removed `distutils`, which `basicsr/archs/arch_util.py` imports; setuptools brings its own."""
    try:
        importlib.import_module('distutils.version')
    except ModuleNotFoundError:
        importlib.import_module('setuptools')


def patch_basicsr() -> None:
    """Puts the shims below into BasicSR; a second call changes nothing."""
    import basicsr.train
    from basicsr.models.base_model import BaseModel
    from basicsr.utils import dist_util

    basicsr.train.load_resume_state = load_resume_state
    dist_util._init_dist_pytorch = launchers.start_under_torchrun
    dist_util._init_dist_slurm = launchers.start_under_slurm
    if not hasattr(BaseModel.model_to_device, '__wrapped__'):
        BaseModel.model_to_device = _model_to_any_device(BaseModel.model_to_device)


def _model_to_any_device(model_to_device: Any) -> Any:
    """BasicSR wraps every network in DDP with `device_ids=[torch.cuda.current_device()]`, which a CPU does not have."""

    @functools.wraps(model_to_device)
    def wrapper(self: Any, net: Any) -> Any:
        if not self.opt['dist'] or self.device.type != 'cpu':
            return model_to_device(self, net)
        from torch.nn.parallel import DistributedDataParallel
        unused = self.opt.get('find_unused_parameters', False)
        return DistributedDataParallel(net.to(self.device), find_unused_parameters=unused)

    return wrapper


def load_resume_state(opt: dict) -> dict | None:
    """Replaces BasicSR's function of that name in `basicsr.train` and in a `basicsr/train.py` run as a script.

    BasicSR's own loads onto `torch.cuda.current_device()`, which fails without a GPU, and for `--auto_resume` it looks
    below the current directory, while it writes below its root path. Optimizers move their state to their parameters'
    device by themselves, so the CPU is right everywhere.

    Returns:
        The state, `opt['path']` then points to its networks; None to start anew. Ends the process where the state
        cannot be used: starting anew would move the earlier run's folder away.
    """
    try:
        return _load_resume_state(opt)
    except ResumeError as error:
        print(f'basicsr_kd: {error}', file=sys.stderr)
        sys.exit(2)


def _load_resume_state(opt: dict) -> dict | None:
    import torch
    from basicsr.utils import check_resume

    if opt['auto_resume']:
        opt['path']['resume_state'] = latest_state(opt['path']['training_states'])
    path = opt['path'].get('resume_state')
    if not path:
        return None
    if not os.path.isfile(path):
        raise ResumeError(f'path.resume_state: there is no file {path}')
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
        iteration = state['iter']
    except Exception as error:
        reason = f'{type(error).__name__}: {error}'.splitlines()[0]
        if isinstance(error, pickle.UnpicklingError) and 'Weights only load failed' in reason:
            raise ResumeError(f'{path} holds Python objects besides tensors and numbers, which could run code and are '
                              'not loaded') from error
        raise ResumeError(f'{path} is damaged or no training state ({reason}). To resume from the one before, move it '
                          'away.') from error
    check_resume(opt, iteration)
    for key, network in opt['path'].items():
        if key.startswith('pretrain_network') and network and not os.path.isfile(network):
            raise ResumeError(f'{path} belongs to iteration {iteration}, but its network {network} is not there '
                              f'(path.{key})')
    return state


def latest_state(folder: str) -> str | None:
    """The `<iteration>.state` with the highest iteration; other files there are not ours to read."""
    names = os.listdir(folder) if os.path.isdir(folder) else []
    iterations = [int(name[:-len('.state')]) for name in names
                  if name.endswith('.state') and name[:-len('.state')].isdigit()]
    return os.path.join(folder, f'{max(iterations)}.state') if iterations else None
