"""Networks out of ncnn's `.param` and `.bin`: the same as before, and one line for everything that is none."""
from __future__ import annotations

import re
import struct
from pathlib import Path

import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from common.ncnn_files import write_ncnn
from helpers.networks import largest_difference, varied_rrdbnet
from torch import nn

from basicsr_kd.archs import PrunedRRDBNet
from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.checkpoint import checkpoint_bytes, read_state_dict
from basicsr_kd.cli.main import main
from basicsr_kd.errors import CheckpointError
from basicsr_kd.pruning import prune

IMAGE = torch.rand(1, 3, 12, 12)


def rrdbnet(scale: int = 4) -> RRDBNet:
    return varied_rrdbnet(scale, num_feat=5, num_block=2, num_grow_ch=3)  # odd, so that 16-bit weights are filled up


def compact(upscale: int = 4) -> nn.Module:
    net = SRVGGNetCompact(3, 3, num_feat=5, num_conv=2, upscale=upscale)
    for parameter in net.parameters():
        parameter.data.uniform_(-0.3, 0.3)
    return net


NETWORKS = {'rrdbnet': rrdbnet, 'x2': lambda: rrdbnet(2), 'x1': lambda: rrdbnet(1), 'compact': compact,
            'compact x2': lambda: compact(2), 'compact x3': lambda: compact(3)}


def halved(net: nn.Module) -> nn.Module:
    """The weights of convolutions as 16-bit floats have them."""
    for module in net.modules():
        if isinstance(module, nn.Conv2d):
            module.weight.data = module.weight.data.half().float()
    return net


def same(state, other) -> bool:
    return state.keys() == other.keys() and all(torch.equal(state[name], other[name]) for name in state)


@pytest.mark.parametrize('plain', [False, True], ids=['optimised', 'plain'])
@pytest.mark.parametrize('half', [False, True], ids=['fp32', 'fp16'])
@pytest.mark.parametrize('make', NETWORKS.values(), ids=NETWORKS)
def test_a_network_is_read_by_either_of_its_files(tmp_path, make, half, plain):
    net = make()
    param = write_ncnn(net, tmp_path / 'net', half, plain)
    expected = halved(net).state_dict() if half else net.state_dict()
    assert same(read_state_dict(param), expected)
    assert same(read_state_dict(tmp_path / 'net.bin', 'params_ema'), expected)
    assert all(tensor.dtype == torch.float32 for tensor in read_state_dict(param).values())
    assert largest_difference(build_from_file(str(param)), net, IMAGE) == 0


@pytest.mark.parametrize('growths', [
    [3, 0, 1, 5] * 6, [0, 0, 0, 0, 5, 5, 5, 5, 0, 5, 0, 0] * 2, [0] * 24, [5] * 24], ids=str)
def test_a_pruned_rrdbnet_computes_the_same(tmp_path, growths):
    """Widths may be those of the residual stream, which is what tells where a dense block begins."""
    net = PrunedRRDBNet(num_feat=5, num_block=2, num_grow_ch=growths)
    param = write_ncnn(net, tmp_path / 'net')
    found = build_from_file(str(param))
    assert largest_difference(found, net, IMAGE) == 0
    assert sum(p.numel() for p in found.parameters()) == sum(p.numel() for p in net.parameters())


def test_a_pruned_compact_network_is_read(tmp_path):
    pruned = prune(compact(), ratio=0.3, round_to=1).network
    assert len({len(p) for p in pruned.parameters() if p.dim() == 1}) > 2, 'not unequal'
    assert largest_difference(build_from_file(str(write_ncnn(pruned, tmp_path / 'net'))), pruned, IMAGE) == 0


def uneven() -> PrunedRRDBNet:
    return PrunedRRDBNet(num_feat=5, num_block=1, num_grow_ch=[3, 0, 1, 5] * 3)


@pytest.mark.parametrize('half', [False, True], ids=['fp32', 'fp16'])
@pytest.mark.parametrize('make', [rrdbnet, compact, uneven])
def test_what_pnnx_exports_is_the_same_network_when_read_again(tmp_path, monkeypatch, make, half):
    pnnx = pytest.importorskip('pnnx')
    monkeypatch.chdir(tmp_path)
    net = make().eval()
    pnnx.export(net, 'net.pt', (IMAGE,), (torch.rand(1, 3, 20, 16),), fp16=half)
    tolerance = 2**-10 if half else 0  # it cuts off what 16 bits do not hold, and makes the smallest zero
    for found, own in zip(read_state_dict('net.ncnn.param').values(), net.state_dict().values(), strict=True):
        torch.testing.assert_close(found, own, rtol=tolerance, atol=tolerance / 16)
    assert largest_difference(build_from_file('net.ncnn.param'), net, IMAGE) <= tolerance


def test_an_unshuffling_rrdbnet_of_pnnx_is_read(tmp_path, monkeypatch):
    pnnx = pytest.importorskip('pnnx')
    monkeypatch.chdir(tmp_path)
    net = rrdbnet(2).eval()
    pnnx.export(net, 'net.pt', (IMAGE,), fp16=False)
    assert largest_difference(build_from_file('net.ncnn.bin'), net, IMAGE) == 0


CHANGES = {
    'other kind': ('plain', 'Reorg unshuffle', 'Deconvolution up', r'kind Deconvolution \(up\), which neither'),
    'no such line': ('plain', 'ReLU leaky 1 1', 'ReLU leaky x 1', 'a line that is no layer of ncnn'),
    'setting': ('plain', '6=', '6=,', 'a line that is no layer of ncnn'),
    'endless setting': ('plain', '6=', '6=1e999', 'a line that is no layer of ncnn'),
    'shape': ('plain', '0=5', '0=7', r'weights for 7 channels and a kernel of 3x3, which cannot be'),
    'no channels': ('plain', '0=5', '0=0', r'weights for 0 channels'),
    'no param': ('plain', '7767517', '7767518', 'expected 7767517 in its first line'),
    'another slope': ('plain', 'b 0=2.0', 'b 0=1.0', r'LeakyReLU 0\.1, expected 3x3 convolution with LeakyReLU 0\.2'),
    'another factor': ('plain', '2=2.000000e-01', '2=3.000000e-01', r'multiplication by 0\.3, expected multiplic'),
    'another fused slope': ('optimised', '9=2 -23310=1,2.0', '9=2 -23310=1,1.0', r'LeakyReLU 0\.1, expected 3x3'),
    'another fused factor': ('optimised', '-23301=2,2.0', '-23301=2,3.0', r'multiplication by 0\.3, expected'),
    'a fused product': ('optimised', 'Eltwise add 2 1 a b c 0=1', 'Eltwise add 2 1 a b c 0=0', 'a product or maximum'),
    'a product': ('plain', 'BinaryOp add 2 1 a b c 0=0', 'BinaryOp add 2 1 a b c 0=2', 'operation 2 of BinaryOp'),
    'bilinear': ('plain', 'Interp up 1 1 a b 0=1', 'Interp up 1 1 a b 0=2', 'resizing by 2 and 2, mode 2'),
    'stride': ('plain', '1=3 4=1', '1=3 3=2 4=1', 'with a stride or dilation'),
    'padding': ('plain', '1=3 4=1', '1=3 4=0', 'with another padding than 1'),
    'activation': ('plain', '4=1 5=1', '4=1 5=1 9=4', 'with activation 4'),
    'order of channels': ('plain', 'Reorg unshuffle 1 1 a b 0=2', 'Reorg unshuffle 1 1 a b 0=2 1=1', 'mode 1'),
    'other shuffle': ('compact', 'shuffle 1 1 a b 0=4', 'shuffle 1 1 a b 0=2', 'shuffle by 2, expected pixel'),
}


@pytest.mark.parametrize(('make', 'old', 'new', 'message'), CHANGES.values(), ids=CHANGES)
def test_another_network_is_refused_with_what_was_found(tmp_path, make, old, new, message):
    param = write_ncnn(compact() if make == 'compact' else rrdbnet(2), tmp_path / 'net', plain=make == 'plain')
    assert old in param.read_text()
    param.write_text(param.read_text().replace(old, new, 1))
    with pytest.raises(CheckpointError, match=message) as raised:
        read_state_dict(param)
    assert str(param) in str(raised.value) and '\n' not in str(raised.value)


@pytest.mark.parametrize(('net', 'message'), [
    (nn.Sequential(*(nn.Conv2d(3, 3, 3) for _ in range(4))), 'it has 4 convolutions and an RRDBNet has at least 6'),
    (nn.Sequential(*(nn.Conv2d(4, 4, 3) for _ in range(14))), 'its 14 convolutions do not follow each other'),
    (nn.Sequential(nn.Conv2d(3, 3, 3), nn.Conv2d(3, 5, 3), *(nn.Conv2d(3, 3, 3) for _ in range(4))), 'do not follow'),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 6, 3), *(nn.Conv2d(4, 4, 3) for _ in range(5))), 'no dense block'),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 4, 3), nn.PReLU(4)), 'do not take turns'),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU(1), nn.Conv2d(4, 48, 3)), 'takes 1 channels and is given 4'),
    (nn.Sequential(nn.Conv2d(3, 4, 3), nn.PReLU(4), nn.Conv2d(4, 13, 3)), 'makes 13 channels'),
])
def test_shapes_of_another_network_are_refused(tmp_path, net, message):
    net.upscale = 4
    with pytest.raises(CheckpointError, match=message):
        read_state_dict(write_ncnn(net, tmp_path / 'net'))


def test_what_comes_behind_a_network_is_not_lost_without_a_word(tmp_path):
    """As in realesr-animevideov3-x2, which is the x4 network and a resizing."""
    param = write_ncnn(compact(), tmp_path / 'net')
    lines = [*param.read_text().splitlines(), 'Interp Resize_40 1 1 112 output 0=3 1=5.000000e-01 2=5.000000e-01']
    lines[1] = f'{len(lines) - 2} 1'
    param.write_text('\n'.join(lines))
    with pytest.raises(CheckpointError, match=r'goes on behind its network: Resize_40, resizing by 0\.5.*'
                                              r'that is realesr-animevideov3-x4'):
        read_state_dict(param)


def test_files_cut_short_anywhere_are_refused(tmp_path):
    param = write_ncnn(rrdbnet(), tmp_path / 'net', half=True)
    text, content = param.read_bytes(), (tmp_path / 'net.bin').read_bytes()
    for length in (0, 3, 4, 150, len(content) - 1):
        (tmp_path / 'net.bin').write_bytes(content[:length])
        with pytest.raises(CheckpointError, match=rf'\({length:,} bytes\) ends within the weights of the layer'):
            read_state_dict(param)
    (tmp_path / 'net.bin').write_bytes(content + b'1234')
    with pytest.raises(CheckpointError, match=r'net\.bin has 4 bytes more than the layers of net\.param take'):
        read_state_dict(param)
    (tmp_path / 'net.bin').write_bytes(content)
    lines = text.splitlines(keepends=True)
    for count in (0, 1, 2, 40):
        param.write_bytes(b''.join(lines[:count]))
        with pytest.raises(CheckpointError, match=r'cut short or damaged|in its first line'):
            read_state_dict(param)


@pytest.mark.parametrize(('tag', 'words'), [(0x000D4B38, '0x000D4B38, 8-bit integers.'), (0x12345678, '0x12345678.')])
def test_quantised_weights_are_refused(tmp_path, tag, words):
    param = write_ncnn(compact(), tmp_path / 'net')
    content = (tmp_path / 'net.bin').read_bytes()
    (tmp_path / 'net.bin').write_bytes(struct.pack('<I', tag) + content[4:])
    with pytest.raises(CheckpointError, match=rf'layer body\.0 with {re.escape(words)} Expected 0x01306B47'):
        read_state_dict(param)


def test_a_file_without_the_other_says_which_is_missing(tmp_path):
    param = write_ncnn(compact(), tmp_path / 'net')
    weights = tmp_path / 'net.bin'
    weights.rename(tmp_path / 'kept')
    with pytest.raises(CheckpointError, match=r'net\.bin cannot be read .*in one folder, net\.param and net\.bin'):
        read_state_dict(param)
    (tmp_path / 'kept').rename(weights)
    param.unlink()
    with pytest.raises(CheckpointError, match=r"Where it is ncnn's, net\.param belongs beside it"):
        read_state_dict(weights)


def test_a_bin_of_pytorch_is_still_read(tmp_path):
    torch.save(compact().state_dict(), tmp_path / 'pytorch_model.bin')
    assert 'body.0.weight' in read_state_dict(tmp_path / 'pytorch_model.bin')


def test_both_files_count_for_the_size(tmp_path):
    param = write_ncnn(compact(), tmp_path / 'net')
    size = param.stat().st_size + (tmp_path / 'net.bin').stat().st_size
    assert checkpoint_bytes(param) == checkpoint_bytes(tmp_path / 'net.bin') == size


def test_the_command_prunes_such_a_file_and_writes_nothing_of_a_bad_one(tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    write_ncnn(rrdbnet(), Path('net'))
    arguments = ['prune', '--weights', 'net.param', '--ratio', '0.3', '--round-to', '1', '--out', 'pruned.pth']
    assert main(arguments) == 0
    pruned = prune(rrdbnet(), ratio=0.3, round_to=1).network
    assert largest_difference(build_from_file('pruned.pth'), pruned, IMAGE) == 0

    Path('net.bin').write_bytes(Path('net.bin').read_bytes()[:-5])
    before = sorted(tmp_path.iterdir())
    assert main([*arguments[:-1], 'second.pth']) == 2
    error = capsys.readouterr().err.strip()
    assert 'is cut short or not the file of net.param' in error and '\n' not in error
    assert sorted(tmp_path.iterdir()) == before
