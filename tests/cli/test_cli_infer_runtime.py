"""`basicsr-kd infer --runtime`: the same network in other programs than PyTorch."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.networks import varied_rrdbnet

from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.deploy.export import kept
from basicsr_kd.errors import ExportError, MissingExtraError


@pytest.fixture
def photo(infer_tool, monkeypatch, tmp_path) -> np.ndarray:
    """A photo and a network of two sizes that go with nothing, in a folder with an empty cache."""
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path / 'cache'))
    net = varied_rrdbnet(scale=2, num_feat=8, num_block=1, num_grow_ch=4)
    with torch.no_grad():
        net.conv_last.weight.mul_(0.2)
        net.conv_last.bias.fill_(0.5)
    write_checkpoint('net.pth', net.state_dict())
    small = np.random.default_rng(0).integers(0, 256, (9, 9, 3), np.uint8)
    Path('photos').mkdir()
    cv2.imwrite('photos/a.png', cv2.resize(small, (33, 27), interpolation=cv2.INTER_CUBIC))
    assert infer_tool('--weights', 'net.pth', '--input', 'photos', '--output', 'torch')[0] == 0
    return cv2.imread('torch/a.png')


def difference(folder: str, expected: np.ndarray) -> int:
    return int(np.abs(cv2.imread(f'{folder}/a.png').astype(int) - expected).max())


@pytest.mark.parametrize(('runtime', 'packages'), [('onnxruntime', ['onnx', 'onnxruntime']), ('ncnn', ['pnnx', 'ncnn']),
                                                   ('openvino', ['onnx', 'openvino'])])
def test_a_checkpoint_runs_in_each_runtime_and_is_written_once(infer_tool, photo, monkeypatch, runtime, packages):
    for package in packages:
        pytest.importorskip(package)
    arguments = '--weights', 'net.pth', '--input', 'photos', '--runtime', runtime, '--output'
    status, out, err = infer_tool(*arguments, 'first')
    assert status == 0 and '1 image enlarged 2 times with net.pth' in out, err
    assert difference('first', photo) <= 1
    for name in ('export', 'TorchNetwork'):  # nor is it opened in PyTorch again
        monkeypatch.setattr(kept, name, None)
    assert infer_tool(*arguments, 'second', '--tile', '16', '--overlap', '8')[0] == 0


def test_auto_says_what_it_takes_and_how_far_that_is(infer_tool, photo):
    pytest.importorskip('openvino')
    status, out, err = infer_tool('--weights', 'net.pth', '--input', 'photos', '--output', 'auto', '--runtime', 'auto')
    assert status == 0 and out.startswith('In OpenVINO '), err
    assert 'fp32 in PyTorch on a photo.\n' in out and difference('auto', photo) <= 8


def test_auto_takes_pytorch_where_openvino_is_missing_or_fails(infer_tool, photo, monkeypatch):
    def missing() -> dict[str, str]:
        raise MissingExtraError('no openvino')

    def failing(*args: object) -> Path:
        raise ExportError('no operator')

    for name, fault in (('openvino_formats', missing), ('written_for', failing)):
        with monkeypatch.context() as patch:
            patch.setattr(kept, name, fault)
            status, out, _ = infer_tool('--weights', 'net.pth', '--input', 'photos', '--output', name, '--runtime',
                                        'auto')
        assert status == 0 and out.startswith('In PyTorch ') and difference(name, photo) <= 8


def test_a_clip_stays_in_pytorch(infer_tool, photo):
    assert infer_tool('--weights', 'frnet.pth', '--input', 'clip', '--output', 'own')[0] == 0
    status, out, err = infer_tool('--weights', 'frnet.pth', '--input', 'clip', '--output', 'auto', '--runtime', 'auto')
    assert status == 0 and out.startswith('8 frames'), err
    for path in Path('own').iterdir():
        assert np.array_equal(cv2.imread(str(path)), cv2.imread(f'auto/{path.name}'))


@pytest.mark.parametrize(('arguments', 'said'), [
    (('--runtime', 'ncnn', '--half'), '--half is for torch and openvino; --runtime ncnn computes as its file is'),
    (('--runtime', 'auto', '--half'), '--runtime auto takes half precision where it is fast'),
    (('--runtime', 'tensorrt'), "invalid choice: 'tensorrt'"),
])
def test_what_does_not_go_together_is_one_line(infer_tool, photo, arguments, said):
    status, _, err = infer_tool('--weights', 'net.pth', '--input', 'photos', '--output', 'o', *arguments)
    assert status == 2 and said in err and not Path('o').exists()


def test_a_file_of_one_runtime_does_not_run_in_another(infer_tool, photo):
    Path('net.onnx').touch()
    status, _, err = infer_tool('--weights', 'net.onnx', '--input', 'photos', '--output', 'o', '--runtime', 'ncnn')
    assert status == 2 and 'which onnxruntime or openvino opens and ncnn does not' in err


def test_a_device_is_for_pytorch(infer_tool, photo, monkeypatch):
    pytest.importorskip('openvino')
    monkeypatch.setattr('basicsr_kd.cli.infer.usable_device', lambda name: name)
    status, _, err = infer_tool('--weights', 'net.pth', '--input', 'photos', '--output', 'o', '--runtime', 'openvino',
                                '--device', 'meta')
    assert status == 2 and '--device meta is for PyTorch, and OpenVINO' in err and not Path('o').exists()
