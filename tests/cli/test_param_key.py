"""`--param-key` in the commands that run a network, and networks of one channel."""
from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.archs.srvgg_arch import SRVGGNetCompact

from basicsr_kd.cli.main import main
from basicsr_kd.deploy.open import open_network

IMAGE = np.random.default_rng(0).integers(0, 256, (20, 24, 3), np.uint8)


def compact(channels: int = 3, seed: int = 0) -> dict[str, torch.Tensor]:
    torch.manual_seed(seed)
    return SRVGGNetCompact(channels, channels, 4, 1, 4).state_dict()


@pytest.fixture(autouse=True)
def images(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    for folder, image in (('LR', IMAGE), ('HR', IMAGE.repeat(4, 0).repeat(4, 1))):
        Path(folder).mkdir()
        cv2.imwrite(f'{folder}/a.png', image)
    torch.save({'params': compact(), 'mine': compact(seed=1)}, 'two.pth')
    torch.save({'params': compact(seed=1)}, 'mine.pth')
    torch.save({'params': compact(channels=1)}, 'luma.pth')


def output(name: str) -> np.ndarray:
    return cv2.imread(f'{name}/a.png', cv2.IMREAD_UNCHANGED)


def infer(weights: str, out: str, *more: str) -> np.ndarray:
    assert main(['infer', '--weights', weights, '--input', 'LR', '--output', out, *more]) == 0
    return output(out)


def test_infer_takes_the_weights_of_a_key():
    mine = infer('mine.pth', 'expected')
    assert np.array_equal(infer('two.pth', 'found', '--param-key', 'mine'), mine)
    assert not np.array_equal(infer('two.pth', 'default'), mine)


def test_infer_by_a_runtime_takes_them_too(monkeypatch, tmp_path):
    pytest.importorskip('onnxruntime')
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    mine, default = (infer('two.pth', name, '--runtime', 'onnxruntime', *key)
                     for name, key in (('mine', ('--param-key', 'mine')), ('default', ())))
    assert np.abs(mine.astype(int) - infer('mine.pth', 'expected')).max() <= 1 and not np.array_equal(mine, default)


def test_evaluate_takes_the_weights_of_a_key(tmp_path):
    figures = []
    for number, words in enumerate((['two.pth', '--param-key', 'mine'], ['mine.pth'], ['two.pth'])):
        assert main(['evaluate', '--weights', *words, '--hr', 'HR', '--lr', 'LR', '--metrics', 'psnr', '--no-speed',
                     '--json', f'{number}.json']) == 0
        figures.append(json.loads(Path(f'{number}.json').read_text())['methods'][0]['scores'])
    assert figures[0] == figures[1] != figures[2] and 'psnr' in str(figures)


def test_export_writes_the_weights_of_a_key():
    assert main(['export', '--weights', 'two.pth', '--param-key', 'mine', '--format', 'safetensors', '--out',
                 'mine.safetensors']) == 0
    found = open_network('mine', Path('mine.safetensors')).enlarge(IMAGE, 'a')
    assert np.array_equal(found, open_network('mine', Path('mine.pth')).enlarge(IMAGE, 'a'))


def test_no_such_key_is_a_line(capsys):
    for command in (['infer', '--input', 'LR', '--output', 'out'], ['bench'],
                    ['export', '--format', 'onnx', '--out', 'a.onnx'], ['evaluate', '--hr', 'HR', '--lr', 'LR']):
        assert main([*command, '--weights', 'two.pth', '--param-key', 'none']) == 2
        assert "two.pth has no weights under param_key 'none'. It has them under: params, mine" in \
            capsys.readouterr().err


def test_a_network_of_luma_enlarges_and_is_measured(tmp_path):
    assert infer('luma.pth', 'colour').shape == (80, 96, 3)
    cv2.imwrite('LR/a.png', IMAGE[:, :, 0])
    assert infer('luma.pth', 'grey').shape == (80, 96)
    assert main(['evaluate', '--weights', 'luma.pth', '--hr', 'HR', '--lr', 'LR', '--metrics', 'psnr', '--json',
                 'found.json']) == 0
    found = json.loads(Path('found.json').read_text())
    (scores,) = found['methods'][0]['scores'].values()
    assert not found['warnings'] and scores['mean']['psnr'] > 0


@pytest.mark.parametrize('command', [['export', '--format', 'onnx', '--out', 'a.onnx'], ['bench']])
def test_a_network_of_luma_is_not_for_other_programs(command, capsys):
    assert main([*command, '--weights', 'luma.pth']) == 2
    assert 'luma.pth takes images of one channel. Expected a network of three' in capsys.readouterr().err
