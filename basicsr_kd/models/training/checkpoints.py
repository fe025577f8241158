"""Loading and saving of our models: plain tensors, no half-written files, states with all that a resumed run needs."""
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
    """Reads and writes BasicSR's files with more care; to be put before SRGANModel among the bases."""

    def __init__(self, opt: dict[str, Any]) -> None:
        self.random_states: list[Any] = []  # of all ranks, at the time of saving
        self.error = ''  # why the run must save and end
        self.to_restore: dict[str, Any] | None = None
        if not opt['is_train']:  # as in validation: EMA if the file has it; BasicSR would take `params`
            opt['path'].setdefault('param_key_g', None)
        self.sections = {name: json.dumps(opt.get(name)) for name in _SECTIONS}
        super().__init__(opt)

    def load_network(self, net: nn.Module, load_path: str, strict: bool = True,
                     param_key: str | None = 'params') -> None:
        """Load a `.pth`, a `.safetensors` or ncnn's `.param`; old ESRGAN keys and `module.` are understood.

        Raises:
            CheckpointError: The file is missing or is no checkpoint.
        """
        net = self.get_bare_model(net)
        which, state = read_named(load_path, param_key)
        get_root_logger().info(f'Loading {type(net).__name__} from {load_path}{which and f", {which}"}.')
        self._print_different_keys_loading(net, state, strict)
        net.load_state_dict(state, strict=strict)

    @master_only
    def save_network(self, net: Any, net_label: str, current_iter: int, param_key: Any = 'params') -> None:
        """Write `net_label_<iter>.pth` with plain tensors; unlike BasicSR, never half a file."""
        nets, keys = (net, param_key) if isinstance(net, list) else ([net], [param_key])
        states = {key: self.get_bare_model(one).state_dict() for one, key in zip(nets, keys, strict=True)}
        write_checkpoint(self.checkpoint_path(net_label, current_iter), **states)

    def checkpoint_path(self, net_label: str, current_iter: int) -> str:
        label = 'latest' if current_iter == -1 else current_iter
        return os.path.join(self.opt['path']['models'], f'{net_label}_{label}.pth')

    @master_only
    def save_training_state(self, epoch: int, current_iter: int) -> None:
        """Write `<iter>.state`: BasicSR's state of optimizers and schedulers, and `further_state()`."""
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

        When a new set of files is complete, old sets beyond `logger.keep_last` are removed. An error of the disk is
        one line, and files saved before stay; with `logger.on_save_error: continue` the run trains on.

        Raises:
            TrainingError: The files cannot be saved, and `logger.on_save_error` is `stop`.
        """
        logger, folder = self.opt['logger'], self.opt['path']['models']
        self.random_states = from_all_ranks(random_state())
        try:
            yield
        except (OSError, RuntimeError) as error:
            found = error if isinstance(error, OSError) else error.__context__  # PyTorch's writer hides the OSError
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
            TrainingError: An error ends the run, not a signal.
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
        """Go on from a `.state` file as if the run had not ended. Pruned or inherited networks stay as they were.

        Changed options are named in the log and take effect: learning rates are those that they give at this iteration.

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
        """The numbers that decide the order of images and the random numbers of this run."""
        return {**order.current, 'processes': self.opt['world_size']}

    def _replay_learning_rates(self, iterations: int) -> None:
        with warnings.catch_warnings():
            warnings.simplefilter('ignore', UserWarning)  # PyTorch's, about schedulers ahead of their optimizer
            for iteration in range(1, iterations + 1):
                self.update_learning_rate(iteration, self.opt['train'].get('warmup_iter', -1))

    def _find_place(self, resume_state: dict[str, Any]) -> None:
        """Set the epoch, which BasicSR reads from the state, and keep the random numbers for the first iteration."""
        if order.current:
            resume_state['epoch'] = resume_state['iter'] // order.current['iterations in an epoch']
        reason = why_not_the_same(resume_state.get('order'), self.order())
        if reason:
            get_root_logger().warning('This run goes on, but not bit for bit as if it had not ended, since '
                                      f'{reason}.')
        else:
            self.to_restore = resume_state['random_states'][self.opt['rank']]

    def update_learning_rate(self, current_iter: int, warmup_iter: int = -1) -> None:
        """Also restore random numbers: this is called before each iteration, after the loader has begun its epoch."""
        if self.to_restore:
            set_random_state(self.to_restore)
            self.to_restore = None
        super().update_learning_rate(current_iter, warmup_iter)

    def further_state(self) -> dict[str, Any]:
        """What a subclass also needs in the state to go on."""
        return {}


def _settings(group: Mapping[str, Any]) -> dict[str, Any]:
    """The settings of a group of parameters, without the parameters."""
    return {key: value for key, value in group.items() if key != 'params'}


def files_of_set(path: Mapping[str, Any], iteration: int) -> list[str]:
    """The files of an iteration that exist: its state, and its networks in `path.models` with the files beside them.

    The state comes first, so that a set that is half removed no longer counts as one.
    """
    networks = glob.glob(os.path.join(glob.escape(path['models']), f'net_*_{iteration}.*'))
    state = os.path.join(path['training_states'], f'{iteration}.state')
    return [*([state] if os.path.isfile(state) else []), *sorted(networks)]


def remove_old_sets(path: Mapping[str, Any], keep: int) -> None:
    """Remove all sets except the newest `keep`."""
    for iteration in saved_iterations(path)[keep:]:
        for file in files_of_set(path, iteration):
            os.remove(file)
