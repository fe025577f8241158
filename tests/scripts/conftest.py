"""What the tests of `scripts/ablation.py` share."""
from pathlib import Path

import pytest
import yaml
from helpers.networks import STUDENT
from studies.ablation import evaluate

from basicsr_kd.errors import BackboneError


@pytest.fixture
def no_lpips(monkeypatch):
    """LPIPS cannot have its weights."""
    def lpips_network(**kwargs):
        raise BackboneError('no network in tests')
    monkeypatch.setattr(evaluate, 'lpips_network', lpips_network)


@pytest.fixture
def study_file(tmp_path, teacher_file):
    """A study of two tiny arms; call it with changes."""
    def write(**changes) -> Path:
        content = {
            'base': 'options/demo_kd_s16.yml', 'teacher': str(teacher_file), 'seeds': [0], 'held_out': 1,
            'sub_size': 128, 'curve_points': 2,
            'set': {'network_g': STUDENT, 'network_d': {'num_feat': 2}, 'teacher': {'path': '{teacher}'},
                    'student': None, 'path.pretrain_network_d': None, 'val': None,
                    'datasets': {'val': None, 'train': {'dataroot_gt': '{data}/train/HR', 'batch_size_per_gpu': 1,
                                                        'dataroot_lq': '{data}/train/LRx4', 'num_worker_per_gpu': 0}},
                    'train.total_iter': 2, 'logger': {'print_freq': 1, 'use_tb_logger': False}},
            'arms': {'kd': {'note': 'distilled'}, 'plain': {'set': {'teacher': None, 'train.distill_opt': None}}},
            'groups': {'All': ['plain', 'kd']}, **changes}
        path = tmp_path / 'study.yml'
        path.write_text(yaml.safe_dump(content, sort_keys=False))
        return path
    return write
