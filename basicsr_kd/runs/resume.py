"""Finds and loads the state that a run resumes from. Imports neither torch nor BasicSR before a state is loaded."""
from __future__ import annotations

import os
import pickle
import re
import sys
import zipfile
from collections.abc import Mapping
from typing import Any

from basicsr_kd.errors import ResumeError
from basicsr_kd.runs.distributed import warn

done = 0
"""The number of iterations that the run had done when this process resumed it."""

_NETWORK, _STATE = re.compile(r'net_g_(\d+)\.pth'), re.compile(r'(\d+)\.state')


def resumes(opt: Mapping[str, Any]) -> bool:
    """Whether this run resumes from a saved state; with `--auto_resume` only if one was saved already."""
    path = opt.get('path') or {}
    return bool(saved_iterations(path)) if opt.get('auto_resume') else bool(path.get('resume_state'))


def load_resume_state(opt: dict) -> dict | None:
    """Load the state; replaces BasicSR's function of this name in `basicsr.train` and the script `basicsr/train.py`.

    BasicSR's own function loads onto `torch.cuda.current_device()`, which fails without a GPU, and for `--auto_resume`
    it looks below the current directory, though BasicSR writes below its root path. Optimizers move their state to
    their parameters' device by themselves, so loading onto the CPU is right everywhere.

    It ends the process if the state cannot be used: starting anew would move the earlier run's folder away.

    Returns:
        The state, with `opt['path']` pointing to its networks; None to start anew.
    """
    global done
    try:
        state = _load_resume_state(opt)
    except ResumeError as error:
        print(f'basicsr_kd: {error}', file=sys.stderr)
        sys.exit(2)
    done = state['iter'] if state else 0
    return state


def _load_resume_state(opt: dict) -> dict | None:
    path = opt['path']
    if not opt['auto_resume']:
        return _load(path['resume_state'], opt) if path.get('resume_state') else None
    damaged: list[str] = []
    for iteration in saved_iterations(path):
        path['resume_state'] = os.path.join(path['training_states'], f'{iteration}.state')
        before = dict(path)
        try:
            state = _load(path['resume_state'], opt)
        except ResumeError as error:
            path.clear()
            path.update(before)
            damaged.append(str(error))
            continue
        for reason in damaged:
            warn(f'{reason} So this run goes on from iteration {iteration:,}')
        return state
    path['resume_state'] = None
    if damaged:
        raise ResumeError(f'{damaged[0]} No earlier set can be used either. To start anew, move '
                          f'{path["experiments_root"]} away.')
    networks = [name for name in _names(path.get('models', '')) if _NETWORK.fullmatch(name)]
    if networks:
        raise ResumeError(f'--auto_resume: {path["models"]} has networks ({networks[-1]}), and '
                          f'{path["training_states"]} no state to go on from. To start from its weights, copy the '
                          'network elsewhere and name it in path.pretrain_network_g; to start anew, leave '
                          '--auto_resume out.')
    return None


def _load(path: str, opt: dict) -> dict:
    """Load a state, and let `opt['path']` name its networks."""
    import torch
    from basicsr.utils import check_resume
    if not os.path.isfile(path):
        raise ResumeError(f'path.resume_state: there is no file {path}.')
    try:
        state = torch.load(path, map_location='cpu', weights_only=True)
        iteration = state['iter']
    except Exception as error:
        reason = f'{type(error).__name__}: {error}'.splitlines()[0]
        if isinstance(error, pickle.UnpicklingError) and 'Weights only load failed' in reason:
            raise ResumeError(f'{path} holds Python objects besides tensors and numbers, which could run code and are '
                              'not loaded.') from error
        raise ResumeError(f'{path} is damaged or no training state ({reason}).') from error
    check_resume(opt, iteration)
    for key, network in opt['path'].items():
        if key.startswith('pretrain_network') and network:
            if not os.path.isfile(network):
                raise ResumeError(f'{path} belongs to iteration {iteration}, but its network {network} is not there '
                                  f'(path.{key}).')
            if not zipfile.is_zipfile(network):  # truncated: the list of contents is at the end of torch.save's files
                raise ResumeError(f'{path} belongs to iteration {iteration}, but its network {network} is damaged '
                                  f'(path.{key}).')
    return state


def saved_iterations(path: Mapping[str, Any]) -> list[int]:
    """The iterations for which a run has a state and a generator, the newest first; other files are not read.

    Args:
        path: The section `path` of the run's options.
    """
    generators = {int(match[1]) for name in _names(path.get('models', '')) if (match := _NETWORK.fullmatch(name))}
    states = {int(match[1]) for name in _names(path.get('training_states', '')) if (match := _STATE.fullmatch(name))}
    return sorted(states & generators, reverse=True)


def _names(folder: str) -> list[str]:
    return sorted(os.listdir(folder)) if os.path.isdir(folder) else []
