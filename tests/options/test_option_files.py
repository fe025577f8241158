"""Every YAML file in options/: sections validated, networks built at real size, files and layers checked."""
from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.archs import build_network
from basicsr.utils.options import ordered_yaml
from basicsr.utils.registry import ARCH_REGISTRY, DATASET_REGISTRY, MODEL_REGISTRY
from helpers.realesrgan import PHOTOS, SYNTHESIS
from helpers.video import write_clip

from basicsr_kd import options, preflight
from basicsr_kd.archs.build import registered
from basicsr_kd.options.prune import prune_steps
from basicsr_kd.preflight import networks
from basicsr_kd.pruning import prune

FOLDER = Path(__file__).resolve().parents[2] / 'options'
FILES = sorted(path.name for path in FOLDER.glob('*.yml'))
PARAMETERS = {'kd_esrgan_s16.yml': 6_538_115, 'kd_esrgan_s32.yml': 9_588_355, 'kd_esrgan_s48.yml': 12_974_979,
              'kd_esrgan_s16_best.yml': 6_538_115, 'kd_esrgan_s32_best.yml': 9_588_355,
              'kd_esrgan_s48_best.yml': 12_974_979, 'demo_kd_s16.yml': 321_923, 'train_demo_teacher.yml': 578_755,
              'train_rrdb_psnr.yml': 16_697_987, 'kd_realesrgan_s16b6.yml': 1_713_107,
              'kd_realesrgan_compact.yml': 621_424}
ESRGAN = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3}
DEMO = {**ESRGAN, 'num_feat': 32, 'num_block': 3, 'num_grow_ch': 16}


def read(name: str) -> dict[str, Any]:
    with open(FOLDER / name, encoding='ascii') as file:  # BasicSR opens them in the machine's own encoding
        opt = yaml.load(file, Loader=ordered_yaml()[0])
    is_train = 'train' in opt
    opt.update(num_gpu=0, dist=False, rank=0, world_size=1, is_train=is_train, auto_resume=False)
    for phase, dataset in opt['datasets'].items():  # as BasicSR's parse_options
        dataset.update(phase=phase.split('_')[0], scale=opt['scale'])
    opt['path'].update(experiments_root=f'experiments/{opt["name"]}', models=f'experiments/{opt["name"]}/models')
    return opt


@pytest.fixture(scope='module')
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with every file that the options name: real sizes, random weights, 16 grey images a set."""
    root = tmp_path_factory.mktemp('root')
    saved: dict[str, Path] = {}
    for path, kind in (named for name in FILES for named in _named_files(read(name)).items()):
        target = root / path
        target.parent.mkdir(parents=True, exist_ok=True)
        if kind in saved:
            if not target.exists():
                shutil.copy(saved[kind], target)
            continue
        network = {'g': ESRGAN, 'demo g': DEMO, 'd': {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 64},
                   'demo d': {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 8},
                   'compact g': {'type': 'SRVGGNetCompact', 'num_conv': 32},
                   'u-net d': {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3},
                   'clip g': {'type': 'FRNet'}, 'clip d': {'type': 'SpatioTemporalDiscriminator'}}[kind]
        torch.save({'params': build_network(network).state_dict()}, target)
        saved[kind] = target
    for dataset in (dataset for name in FILES for dataset in read(name)['datasets'].values()):
        if dataset['type'].startswith('TecoGAN'):
            if not (root / dataset['dataroot_gt']).exists():
                write_clip(root / dataset['dataroot_gt'] / '001', 2, seed=0, side=144)
            continue
        for key, side in (('dataroot_gt', 256), ('dataroot_lq', 64)):
            if key not in dataset:
                continue
            folder = root / dataset[key]
            folder.mkdir(parents=True, exist_ok=True)
            for index in range(16):
                cv2.imwrite(str(folder / f'{index}.png'), np.full((side, side, 3), 128, np.uint8))
        if 'meta_info_file' in dataset:
            (root / dataset['meta_info_file']).write_text('0.png\n1.png\n')
    return root


def _named_files(opt: dict[str, Any]) -> dict[str, str]:
    """The checkpoints that an options file names, and which kind of network each holds."""
    named = {opt['path'].get('pretrain_network_g'): 'g', opt['path'].get('pretrain_network_d'): 'd',
             (opt.get('teacher') or {}).get('path'): 'g'}
    kinds = {'demo': 'demo ', 'realesr-general': 'compact ', '_netD': 'u-net '}
    clips = 'clip ' if opt['model_type'] == 'TecoGANModel' else ''
    return {path: next((kinds[word] for word in kinds if word in path), clips) + kind
            for path, kind in named.items() if path}


@pytest.mark.parametrize('name', FILES)
def test_the_file_is_good(name, root, monkeypatch):
    monkeypatch.chdir(root)
    monkeypatch.setattr('torch.hub.load_state_dict_from_url', lambda *args, **kwargs: {})  # VGG19's
    opt = read(name)
    assert opt['name'] == Path(name).stem
    assert opt['model_type'] in MODEL_REGISTRY
    assert all(registered(dataset['type'], DATASET_REGISTRY) for dataset in opt['datasets'].values())
    if opt['model_type'] in options.OUR_MODELS:
        assert options.validate(opt, opt['is_train']) == []
        preflight.check(opt)
    else:
        for key in ('network_g', 'network_d'):
            if key in opt:
                networks.check_arguments(opt[key], ARCH_REGISTRY, key)
    if name in PARAMETERS:
        with torch.device('meta'):
            assert sum(p.numel() for p in build_network(opt['network_g']).parameters()) == PARAMETERS[name]


def test_the_papers_files_are_all_there():
    papers = {'frvsr_b10', 'tecogan_b10', 'test_tecogan', *(f'prune_tecogan_b{keep}' for keep in (9, 7, 5, 3, 1)),
              'train_rrdb_psnr', 'train_esrgan_teacher', 'prune_esrgan_r30', 'prune_esrgan_r50', 'prune_esrgan_r80',
              'prune_esrgan_r30_blocks', 'prune_esrgan_r30_unstructured', 'kd_esrgan_s16', 'kd_esrgan_s32',
              'kd_esrgan_s48', 'test_esrgan'}
    assert papers | {'train_demo_teacher', 'demo_prune', 'demo_kd_s16', 'demo_test'} <= {Path(f).stem for f in FILES}


def test_fid_of_small_sets_has_kid_beside_it():
    types = {metric['type'] for metric in read('test_esrgan.yml')['val']['metrics'].values()}
    assert {'calculate_fid', 'calculate_kid'} <= types


def test_real_esrgans_own_keys_are_alike_in_all_of_its_files():
    files = [read(name) for name in FILES if 'realesrgan' in name]
    own = [{key: opt[key] for key in (*SYNTHESIS, 'gt_size', 'queue_size', 'l1_gt_usm', 'percep_gt_usm', 'gan_gt_usm')}
           for opt in files]
    assert len(files) == 3 and own[0] == own[1] == own[2]
    assert {key: own[0][key] for key in SYNTHESIS} == SYNTHESIS  # the numbers of Real-ESRGAN's options files
    assert all({key: opt['datasets']['train'][key] for key in PHOTOS} == PHOTOS for opt in files)


@pytest.mark.parametrize(('name', 'parameters'), [
    ('prune_tecogan_b9.yml', 2_515_237), ('prune_tecogan_b7.yml', 2_367_525), ('prune_tecogan_b5.yml', 2_219_813),
    ('prune_tecogan_b3.yml', 2_072_101), ('prune_tecogan_b1.yml', 1_924_389), ('prune_tecogan_half.yml', 1_336_621)])
def test_pruning_tecogan_leaves_what_the_file_says(name, parameters):
    opt = read(name)
    assert f'{parameters:,}' in (FOLDER / name).read_text() and opt['train']['total_iter'] == 300_000
    assert options.validate(opt, True) == []
    net = build_network(opt['network_g'])
    for step in prune_steps(opt['prune']):
        net = prune(net, **step.arguments()).network
    assert sum(p.numel() for p in net.parameters()) == parameters


@pytest.mark.parametrize('name', ['kd_esrgan_s16.yml', 'kd_esrgan_s32.yml', 'kd_esrgan_s48.yml'])
def test_the_students_are_trained_as_in_the_paper(name):
    opt = read(name)
    train = opt['train']
    assert opt['student'] == {'init': 'random'} and train['total_iter'] == 100_000
    assert 'perceptual_opt' not in train and train['relativistic'] is False
    assert train['gan_opt']['gan_type'] == 'vanilla' and train['distill_opt']['type'] == 'FeatureDistillLoss'
