"""Networks in PyTorch's files of other names."""
from __future__ import annotations

import os

import pytest
import spandrel
import torch
from helpers.networks import varied_rrdbnet
from helpers.pruned import SMALL, cut_chains, varied

from basicsr_kd.archs import FRNet, PrunedRRDBNet
from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.deploy.export.torch_files import write_esrgan, write_safetensors
from basicsr_kd.errors import ExportError

UNEVEN = {'num_feat': 8, 'num_block': 1, 'num_grow_ch': [0, 1, 2, 3] * 3}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


@pytest.mark.parametrize('state', [
    lambda: varied_rrdbnet(2, 8, 2, 4).state_dict(),
    lambda: PrunedRRDBNet(**UNEVEN).state_dict(),
    lambda: FRNet(nf=8, nb=2).state_dict(),
    *(lambda kind=kind: cut_chains(varied(SMALL[kind]), kind)[0] for kind in SMALL),
])
def test_safetensors_hold_any_network(tmp_path, state):
    state = state()
    write_safetensors(state, tmp_path / 'new' / 'net.safetensors')
    assert same(read_state_dict(tmp_path / 'new' / 'net.safetensors'), state)
    assert os.listdir(tmp_path / 'new') == ['net.safetensors']


def test_safetensors_may_be_read_by_whom_other_files_may(tmp_path):
    write_safetensors({'weight': torch.ones(3)}, tmp_path / 'net.safetensors')
    (tmp_path / 'plain').touch()
    assert (tmp_path / 'net.safetensors').stat().st_mode == (tmp_path / 'plain').stat().st_mode


def test_safetensors_take_slices_and_tensors_that_share_memory(tmp_path):
    whole = torch.arange(1_000_000.).reshape(1000, 1000)
    state = {'slice': whole[:, :2], 'row': whole[0], 'again': whole[0]}
    write_safetensors(state, tmp_path / 'net.safetensors')
    assert same(read_state_dict(tmp_path / 'net.safetensors'), state)
    assert (tmp_path / 'net.safetensors').stat().st_size < 50_000


def test_a_file_that_cannot_be_written_leaves_the_old_one_alone(tmp_path):
    path = tmp_path / 'net.safetensors'
    write_safetensors({'weight': torch.ones(3)}, path)
    with pytest.raises(Exception, match='complex'):
        write_safetensors({'weight': torch.ones(3, dtype=torch.complex128)}, path)
    assert same(read_state_dict(path), {'weight': torch.ones(3)})
    assert os.listdir(tmp_path) == ['net.safetensors']


def test_esrgan_files_are_read_here_and_by_spandrel(tmp_path):
    net = varied_rrdbnet(4, 8, 11, 32).eval()  # two digits: the order of blocks shows
    write_esrgan(net.state_dict(), tmp_path / 'net.pth')

    content = torch.load(tmp_path / 'net.pth', weights_only=True)
    assert {'model.0.weight', 'model.1.sub.0.RDB1.conv1.0.weight', 'model.1.sub.10.RDB3.conv5.0.bias',
            'model.1.sub.11.weight', 'model.3.bias', 'model.6.bias', 'model.8.bias', 'model.10.bias'} <= content.keys()
    assert all(name.startswith('model.') for name in content)
    assert same(read_state_dict(tmp_path / 'net.pth'), net.state_dict())
    image = torch.rand(1, 3, 9, 7)
    with torch.no_grad():
        torch.testing.assert_close(build_from_file(str(tmp_path / 'net.pth')).eval()(image), net(image),
                                   rtol=0, atol=0)
        opened = spandrel.ModelLoader('cpu').load_from_file(tmp_path / 'net.pth')
        assert (opened.architecture.id, opened.scale) == ('ESRGAN', 4)
        torch.testing.assert_close(opened.model(image), net(image), rtol=0, atol=1e-6)


@pytest.mark.parametrize(('state', 'found'), [
    (lambda: PrunedRRDBNet(**UNEVEN).state_dict(), 'is an RRDBNet of unequal widths'),
    (lambda: varied_rrdbnet(4, 8, 1, 16).state_dict(), 'is an RRDBNet with 16 growth channels'),
    (lambda: varied_rrdbnet(2, 8, 1, 32).state_dict(), 'is an RRDBNet for x2, which starts with a pixel-unshuffle'),
    (lambda: varied(SMALL['EDSR']).state_dict(), r"is no RRDBNet \(22 tensors, the first is 'conv_first\.weight'\)"),
    (dict, r'is no RRDBNet \(0 tensors'),
])
def test_the_old_keys_are_for_plain_rrdbnets(tmp_path, state, found):
    with pytest.raises(ExportError, match=rf'net\.pth: this network {found}.*Export it as ncnn or onnx$') as error:
        write_esrgan(state(), tmp_path / 'net.pth')
    assert '\n' not in str(error.value)
    assert os.listdir(tmp_path) == []
