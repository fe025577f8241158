"""Every family of networks in every runtime that installs from PyPI, by `basicsr-kd export`."""
from __future__ import annotations

import importlib.util
import json
import math
import resource
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
import yaml
from basicsr.archs.rrdbnet_arch import RRDBNet
from helpers.networks import varied_rrdbnet
from helpers.pruned import SMALL, cut_chains, varied
from torch import nn

from basicsr_kd.archs.frnet_arch import FRNet
from basicsr_kd.archs.from_file import build_from_file, write_network_file
from basicsr_kd.archs.pruned_rrdbnet_arch import PrunedRRDBNet
from basicsr_kd.checkpoint import read_state_dict, write_checkpoint
from basicsr_kd.cli.main import main
from basicsr_kd.deploy.export import onnx_file
from basicsr_kd.deploy.export.graph import Graph
from basicsr_kd.deploy.export.verify import Trial, try_out
from basicsr_kd.deploy.runtimes import Ncnn, OnnxRuntime, OpenVino

RUNTIMES = {'onnx': ('onnxruntime', OnnxRuntime, '.onnx'), 'openvino': ('openvino', OpenVino, '.xml'),
            'ncnn': ('pnnx', Ncnn, '.param')}


def pruned_rrdbnet() -> nn.Module:
    net = PrunedRRDBNet(num_feat=8, num_block=1, num_grow_ch=[4, 3, 0, 2, 4, 4, 1, 2, 8, 4, 4, 5])
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.uniform_(-0.1, 0.1)
    return net


def write_family(name: str, path: Path) -> Path:
    """A tiny network of a family, with what it is beside it."""
    if name == 'RRDBNet':
        write_checkpoint(path, varied_rrdbnet(num_feat=8, num_block=1, num_grow_ch=4).state_dict())
    elif name == 'x2':
        write_checkpoint(path, varied_rrdbnet(scale=2, num_feat=8, num_block=1, num_grow_ch=4).state_dict())
    elif name == 'PrunedRRDBNet':
        write_network_file(path, pruned_rrdbnet().state_dict())
    elif name.startswith('Pruned'):
        base = SMALL[name.removeprefix('Pruned')]
        write_network_file(path, cut_chains(varied(base), base['type'])[0], base)
    else:
        write_network_file(path, varied(SMALL[name]).state_dict(), SMALL[name])
    return path


@pytest.fixture
def tool(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> Any:
    """Runs `basicsr-kd export` in an empty folder: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: Any) -> Any:
        try:
            status = main(['export', *map(str, arguments)])
        except SystemExit as error:  # argparse
            status = error.code
        return status, *capsys.readouterr()
    return run


def files() -> set[str]:
    return {str(path) for path in Path().rglob('*') if path.is_file()}


FAMILIES = ['RRDBNet', 'PrunedRRDBNet', 'x2', 'SRVGGNetCompact', 'PrunedMSRResNet', 'EDSR', 'RCAN']


@pytest.mark.parametrize('kind', RUNTIMES)
@pytest.mark.parametrize('family', FAMILIES)
def test_what_is_written_gives_there_what_it_gives_in_pytorch(tool, kind, family):
    package, runner, suffix = RUNTIMES[kind]
    pytest.importorskip(package)
    weights = write_family(family, Path('small.pth'))
    net = build_from_file(str(weights)).eval()
    status, out, err = tool('--weights', weights, '--format', kind, '--out', f'net{suffix}', '--json', 'trial.json')
    assert status == 0, err
    figures = json.loads(Path('trial.json').read_text())
    trial = figures['trials'][0]
    assert trial['difference'] <= (1e-3 if kind != 'openvino' else 1e-2) and f'{trial["file_bytes"] / 1e6:.2f}' in out
    assert Path(f'net{suffix}').is_file() and not [name for name in files() if 'tmp' in name]
    image = torch.rand(1, 3, 46, 58)  # neither of the sizes that it was tried with
    with torch.no_grad():
        expected = net(image.clone()).numpy()
    output = runner(Path(f'net{suffix}'))(image.numpy())
    assert output.shape == expected.shape and np.abs(output - expected).max() < 0.02 * max(1, np.abs(expected).max())


def test_the_step_of_frnet_has_its_states_as_inputs_and_outputs(tool):
    pytest.importorskip('onnxruntime')
    net = FRNet(nf=8, nb=1).eval()
    write_checkpoint('frnet.pth', net.state_dict())
    assert tool('--weights', 'frnet.pth', '--format', 'onnx', '--out', '.')[0] == 0
    step = OnnxRuntime(Path('frnet-x4.onnx'))
    state = np.zeros((1, 3, 24, 40), np.float32), np.zeros((1, 3, 96, 160), np.float32)
    before = [torch.from_numpy(array) for array in state]
    for frame in torch.rand(3, 1, 3, 24, 40):
        state = frame.numpy(), step(frame.numpy(), *state)
        with torch.no_grad():
            before = [frame, net.step(frame, *before)]
        assert np.abs(state[1] - before[1].numpy()).max() < 1e-4
    if importlib.util.find_spec('openvino'):
        status, out, err = tool('--weights', 'frnet.pth', '--format', 'openvino', '--out', 'vino')
        assert status == 0 and 'OpenVINO' in out, err
    status, _, err = tool('--weights', 'frnet.pth', '--format', 'ncnn', '--out', 'ncnn')
    assert status == 2 and '--format onnx writes its step' in err and not Path('ncnn').exists()


def test_half_files_take_and_give_fp16(tool):
    ort = pytest.importorskip('onnxruntime')
    weights = write_family('RRDBNet', Path('small.pth'))
    assert tool('--weights', weights, '--format', 'onnx', '--out', 'out', '--half')[0] == 0
    session = ort.InferenceSession('out/small-x4-fp16.onnx')
    assert session.get_inputs()[0].type == session.get_outputs()[0].type == 'tensor(float16)'


def test_an_onnx_file_names_its_opset_its_sizes_and_its_scale(tool):
    onnx = pytest.importorskip('onnx')
    weights = write_family('x2', Path('small.pth'))
    assert tool('--weights', weights, '--format', 'onnx', '--out', 'out')[0] == 0
    model = onnx.load('out/small-x2.onnx')
    assert [one.version for one in model.opset_import] == [onnx_file.OPSET]
    assert [dim.dim_param for dim in model.graph.input[0].type.tensor_type.shape.dim][2:] == ['height', 'width']
    assert {one.key: one.value for one in model.metadata_props} == {'precision': 'fp32', 'scale': '2', 'multiple': '2'}


def test_files_for_upscayl_lie_and_are_called_as_it_looks_for_them(tool):
    pytest.importorskip('pnnx')
    weights = write_family('RRDBNet', Path('my net.pth'))
    status, out, _ = tool('--weights', weights, '--format', 'ncnn', '--out', 'out')
    assert status == 0
    assert {'out/models/my net-x4.param', 'out/models/my net-x4.bin'} <= files()
    assert 'Largest activation on the images: ' in out
    text = Path('out/models/my net-x4.param').read_text()
    assert text.startswith('7767517\n') and text.split('\n')[2].split()[-1] == 'data'
    assert text.rstrip().split('\n')[-1].split()[5] == 'output'


def test_what_does_not_work_there_is_not_left_behind(tool, monkeypatch):
    pytest.importorskip('onnxruntime')
    weights = write_family('RRDBNet', Path('small.pth'))
    right = onnx_file.write_onnx

    def wrong(graph: Any, path: Path, half: bool) -> None:
        with torch.no_grad():
            graph.net.conv_last.bias += 0.01
        right(graph, path, half)
        with torch.no_grad():
            graph.net.conv_last.bias -= 0.01

    monkeypatch.setattr('basicsr_kd.deploy.export.writers.write_onnx', wrong)
    before = files()
    status, out, err = tool('--weights', weights, '--format', 'onnx', '--out', 'out', '--json', 'trial.json')
    assert status == 1 and '1.0e-02 from PyTorch' in err and '1.0e-02' in out
    assert files() == before and not Path('out').exists()


@pytest.mark.parametrize('family', ['RRDBNet', 'PrunedRRDBNet', 'x2', 'SRVGGNetCompact'])
def test_what_was_written_for_ncnn_reads_as_the_same_network(tool, family):
    pytest.importorskip('pnnx')
    weights = write_family(family, Path('small.pth'))
    assert tool('--weights', weights, '--format', 'ncnn', '--out', 'net.param')[0] == 0
    before, after = read_state_dict(weights), read_state_dict('net.param')
    assert len(before) == len(after)
    for (name, tensor), read in zip(before.items(), after.values(), strict=True):  # a gap in the names is not written
        rounded = tensor.half().float() if tensor.ndim == 4 else tensor  # biases and slopes stay
        assert (read - rounded).abs().max() < 2**-14, name  # ncnn writes smaller weights as 0


class Odd(RRDBNet):
    """With an operation that no format has."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(x) + torch.special.bessel_j0(x).mean()


@pytest.mark.parametrize(('kind', 'said'), [('onnx', 'no operator for aten::special_bessel_j0'),
                                            ('ncnn', 'no layer for')])
def test_an_operation_without_a_place_is_named(tool, monkeypatch, kind, said):
    pytest.importorskip(RUNTIMES[kind][0])
    weights = write_family('RRDBNet', Path('small.pth'))
    net = build_from_file(str(weights))
    net.__class__ = Odd
    monkeypatch.setattr('basicsr_kd.deploy.network.build_from_file', lambda *args, **options: net)
    before = files()
    status, _, err = tool('--weights', weights, '--format', kind, '--out', 'out')
    assert status == 2 and said in err and err.count('\n') == 1 and files() == before


@pytest.mark.parametrize(('arguments', 'said'), [
    (('--format', 'onnx', '--out', 'net-x2.onnx'), 'net-x2.onnx is named x2, and the network enlarges 4 times'),
    (('--format', 'ncnn', '--out', 'net.onnx'), 'a name that ends in .param for --format ncnn'),
    (('--format', 'onnx', '--out', 'there.onnx'), 'there.onnx exists. Choose another name, or say --force'),
    (('--format', 'onnx', '--out', 'file/net.onnx'), 'file is a file'),
    (('--format', 'onnx', '--out', 'o', '--int8'), '--int8 needs --calibration DIR'),
    (('--format', 'onnx', '--out', 'o', '--int8', '--calibration', 'none'), 'none does not exist'),
    (('--format', 'ncnn', '--out', 'o', '--int8', '--calibration', '.'), '--int8 is for --format onnx and openvino'),
    (('--format', 'ncnn', '--out', 'o', '--half'), '--half is for --format onnx; ncnn has fp16 weights as it is'),
    (('--format', 'onnx', '--out', 'o', '--images', 'none'), 'none does not exist'),
    (('--format', 'tensorrt', '--out', 'o'), "invalid choice: 'tensorrt'"),
])
def test_what_cannot_be_is_one_line_and_nothing_written(tool, arguments, said):
    weights = write_family('RRDBNet', Path('small.pth'))
    Path('there.onnx').touch()
    Path('file').touch()
    before = files()
    status, _, err = tool('--weights', weights, *arguments)
    assert status == 2 and said in err
    assert files() == before and not Path('o').exists()


def test_a_missing_package_is_named_with_its_extra(tool, monkeypatch):
    weights = write_family('RRDBNet', Path('small.pth'))
    monkeypatch.setitem(__import__('sys').modules, 'onnx', None)
    status, _, err = tool('--weights', weights, '--format', 'onnx', '--out', 'o')
    assert status == 2 and "--format onnx needs onnx, which is not installed: pip install 'basicsr-kd[onnx]'" in err


@pytest.mark.parametrize('family', ['PrunedRRDBNet', 'PrunedMSRResNet', 'EDSR', 'RCAN', 'PrunedEDSR'])
def test_files_for_pytorch_open_again(tool, family):
    weights = write_family(family, Path('small.pth'))
    net = build_from_file(str(weights)).eval()
    for kind in ('safetensors', 'comfyui'):
        status, out, err = tool('--weights', weights, '--format', kind, '--out', kind)
        assert status == 0 and 'equal' in out, err
    again = build_from_file(str(next(Path('safetensors').glob('small-x?.safetensors')))).eval()
    image = torch.rand(1, 3, 24, 20)
    with torch.no_grad():
        assert torch.equal(again(image), net(image))
    assert {'comfyui/custom_nodes/basicsr_kd_networks/__init__.py'} <= files()
    sidecar = next(Path('safetensors').glob('*.yml'))
    section = yaml.safe_load(sidecar.read_text())['network_g']  # what it names is the file beside it
    assert 'like' not in section or Path(section['like']).samefile(sidecar.with_suffix('.safetensors'))
    assert ('like' in section) == family.startswith('Pruned')


@pytest.mark.parametrize('kind', [*RUNTIMES, 'comfyui'])
def test_a_full_disk_is_one_line_and_leaves_nothing(tool, kind):
    pytest.importorskip(RUNTIMES[kind][0] if kind in RUNTIMES else 'torch')
    weights = write_family('PrunedRRDBNet', Path('small.pth'))
    before = files()
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8_000, limits[1]))
        status, _, err = tool('--weights', weights, '--format', kind, '--out', 'out')
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert status == 2 and err.count('\n') == 1 and 'Traceback' not in err, err
    assert files() == before and not Path('out').exists()


def a_trial(**changes: Any) -> Trial:
    return Trial(**{'format': 'onnx', 'runtime': 'some', 'precision': 'fp32', 'file_bytes': 1, 'difference': 0.0,
                    'psnr': None, 'milliseconds': None, 'torch_milliseconds': None, **changes})


@pytest.mark.parametrize(('changes', 'said'), [
    ({}, None),
    ({'difference': 2e-3}, 'its output is 2.0e-03'),
    ({'difference': 2e-3, 'format': 'openvino', 'psnr': 41.0}, None),
    ({'difference': 2e-3, 'format': 'openvino', 'psnr': 39.0}, 'its images are 39.0 dB'),
    ({'precision': 'bf16', 'psnr': 39.0}, 'its images are 39.0 dB'),
    ({'precision': 'int8', 'difference': 0.5, 'psnr': 21.0}, None),
    ({'precision': 'int8', 'difference': math.inf}, 'not finite')])
def test_what_is_out_of_tolerance(changes, said):
    failure = a_trial(**changes).failure
    assert failure is None if said is None else failure and said in failure


def test_the_psnr_is_the_mean_of_images_that_differ():
    class Brighter:
        name, precision = 'some', 'fp32'

        def __call__(self, image: np.ndarray) -> np.ndarray:
            made = image.copy()
            made[image.mean((1, 2, 3)) > 0.5] += 2 / 255
            made[image.mean((1, 2, 3)) > 0.8] += 2 / 255
            return made

    graph = Graph(nn.Identity(), ('input',), 'output', 1, 1)
    images = [(torch.full((1, 3, 16, 16), value),) for value in (0.2, 0.6, 0.9)]
    trial = try_out('onnx', Brighter(), [], graph, graph, images, timed=False)
    shifted = [20 * math.log10(255 / (step * 219 / 255)) for step in (2, 4)]  # Y has 219 of 255 steps
    assert trial.psnr == pytest.approx(np.mean(shifted), abs=0.6)


AFTER_OPENVINO = """
import signal
from pathlib import Path
from basicsr_kd.cli.main import main
from basicsr_kd.deploy.runtimes import OpenVino
for more, name in (((), 'a'), (('--int8', '--calibration', 'lr'), 'b')):
    assert main(['export', '--weights', 'small.pth', '--format', 'openvino', *more, '--out', name + '.xml']) == 0
first, second = OpenVino(Path('a.xml')), OpenVino(Path('b.xml'))
del first, second  # in this order: what came last goes last
signal.signal(signal.SIGUSR1, lambda *_: print('still here'))
signal.raise_signal(signal.SIGUSR1)
"""


def test_a_signal_does_no_harm_once_networks_of_openvino_have_come_and_gone(tool):
    pytest.importorskip('nncf')
    write_family('RRDBNet', Path('small.pth'))
    Path('lr').mkdir()
    cv2.imwrite('lr/a.png', np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8))
    done = subprocess.run([sys.executable, '-c', AFTER_OPENVINO], capture_output=True, text=True)
    assert (done.returncode, done.stdout.splitlines()[-1:]) == (0, ['still here']), done.stderr
