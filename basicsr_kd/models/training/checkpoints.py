"""How our models load and save: plain tensors, whole files, states that know what else they need."""
from __future__ import annotations

import json
import os
from typing import Any

from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from torch import nn

from basicsr_kd.checkpoint import atomic_save, read_state_dict, write_checkpoint
from basicsr_kd.errors import CheckpointError

_SECTIONS = ('teacher', 'student', 'prune')


class Checkpoints(BaseModel):
    """BasicSR's files, read and written with more care; comes before SRGANModel among the bases."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.sections = {name: json.dumps(opt.get(name)) for name in _SECTIONS}
        super().__init__(opt)

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True,
                     param_key: str | None = 'params') -> None:
        """Load a `.pth` or `.safetensors` file; old ESRGAN keys and `module.` are understood.

        Raises:
            CheckpointError: The file is missing or no checkpoint.
        """
        net = self.get_bare_model(net)
        state = read_state_dict(load_path, param_key)
        get_root_logger().info(f'Loading {type(net).__name__} from {load_path}.')
        self._print_different_keys_loading(net, state, strict)
        net.load_state_dict(state, strict=strict)

    @master_only
    def save_network(self, net: Any, net_label: str, current_iter: int, param_key: Any = 'params') -> None:
        """Write `net_label_<iter>.pth` of plain tensors; unlike BasicSR's, never half a file."""
        nets, keys = (net, param_key) if isinstance(net, list) else ([net], [param_key])
        states = {key: self.get_bare_model(one).state_dict() for one, key in zip(nets, keys, strict=True)}
        write_checkpoint(self.checkpoint_path(net_label, current_iter), **states)

    def checkpoint_path(self, net_label: str, current_iter: int) -> str:
        label = 'latest' if current_iter == -1 else current_iter
        return os.path.join(self.opt['path']['models'], f'{net_label}_{label}.pth')

    @master_only
    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Write `<iter>.state`: what BasicSR keeps of optimizers and schedulers, and `further_state()`."""
        if current_iter == -1:
            return
        state = {
            'epoch': epoch,
            'iter': current_iter,
            'optimizers': [optimizer.state_dict() for optimizer in self.optimizers],
            'schedulers': [scheduler.state_dict() for scheduler in self.schedulers],
            'sections': self.sections,
            **self.further_state()
        }
        atomic_save(state, os.path.join(self.opt['path']['training_states'], f'{current_iter}.state'))

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Go on from a `.state` file: optimizers and schedulers. What was pruned or inherited stays as it was.

        Raises:
            CheckpointError: The state is that of a run with other networks or losses.
        """
        saved = resume_state.get('sections', self.sections)
        for section in (name for name in _SECTIONS if saved[name] != self.sections[name]):
            get_root_logger().warning(f'{section}: was {saved[section]} when this run was saved and is '
                                      f'{self.sections[section]} now; networks already made from it stay as they are.')
        try:
            super().resume_training(resume_state)
        except (AssertionError, ValueError, KeyError) as error:
            raise CheckpointError('The state to resume does not fit these options; was it saved with other networks, '
                                  f'losses or distilled layers? ({error})') from None

    def further_state(self) -> dict[str, Any]:
        """What a subclass needs besides to go on."""
        return {}
