"""The main job through BasicSR's own commands: prune, distil, resume, test."""
from __future__ import annotations

import copy
import re
import shutil
from pathlib import Path
from typing import Any

import basicsr
import torch
from helpers.entry import run_python, write_options
from helpers.warm import run_warm
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

PARSED = ('dist', 'rank', 'world_size', 'is_train', 'auto_resume')  # what parse_options adds


def as_file(opt: dict[str, Any], path: Path, **changes: Any) -> Path:
    """Write options as a person would have."""
    opt = copy.deepcopy(opt) | changes
    opt = {key: value for key, value in opt.items() if key not in PARSED}
    return write_options(path, opt)


def run(root: Path, command: str, options: Path, *more: str, fresh: bool = False) -> str:
    """`fresh`: in a process that has imported nothing, and finds the BasicSR that `root` has."""
    arguments = f'basicsr/{command}.py', '-opt', options, *more
    result = run_python(*arguments, cwd=root, PYTHONPATH='./') if fresh else run_warm(*arguments, cwd=root)
    assert result.returncode == 0, result.stdout + result.stderr
    return result.stdout + result.stderr


def test_prune_distil_resume_and_test_in_an_unmodified_basicsr(kd_opt, teacher_file, image_pairs, tmp_path):
    root = tmp_path / 'BasicSR'
    shutil.copytree(Path(basicsr.__file__).parent, root / 'basicsr', ignore=shutil.ignore_patterns('__pycache__'))
    network_g = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 2, 'num_grow_ch': 4}
    training = {key: value for key, value in kd_opt['train'].items() if key != 'distill_opt'}
    pruning = {key: value for key, value in kd_opt.items() if key != 'teacher'} | {
        'name': 'prune', 'model_type': 'PruneGANModel', 'network_g': network_g, 'train': training,
        'prune': {'ratio': 0.3, 'round_to': 1}, 'path': {'pretrain_network_g': str(teacher_file)}}
    prune = as_file(pruning, tmp_path / 'prune.yml')
    output = run(root, 'train', prune)
    assert 'l_g_gan' in output and 'Pruned' in output
    pruned = root / 'experiments' / 'prune' / 'models'

    distilling = kd_opt | {'name': 'kd', 'teacher': {'path': 'experiments/prune/models/net_g_latest.pth'},
                           'path': {'pretrain_network_d': str(pruned / 'net_d_latest.pth')},
                           'logger': {'print_freq': 1, 'save_checkpoint_freq': 2, 'use_tb_logger': True}}
    distil = as_file(distilling, tmp_path / 'kd.yml')
    output = run(root, 'train', distil, fresh=True)
    terms = ('l_g_pix', 'l_g_gan', 'l_g_distill', 'l_g_distill_FeatureDistillLoss', 'l_d_real', 'l_d_fake')
    for term in terms:
        assert f'{term}: ' in output
    events = EventAccumulator(str(root / 'tb_logger' / 'kd')).Reload()
    assert {f'losses/{term}' for term in terms} <= set(events.Tags()['scalars'])
    models = root / 'experiments' / 'kd' / 'models'
    assert {'net_g_latest.pth', 'net_d_latest.pth', 'net_g_4.pth'} <= {path.name for path in models.iterdir()}
    state = torch.load(root / 'experiments' / 'kd' / 'training_states' / '4.state', weights_only=False)
    assert {'convs.0/conv_first.weight', 'convs.0/body/1.bias'} <= set(state['adapters'])

    distilling['train'] = kd_opt['train'] | {'total_iter': 5}
    output = run(root, 'train', as_file(distilling, tmp_path / 'kd.yml'), '--auto_resume')
    assert re.search(r'Resuming training from epoch: \d, iter: 4\.', output)
    assert not list((root / 'experiments').glob('kd_archived_*'))

    test = {key: kd_opt[key] for key in ('model_type', 'scale', 'num_gpu', 'val')} | {
        'name': 'test', 'datasets': {'test': kd_opt['datasets']['val']},
        'path': {'pretrain_network_g': str(models / 'net_g_latest.pth'), 'param_key_g': 'params_ema'}}
    shutil.rmtree(pruned)  # the teacher is not needed any more
    output = run(root, 'test', as_file(test, tmp_path / 'test.yml'))
    assert 'Network [RRDBNet] is created.' in output and '# psnr: ' in output


def test_two_processes_train_as_one_writes(kd_opt, tmp_path):
    """torchrun without a GPU: rank 0 prunes, inherits and saves, both train the same student."""
    root = tmp_path / 'BasicSR'
    shutil.copytree(Path(basicsr.__file__).parent, root / 'basicsr', ignore=shutil.ignore_patterns('__pycache__'))
    kd_opt['teacher']['prune'] = {'ratio': 0.3, 'round_to': 1}
    kd_opt['student'] = {'init': 'teacher'}
    kd_opt['train']['total_iter'] = 2
    options = as_file(kd_opt, tmp_path / 'kd.yml', name='kd')
    result = run_python('-m', 'torch.distributed.run', '--standalone', '--nproc_per_node=2', 'basicsr/train.py', '-opt',
                        options, '--launcher', 'pytorch', cwd=root)
    assert result.returncode == 0, result.stdout + result.stderr
    models = root / 'experiments' / 'kd' / 'models'
    assert {'teacher.pth', 'net_g_init.pth', 'net_g_latest.pth'} <= {path.name for path in models.iterdir()}
    saved = torch.load(models / 'net_g_latest.pth', weights_only=True)
    assert not any(name.startswith('module.') for name in saved['params'])


def test_a_run_that_diverges_ends_with_a_line_and_saves_nothing_broken(kd_opt, tmp_path):
    kd_opt['train']['optim_g']['lr'] = 100
    options = as_file(kd_opt | {'name': 'diverges', 'path': {}}, tmp_path / 'kd.yml')
    result = run_python('-m', 'basicsr_kd.train', '-opt', options, cwd=tmp_path)
    last = result.stderr.strip().splitlines()[-1]
    assert result.returncode == 1 and re.match(r'basicsr_kd: l_g_\w+ is (nan|inf) at iteration 2; training stops', last)
    assert not list((tmp_path / 'experiments' / 'diverges' / 'models').glob('net_g_*'))
