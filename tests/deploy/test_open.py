"""deploy/open.py: a checkpoint, and files that were written of it, enlarge images in the same way."""
from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet

from basicsr_kd.archs.frnet_arch import FRNet
from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.deploy.export.graph import graph_of
from basicsr_kd.deploy.export.ncnn_file import write_ncnn
from basicsr_kd.deploy.export.onnx_file import write_onnx
from basicsr_kd.deploy.export.openvino_file import write_openvino
from basicsr_kd.deploy.infer import enlarge
from basicsr_kd.deploy.network import TorchNetwork
from basicsr_kd.deploy.open import name_of, open_network
from basicsr_kd.deploy.runtimes import runtime_of
from basicsr_kd.errors import InferError, MissingExtraError

IMAGE = np.random.default_rng(0).integers(0, 256, (21, 34, 3), dtype=np.uint8)


def written(folder: Path, net: torch.nn.Module, scale: int, multiple: int) -> Path:
    """A checkpoint, and beside it what ONNX holds of it."""
    pytest.importorskip('onnx')
    write_checkpoint(folder / 'net.pth', net.state_dict())
    write_onnx(graph_of(net.eval(), scale, multiple), folder / 'net.onnx', 'fp32')
    return folder / 'net.pth'


@pytest.fixture(scope='module')
def files(tmp_path_factory) -> Path:
    """Of a network that takes even sides alone."""
    torch.manual_seed(0)
    net = RRDBNet(3, 3, scale=2, num_feat=8, num_block=1, num_grow_ch=4)
    return written(tmp_path_factory.mktemp('files'), net, scale=2, multiple=2)


def same_image(file: Path, checkpoint: Path, **options: str) -> None:
    network, own = open_network('one', file, **options), open_network('other', checkpoint)
    assert (network.scale, network.multiple) == (own.scale, own.multiple)
    expected = own.enlarge(IMAGE, 'image.png')
    assert np.abs(network.enlarge(IMAGE, 'image.png').astype(int) - expected).max() <= 1


@pytest.mark.parametrize('runtime', ['onnxruntime', 'openvino'])
def test_an_onnx_file_does_what_its_checkpoint_does(files, runtime):
    pytest.importorskip(runtime)
    same_image(files.with_suffix('.onnx'), files, runtime=runtime)


def test_a_file_that_does_not_say_how_much_it_enlarges_is_tried(files, tmp_path):
    pytest.importorskip('onnxruntime')
    onnx = pytest.importorskip('onnx')
    model = onnx.load(files.with_suffix('.onnx'))
    del model.metadata_props[:]
    onnx.save(model, tmp_path / 'others.onnx')

    same_image(tmp_path / 'others.onnx', files)


def test_a_file_of_openvino_does_what_its_checkpoint_does_and_its_bin_is_as_good(files):
    pytest.importorskip('openvino')
    xml = files.with_suffix('.xml')
    write_openvino(files.with_suffix('.onnx'), xml, None)

    same_image(xml, files)
    same_image(xml.with_suffix('.bin'), files)
    assert runtime_of(xml.with_suffix('.bin')) == 'openvino'


def test_a_file_of_ncnn_does_what_its_checkpoint_does(files, tmp_path):
    pytest.importorskip('ncnn')
    pytest.importorskip('pnnx')
    write_ncnn(graph_of(TorchNetwork('net', files).net, 2, 2), tmp_path / 'net.param')

    same_image(tmp_path / 'net.param', files)


def test_a_recurrent_network_goes_from_frame_to_frame_in_another_runtime(tmp_path):
    pytest.importorskip('onnxruntime')
    torch.manual_seed(0)
    checkpoint = written(tmp_path, FRNet(nf=8, nb=1), scale=4, multiple=1)
    frames = [(str(index), np.roll(IMAGE[:16, :16], index, 0)) for index in range(4)]

    found, expected = (list(enlarge(open_network('net', file), frames))
                       for file in (checkpoint.with_suffix('.onnx'), checkpoint))

    assert [name for name, _ in found] == ['0', '1', '2', '3']
    for (_, one), (_, other) in zip(found, expected, strict=True):
        assert one.shape == (64, 64, 3) and np.abs(one.astype(int) - other).max() <= 1


def test_a_files_name_tells_it_from_its_checkpoint():
    assert [name_of(Path(name)) for name in ('a/net.pth', 'a/net.x4.safetensors', 'a/net-x4.onnx')] == [
        'net', 'net.x4', 'net-x4.onnx']


@pytest.mark.parametrize(('name', 'options', 'found'), [
    ('net.pth', {'runtime': 'ncnn'}, 'is a checkpoint, which torch opens and ncnn does not'),
    ('net.pth', {'precision': 'int8'}, 'PyTorch does not run net.pth in int8'),
    ('net.onnx', {'runtime': 'ncnn'}, 'a file of onnxruntime, which onnxruntime or openvino opens'),
    ('net.onnx', {'precision': 'bf16'}, 'ONNX Runtime does not run net.onnx in bf16'),
    ('gone.onnx', {}, 'does not exist'),
    ('text.onnx', {}, 'ONNX Runtime .* cannot open'),
])
def test_what_cannot_be_opened_is_refused(files, name, options, found):
    pytest.importorskip('onnxruntime')
    files.with_name('text.onnx').write_text('no network')
    with pytest.raises(InferError, match=found):
        open_network('net', files.with_name(name), **options)


def test_a_file_of_a_runtime_that_is_not_installed_is_refused(files, monkeypatch):
    monkeypatch.setitem(sys.modules, 'onnxruntime', None)
    with pytest.raises(MissingExtraError, match=r"pip install 'basicsr-kd\[onnx\]'"):
        open_network('net', files.with_suffix('.onnx'))
