"""The demo's teacher and discriminator: what travels with the package is what its note says."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.archs import build_network
from basicsr.metrics import calculate_psnr
from basicsr.utils import img2tensor, tensor2img

import basicsr_kd
from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.checkpoint import read_state_dict

FOLDER = Path(basicsr_kd.__file__).parent / 'weights'
BICUBIC = {'Set5': 28.43, 'Set14': 26.09}
TEACHER = {'Set5': 30.46, 'Set14': 27.58}


def test_they_are_small_and_in_half_precision():
    files = sorted(FOLDER.glob('*.pth'))
    assert [file.name for file in files] == ['demo_teacher.pth', 'demo_teacher_netD.pth']
    assert sum(file.stat().st_size for file in files) < 2e6
    for file in files:
        floats = [t for t in torch.load(file, weights_only=True)['params'].values() if t.is_floating_point()]
        assert {tensor.dtype for tensor in floats} == {torch.float16}


def test_they_are_the_networks_of_the_demo():
    assert sum(p.numel() for p in build_from_file(str(FOLDER / 'demo_teacher.pth')).parameters()) == 578_755
    net_d = build_network({'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 8})
    net_d.load_state_dict(read_state_dict(FOLDER / 'demo_teacher_netD.pth'))
    assert sum(p.numel() for p in net_d.parameters()) == 317_177


@pytest.mark.parametrize('name', ['Set5', 'Set14'])
def test_the_teacher_scores_what_its_note_says(name, data_root):
    """PSNR on Y, border 4, against the published MATLAB LR."""
    net = build_from_file(str(FOLDER / 'demo_teacher.pth')).eval()
    scores = []
    for lr_file in sorted((data_root / name / 'LR').iterdir()):
        hr = cv2.imread(str(next((data_root / name / 'HR').glob(f'{lr_file.stem.removesuffix("x4")}.*'))))
        lr = img2tensor(cv2.imread(str(lr_file)).astype(np.float32) / 255, bgr2rgb=True, float32=True)
        with torch.no_grad():
            output = tensor2img(net(lr[None]))
        scores.append(calculate_psnr(output, hr[:output.shape[0], :output.shape[1]], 4, test_y_channel=True))
    assert np.mean(scores) == pytest.approx(TEACHER[name], abs=0.02)
    assert np.mean(scores) > BICUBIC[name] + 1.0
