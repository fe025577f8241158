"""From which state a run goes on. Imports neither torch nor BasicSR before a state is loaded."""
from __future__ import annotations

import os
import pickle
import sys
from typing import Any

from basicsr_kd.errors import ResumeError


def resumes(opt: dict[str, Any]) -> bool:
    """Whether this run goes on from a saved state; with `--auto_resume` only where one was saved already."""
    path = opt.get('path') or {}
    if opt.get('auto_resume'):
        return latest_state(path.get('training_states', '')) is not None
    return bool(path.get('resume_state'))


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
