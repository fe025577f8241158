"""Networks for ComfyUI, opened in a process of its own as ComfyUI does, without BasicSR and this package."""
from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
import safetensors
import spandrel
import torch
from helpers.networks import varied_rrdbnet
from helpers.pruned import SMALL, cut_chains, varied, without_block

from basicsr_kd.archs import FRNet, PrunedRRDBNet
from basicsr_kd.archs.from_file import build_from_file, write_network_file
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.deploy import spandrel_arch
from basicsr_kd.deploy.export.comfyui import write_comfyui
from basicsr_kd.deploy.export.torch_files import write_esrgan
from basicsr_kd.errors import ExportError

COMPACT = SMALL['SRVGGNetCompact']
# What a ComfyUI does: its custom nodes imported (folders of several installations here, so several copies of ours),
# then each upscale model opened by the lines of its "Load Upscale Model".
COMFYUI = """
import importlib.util, json, sys
from pathlib import Path

class NotInstalled:
    def find_spec(self, name, path=None, target=None):
        if name.partition('.')[0] in ('basicsr', 'basicsr_kd', 'yaml', 'cv2'):
            raise ModuleNotFoundError(name)

sys.path += json.loads(sys.argv[1])
sys.meta_path.insert(0, NotInstalled())
image_file, *roots = sys.argv[2:]

import torch
from safetensors.torch import load_file
from spandrel import ImageModelDescriptor, ModelLoader

for root in roots:
    for folder in (Path(root) / 'custom_nodes').glob('*'):
        name = str(folder).replace('.', '_x_')
        spec = importlib.util.spec_from_file_location(name, folder / '__init__.py')
        module = importlib.util.module_from_spec(spec)
        sys.modules[name] = module
        spec.loader.exec_module(module)
        assert module.NODE_CLASS_MAPPINGS == module.NODE_DISPLAY_NAME_MAPPINGS == {}

image = torch.load(image_file)
for root in roots:
    for file in (Path(root) / 'models' / 'upscale_models').glob('*'):
        model = ModelLoader().load_from_state_dict(load_file(file)).eval()
        assert isinstance(model, ImageModelDescriptor)
        with torch.no_grad():
            raw = model.model(image)
        odd = model(image[..., :-1, :-3])  # sizes that a pixel-unshuffle does not divide
        assert odd.shape[2:] == ((image.shape[2] - 1) * model.scale, (image.shape[3] - 3) * model.scale)
        assert torch.equal(model(image), raw.clamp(0, 1))
        torch.save({'id': model.architecture.id, 'scale': model.scale, 'raw': raw}, f'{root}/opened.pt')
assert not {'basicsr', 'basicsr_kd'} & sys.modules.keys()
"""


def pruned_rrdbnet(**options):
    net = PrunedRRDBNet(**{'num_feat': 8, 'num_block': 2, 'num_grow_ch': [0, 1, 2, 3, 4, 0] * 4, **options})
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.uniform_(-0.2, 0.2)
    return net.state_dict(), None


def cut_stem():
    """An RRDBNet whose last layers were pruned, too, as `target:` may ask for."""
    state = varied_rrdbnet(4, 8, 1, 4).state_dict()
    state.update({'conv_hr.weight': state['conv_hr.weight'][:5], 'conv_hr.bias': state['conv_hr.bias'][:5],
                  'conv_last.weight': state['conv_last.weight'][:, :5]})
    return state, {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 1, 'num_grow_ch': 4}


def cut(kind, **options):
    base = {**SMALL[kind], **options}
    return cut_chains(varied(base), kind)[0], base


def whole(base):
    return varied(base).state_dict(), base


# name: the network's tensors and its options before pruning; what opens it; its scale
CASES = {
    'rrdbnet_uneven': (pruned_rrdbnet, 'PrunedRRDBNet', 4),
    'rrdbnet_uneven_x2': (lambda: pruned_rrdbnet(scale=2), 'PrunedRRDBNet', 2),
    'rrdbnet_uneven_x1': (lambda: pruned_rrdbnet(scale=1), 'PrunedRRDBNet', 1),
    'rrdbnet_without_growth': (lambda: pruned_rrdbnet(num_grow_ch=0), 'PrunedRRDBNet', 4),
    'rrdbnet_growth_4': (lambda: (varied_rrdbnet(4, 8, 11, 4).state_dict(), None), 'PrunedRRDBNet', 4),
    'rrdbnet_cut_stem': (cut_stem, 'PrunedRRDBNet', 4),
    'rrdbnet_plain': (lambda: (varied_rrdbnet(4, 8, 2, 32).state_dict(), None), 'ESRGAN', 4),
    'rrdbnet_plain_x2': (lambda: (varied_rrdbnet(2, 8, 2, 32).state_dict(), None), 'ESRGAN', 2),
    'compact_uneven': (lambda: cut('SRVGGNetCompact'), 'PrunedNet', 4),
    'compact_uneven_x2': (lambda: cut('SRVGGNetCompact', upscale=2), 'PrunedNet', 2),
    'compact_plain': (lambda: whole(COMPACT), 'Compact', 4),
    'compact_relu': (lambda: whole({**COMPACT, 'act_type': 'relu'}), 'Compact', 4),
    'compact_leaky': (lambda: whole({**COMPACT, 'act_type': 'leakyrelu', 'upscale': 1}), 'Compact', 1),
    'msrresnet_uneven': (lambda: cut('MSRResNet'), 'PrunedNet', 4),
    'msrresnet_uneven_x3': (lambda: cut('MSRResNet', upscale=3), 'PrunedNet', 3),
    'msrresnet_plain': (lambda: whole(SMALL['MSRResNet']), 'PrunedNet', 4),
    'msrresnet_fewer_blocks': (lambda: (without_block(whole(SMALL['MSRResNet'])[0], 'body', 0), SMALL['MSRResNet']),
                               'PrunedNet', 4),
    'edsr_uneven': (lambda: cut('EDSR'), 'PrunedNet', 4),
    'edsr_uneven_x3': (lambda: cut('EDSR', upscale=3, img_range=255., rgb_mean=[0.1, 0.2, 0.3]), 'PrunedNet', 3),
    'edsr_defaults': (lambda: whole({'type': 'EDSR', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 4, 'num_block': 11,
                                     'upscale': 2}), 'PrunedNet', 2),
    'rcan_uneven': (lambda: cut('RCAN'), 'PrunedNet', 2),
    'rcan_plain_x4': (lambda: whole({**SMALL['RCAN'], 'upscale': 4}), 'PrunedNet', 4),
}


@pytest.fixture(scope='module')
def opened(tmp_path_factory):
    """Every network by its name: what our own reading of the file computes, and what the process opened."""
    root = tmp_path_factory.mktemp('comfyui')
    image = torch.rand(1, 3, 12, 16, generator=torch.Generator().manual_seed(0))
    torch.save(image, root / 'image.pt')
    ours = {}
    for name, (make, *_) in CASES.items():
        state, base = make()
        write_network_file(root / f'{name}.pth', state, base)
        net = build_from_file(str(root / f'{name}.pth')).eval()
        with torch.no_grad():
            ours[name] = net(image)
        write_comfyui(read_state_dict(root / f'{name}.pth'), root / name, name, base)
    packages = sorted({str(Path(package.__file__).parents[1]) for package in (torch, spandrel, safetensors)})
    done = subprocess.run([sys.executable, '-I', '-S', '-c', COMFYUI, json.dumps(packages), str(root / 'image.pt'),
                           *(str(root / name) for name in CASES)], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return {name: (ours[name], torch.load(root / name / 'opened.pt'), root / name) for name in CASES}


@pytest.mark.parametrize('name', CASES)
def test_comfyui_computes_what_we_do(name, opened):
    ours, theirs, _ = opened[name]
    _, architecture, scale = CASES[name]
    assert (theirs['id'], theirs['scale']) == (architecture, scale)
    tolerance = 1e-6 * max(1.0, ours.abs().max().item())
    torch.testing.assert_close(theirs['raw'], ours, rtol=0, atol=tolerance)


@pytest.mark.parametrize('name', CASES)
def test_our_folder_is_there_where_spandrel_needs_it(name, opened):
    *_, root = opened[name]
    files = sorted(str(path.relative_to(root)) for path in root.rglob('*.*') if '__pycache__' not in path.parts)
    nodes = ['custom_nodes/basicsr_kd_networks/__init__.py', 'custom_nodes/basicsr_kd_networks/spandrel_arch.py']
    model = f'models/upscale_models/{name}.safetensors'
    assert files == [*(nodes if CASES[name][1] in spandrel_arch.NAMES else []), model, 'opened.pt']
    state = read_state_dict(root / model)
    written = read_state_dict(root.parent / f'{name}.pth')
    assert all(torch.equal(state[key], tensor) for key, tensor in written.items())


@pytest.mark.parametrize(('state', 'found'), [
    (lambda: FRNet(nf=8, nb=2).state_dict(), 'net: ComfyUI opens networks with spandrel, which does not know it.'),
    (lambda: whole(SMALL['EDSR'])[0], r'which does not know it\. .* EDSR and RCAN, .*the \.yml beside the file'),
    (lambda: {**whole(COMPACT)[0], 'body.8.weight': torch.zeros(47, 8, 3, 3), 'body.8.bias': torch.zeros(47)},
     r'which cannot open it \(Expected output channels'),
    (lambda: whole({**COMPACT, 'num_in_ch': 1, 'num_out_ch': 1})[0],
     'net: ComfyUI gives a network RGB images, and this one takes 1 channels'),
])
def test_what_comfyui_cannot_open_is_refused(tmp_path, state, found):
    with pytest.raises(ExportError, match=rf'{found}.*xport (it|this one) as ncnn or onnx$') as error:
        write_comfyui(state(), tmp_path / 'out', 'net')
    assert '\n' not in str(error.value)
    assert os.listdir(tmp_path) == []


def test_an_export_leaves_spandrel_of_this_process_alone(tmp_path):
    write_comfyui(pruned_rrdbnet()[0], tmp_path, 'net')
    assert not set(spandrel_arch.NAMES) & {support.architecture.id for support in spandrel.MAIN_REGISTRY}


def test_installing_twice_is_installing_once():
    registry = spandrel.MAIN_REGISTRY.copy()
    spandrel_arch.install(registry)
    once = registry.architectures('detection')
    spandrel_arch.install(registry)
    assert registry.architectures('detection') == once
    assert len(once) == len(spandrel.MAIN_REGISTRY) + 2


def test_what_spandrel_opens_by_itself_stays_its_own(tmp_path):
    registry = spandrel.MAIN_REGISTRY.copy()
    spandrel_arch.install(registry)
    write_esrgan(varied_rrdbnet(4, 8, 1, 32).state_dict(), tmp_path / 'old.pth')
    assert spandrel.ModelLoader('cpu', registry).load_from_file(tmp_path / 'old.pth').architecture.id == 'ESRGAN'
    two_convolutions = {f'body.{number}.{kind}': torch.zeros(shape) for number in (0, 1)
                        for kind, shape in (('weight', (3, 3, 3, 3)), ('bias', (3,)))}
    for state in ({}, {'weight': torch.zeros(3)}, {'body.0.weight': 'no tensor'}, two_convolutions,
                  {'conv_first.weight': torch.zeros(8, 3, 3, 3)}):
        assert not any(registry[name].detect(state) for name in spandrel_arch.NAMES)


def test_installed_here_a_checkpoint_opens_as_it_is():
    registry = spandrel.MAIN_REGISTRY.copy()
    spandrel_arch.install(registry)
    opened = spandrel.ModelLoader('cpu', registry).load_from_state_dict({'params': pruned_rrdbnet()[0]})
    assert (opened.architecture.id, opened.purpose, opened.scale) == ('PrunedRRDBNet', 'SR', 4)
    assert opened.bfloat16()(torch.rand(1, 3, 8, 8).bfloat16()).shape == (1, 3, 32, 32)
