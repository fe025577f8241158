"""Our `parse_options` for our models: it reads options files safely, and refuses a wrong one in one line."""
from __future__ import annotations

import argparse
import importlib
import os
import random
from typing import Any

import torch
from basicsr.utils.registry import MODEL_REGISTRY

from basicsr_kd import options
from basicsr_kd.errors import OptionsError
from basicsr_kd.options.parse import arguments, model_of, read_options
from basicsr_kd.options.sections import check_sections
from basicsr_kd.preflight.arguments import must_be_registered
from basicsr_kd.runs.distributed import refuse

_ROOTS = ('experiments_root', 'results_root')
_FOLDERS = (*_ROOTS, 'models', 'training_states', 'log', 'visualization')


def parse_ours(root_path: str, is_train: bool) -> tuple[dict[str, Any], argparse.Namespace] | None:
    """Read the options file of the command line as BasicSR's runners want it; None if it is not for one of our models.

    The result equals that of the installed BasicSR, with two differences: numbers on the command line that BasicSR
    reads as texts are numbers, and `--force_yml` may add sections. Starts the process group, as BasicSR does.

    Args:
        root_path: The folder of `experiments/` and `results/`.
        is_train: Whether `train.py` runs.
    """
    try:
        args = arguments()
        model = model_of(args)
        if options.our_model(model) is None:
            must_be_registered(model, MODEL_REGISTRY, 'model_type')
            return None
        opt = read_options(args)
        check_sections(opt, is_train)
        _must_leave_folders(opt['path'])
    except OptionsError as error:
        refuse(str(error))
    _start_processes(opt, args)
    seed = opt.get('manual_seed')
    if seed is None:
        seed = opt['manual_seed'] = random.randint(1, 10000)
    importlib.import_module('basicsr.utils').set_random_seed(seed + opt['rank'])
    opt['auto_resume'], opt['is_train'] = args.auto_resume, is_train
    if args.debug and not opt['name'].startswith('debug'):
        opt['name'] = 'debug_' + opt['name']
    if opt['num_gpu'] == 'auto':
        opt['num_gpu'] = torch.cuda.device_count()
    fill_sets(opt)
    for key, value in opt['path'].items():
        if value is not None and ('resume_state' in key or 'pretrain_network' in key):
            opt['path'][key] = os.path.expanduser(value)
    opt['path'].update(_folders(root_path, opt['path'], opt['name'], is_train))
    if is_train and 'debug' in opt['name']:
        opt.setdefault('logger', {}).update(print_freq=1, save_checkpoint_freq=8)
        if 'val' in opt:
            opt['val']['val_freq'] = 8
    return opt, args


def fill_sets(opt: dict[str, Any]) -> None:
    """Add what BasicSR adds to the sets of a file: their phase and scale, and the home folder for `~`."""
    for phase, dataset in opt['datasets'].items():
        dataset['phase'] = phase.split('_')[0]  # of val_1, val_2
        dataset['scale'] = opt['scale']
        for key in ('dataroot_gt', 'dataroot_lq'):
            if dataset.get(key) is not None:
                dataset[key] = os.path.expanduser(dataset[key])


def _start_processes(opt: dict[str, Any], args: argparse.Namespace) -> None:
    dist_util: Any = importlib.import_module('basicsr.utils.dist_util')
    opt['dist'] = args.launcher != 'none'
    if not opt['dist']:
        print('Disable distributed.', flush=True)
    else:
        dist_util.init_dist(args.launcher, **(opt.get('dist_params') or {} if args.launcher == 'slurm' else {}))
    opt['rank'], opt['world_size'] = dist_util.get_dist_info()


def _must_leave_folders(path: dict[str, Any]) -> None:
    """Raise an OptionsError for keys of `path` that a file cannot set."""
    given = [key for key in _FOLDERS if path.get(key) is not None and not (key in _ROOTS and _reads_roots())]
    if given:
        later = ' (BasicSR on GitHub reads it, the installed one does not)' if given[0] in _ROOTS else ''
        raise OptionsError(f'path.{given[0]}: found {path[given[0]]!r}, but BasicSR fills it in{later}. Leave it out.')


def _reads_roots() -> bool:
    """Whether BasicSR is newer than 1.4.2 and so reads the folders of runs; its version still says 1.4.2."""
    return hasattr(importlib.import_module('basicsr.utils.options'), 'yaml_load')


def _folders(root_path: str, path: dict[str, Any], name: str, is_train: bool) -> dict[str, str]:
    key, folder = ('experiments_root', 'experiments') if is_train else ('results_root', 'results')
    root = os.path.join(path.get(key) or os.path.join(root_path, folder), name)
    pictures = {'log': root, 'visualization': os.path.join(root, 'visualization')}
    if not is_train:
        return {'results_root': root, **pictures}
    return {'experiments_root': root, 'models': os.path.join(root, 'models'),
            'training_states': os.path.join(root, 'training_states'), **pictures}
