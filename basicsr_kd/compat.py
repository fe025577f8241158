"""Shims that BasicSR (1.4.2 and master) needs with today's packages. Each shim names the problem that it solves."""
import functools
import importlib
import sys
from types import ModuleType
from typing import Any

from basicsr_kd.runs import distributed
from basicsr_kd.runs.resume import load_resume_state


def prepare_import() -> None:
    """Provides modules that BasicSR imports and that no longer exist; to be called before its own `__init__` runs."""
    _provide_functional_tensor()
    _provide_distutils()


def _provide_functional_tensor() -> None:
    """Provides `transforms.functional_tensor`, gone since torchvision 0.17, which BasicSR's degradations.py imports.

    PyPI's BasicSR 1.4.2 cannot be imported without it (BasicSR issue 663). One function is used, public elsewhere.
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
    """Provides `distutils`, gone since Python 3.12, which BasicSR's arch_util.py imports; setuptools has its own."""
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
    dist_util._init_dist_pytorch = distributed.start_under_torchrun
    dist_util._init_dist_slurm = distributed.start_under_slurm
    if not hasattr(BaseModel.model_to_device, '__wrapped__'):
        BaseModel.model_to_device = _model_to_any_device(BaseModel.model_to_device)


def _model_to_any_device(model_to_device: Any) -> Any:
    """Wraps networks in DDP on a CPU without `device_ids`; BasicSR's `[torch.cuda.current_device()]` fails there."""

    @functools.wraps(model_to_device)
    def wrapper(self: Any, net: Any) -> Any:
        if not self.opt['dist'] or self.device.type != 'cpu':
            return model_to_device(self, net)
        from torch.nn.parallel import DistributedDataParallel
        unused = self.opt.get('find_unused_parameters', False)
        return DistributedDataParallel(net.to(self.device), find_unused_parameters=unused)

    return wrapper
