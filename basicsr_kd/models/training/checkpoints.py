"""How our models load and save: plain tensors, whole files, states that know what else they need."""
from __future__ import annotations

import glob
import json
import os
import signal
import warnings
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from basicsr.models.base_model import BaseModel
from basicsr.utils import get_root_logger
from basicsr.utils.dist_util import master_only
from torch import nn

from basicsr_kd.checkpoint import atomic_save, read_named, write_checkpoint
from basicsr_kd.data import order
from basicsr_kd.data.seeds import random_state, set_random_state
from basicsr_kd.errors import CheckpointError, TrainingError
from basicsr_kd.runs import signals
from basicsr_kd.runs.changes import changed_options, why_not_the_same
from basicsr_kd.runs.distributed import from_all_ranks
from basicsr_kd.runs.resume import saved_iterations

_SECTIONS = ('teacher', 'student', 'prune')


class Checkpoints(BaseModel):
    """BasicSR's files, read and written with more care; comes before SRGANModel among the bases."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.random_states: list[Any] = []  # of all ranks, when they are saved
        self.error = ''  # for which the run is to save and end
        self.to_restore: dict[str, Any] | None = None
        if not opt['is_train']:  # as in validation: the average where the file has one; BasicSR would take `params`
            opt['path'].setdefault('param_key_g', None)
        self.sections = {name: json.dumps(opt.get(name)) for name in _SECTIONS}
        super().__init__(opt)

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True,
                     param_key: str | None = 'params') -> None:
        """Load a `.pth`, `.safetensors` or ncnn's `.param`; old ESRGAN keys and `module.` are understood.

        Raises:
            CheckpointError: The file is missing or no checkpoint.
        """
        net = self.get_bare_model(net)
        which, state = read_named(load_path, param_key)
        get_root_logger().info(f'Loading {type(net).__name__} from {load_path}{which and f", {which}"}.')
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
            'networks': sorted(os.path.basename(path) for path in files_of_set(self.opt['path'], current_iter)
                               if path.endswith('.pth')),
            'options': json.dumps(self.opt, default=str),
            'order': self.order(),
            'random_states': self.random_states,
            **self.further_state()
        }
        atomic_save(state, os.path.join(self.opt['path']['training_states'], f'{current_iter}.state'))

    @contextmanager
    def saving(self, current_iter: int) -> Iterator[None]:
        """A context in which networks and state of an iteration are written, the state last.

        Sets over `logger.keep_last` go when a new one is complete. A disk that takes no more is one line, and what is
        there stays; `logger.on_save_error: continue` trains on.

        Raises:
            TrainingError: It cannot be saved, and the run is not to go on all the same.
        """
        logger, folder = self.opt['logger'], self.opt['path']['models']
        self.random_states = from_all_ranks(random_state())
        try:
            yield
        except (OSError, RuntimeError) as error:
            found = error if isinstance(error, OSError) else error.__context__  # which PyTorch's writer hides
            if not isinstance(found, OSError):
                raise
            said = (f'iteration {current_iter} cannot be saved in {folder} ({found.strerror or found}); what '
                    'was saved before stays')
            if logger['on_save_error'] == 'stop':
                raise TrainingError(f'{said}. Make room, and go on with --auto_resume.') from error
            get_root_logger().error(f'{said}; training goes on (logger.on_save_error: continue).')
            return
        if logger['keep_last'] and current_iter != -1 and self.opt['rank'] == 0:
            remove_old_sets(self.opt['path'], logger['keep_last'])

    def end_run(self, number: int, current_iter: int) -> None:
        """Save, and end the process with the status of a signal.

        Raises:
            TrainingError: It is no signal that ends it.
        """
        if number == signals.ERROR:
            self.save(signals.epoch, current_iter)
            raise TrainingError(f'{self.error or "Another process of this run cannot go on; it says why."} Iteration '
                                f'{current_iter:,} is saved; --auto_resume goes on.')
        name = signal.Signals(number).name
        get_root_logger().info(f'Ending at iteration {current_iter:,} for {name}; --auto_resume goes on.')
        self.save(signals.epoch, current_iter)
        raise SystemExit(128 + number)

    def resume_training(self, resume_state: dict[str, Any]) -> None:
        """Go on from a `.state` file as if the run had not ended. What was pruned or inherited stays as it was.

        Options that were changed are told and count: learning rates are what they give at this iteration.

        Raises:
            CheckpointError: The state is that of a run with other networks or losses.
        """
        logger = get_root_logger()
        saved = resume_state.get('sections', self.sections)
        for section in (name for name in _SECTIONS if saved[name] != self.sections[name]):
            logger.warning(f'{section}: was {saved[section]} when this run was saved and is {self.sections[section]} '
                           'now; networks already made from it stay as they are.')
        for change in changed_options(resume_state.get('options'), self.opt, _SECTIONS):
            logger.warning(change)
        settings = [[_settings(group) for group in optimizer.param_groups] for optimizer in self.optimizers]
        fresh = [scheduler.state_dict() for scheduler in self.schedulers]
        try:
            super().resume_training({**resume_state, 'schedulers': fresh})
        except (AssertionError, ValueError, KeyError) as error:
            raise CheckpointError('The state to resume does not fit these options; was it saved with other networks, '
                                  f'losses or distilled layers? ({error})') from None
        for optimizer, groups in zip(self.optimizers, settings, strict=True):
            for group, own in zip(optimizer.param_groups, groups, strict=True):
                group.update(own)
        self._replay_learning_rates(resume_state['iter'])
        self._find_place(resume_state)

    def order(self) -> dict[str, int]:
        """What decides upon the images of this run and its random numbers."""
        return {**order.current, 'processes': self.opt['world_size']}

    def _replay_learning_rates(self, iterations: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', UserWarning)  # PyTorch's, of schedulers ahead of their optimizer
            for iteration in range(1, iterations + 1):
                self.update_learning_rate(iteration, self.opt['train'].get('warmup_iter', -1))

    def _find_place(self, resume_state: dict[str, Any]) -> None:
        """The epoch, which BasicSR reads from the state, and the random numbers, which come with the first batch."""
        if order.current:
            resume_state['epoch'] = resume_state['iter'] // order.current['iterations in an epoch']
        reason = why_not_the_same(resume_state.get('order'), self.order())
        if reason:
            get_root_logger().warning('This run goes on, but not bit for bit as if it had not ended, since '
                                      f'{reason}.')
        else:
            self.to_restore = resume_state['random_states'][self.opt['rank']]

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Before each iteration, and after the loader has begun its epoch: random numbers go on from here."""
        if self.to_restore:
            set_random_state(self.to_restore)
            self.to_restore = None
        super().update_learning_rate(current_iter, warmup_iter)

    def further_state(self) -> dict[str, Any]:
        """What a subclass needs besides to go on."""
        return {}


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    """What options say of a group of parameters."""
    return {key: value for key, value in group.items() if key != 'params'}


def files_of_set(path: Mapping[str, Any], iteration: int) -> list[str]:
    """The networks of an iteration in `path.models`, with what lies beside them, and its state; those that are there.

    The state comes first, so that a set that is half removed is none.
    """
    networks = glob.glob(os.path.join(glob.escape(path['models']), f'net_*_{iteration}.*'))
    state = os.path.join(path['training_states'], f'{iteration}.state')
    return [*([state] if os.path.isfile(state) else []), *sorted(networks)]


def remove_old_sets(path: Mapping[str, Any], keep: int) -> None:
    """Remove all sets but the newest so many."""
    for iteration in saved_iterations(path)[keep:]:
        for file in files_of_set(path, iteration):
            os.remove(file)
