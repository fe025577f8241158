"""Real-ESRGAN's own networks, and one that was pruned, in each runtime: what is written does what PyTorch does."""
from __future__ import annotations

import json
from pathlib import Path

import pytest

from basicsr_kd.cli.main import main


@pytest.mark.parametrize(('name', 'ratio', 'kind', 'package'), [
    ('RealESRGAN_x4plus', 0, 'onnx', 'onnxruntime'), ('RealESRGAN_x4plus_anime_6B', 0, 'openvino', 'openvino'),
    ('RealESRGAN_x4plus_anime_6B', 0.5, 'ncnn', 'pnnx'), ('realesr-animevideov3', 0, 'ncnn', 'pnnx')])
def test_a_real_network_does_there_what_it_does_in_pytorch(real_network, tmp_path, monkeypatch, name, ratio, kind,
                                                          package):
    weights = real_network(name)
    pytest.importorskip(package)
    monkeypatch.chdir(tmp_path)
    if ratio:
        assert main(['prune', '--weights', str(weights), '--ratio', str(ratio), '--out', 'pruned.pth']) == 0
        weights = Path('pruned.pth')
    assert main(['export', '--weights', str(weights), '--format', kind, '--out', 'out', '--json', 'out.json']) == 0
    trial, = json.loads(Path('out.json').read_text())['trials'][:1]
    assert trial['difference'] < (2e-2 if kind == 'openvino' else 1e-3)
    assert trial['psnr'] is None or trial['psnr'] > 55
