"""Checkpoints of FRNet: TecoGAN-PyTorch's form, what is read off shapes, and pruned ones."""
from collections import OrderedDict

import pytest
import torch
import yaml
from helpers.networks import largest_difference

from basicsr_kd.archs import FRNet
from basicsr_kd.archs.from_file import build_from_file, network_section, read_architecture, write_network_file
from basicsr_kd.archs.tecogan_state import tecogan_state
from basicsr_kd.checkpoint import atomic_save, write_checkpoint
from basicsr_kd.errors import CheckpointError, OptionsError
from basicsr_kd.preflight.networks import must_fit
from basicsr_kd.pruning import prune

FNET = [('encoder1', 6, 32), ('encoder2', 32, 64), ('encoder3', 64, 128), ('decoder1', 128, 256),
        ('decoder2', 256, 128), ('decoder3', 128, 64)]
CLIP = torch.rand(1, 3, 3, 16, 9, generator=torch.Generator().manual_seed(0))


def public_state(nf=8, nb=2, scale=4, degradation='BD'):
    """A state dict with the names and shapes of TecoGAN-PyTorch's checkpoints, written down from those."""
    convs = {}
    for stage, inputs, outputs in FNET:
        convs[f'fnet.{stage}.0'], convs[f'fnet.{stage}.2'] = (outputs, inputs), (outputs, outputs)
    convs.update({'fnet.flow.0': (32, 64), 'fnet.flow.2': (2, 32), 'srnet.conv_in.0': (nf, 3 * scale**2 + 3)})
    convs.update({f'srnet.resblocks.{block}.conv.{layer}': (nf, nf) for block in range(nb) for layer in (0, 2)})
    convs.update({f'srnet.conv_up.{layer}': (nf, nf) for layer in ((0, 2) if scale == 4 else (0,))})
    convs['srnet.conv_out'] = (3, nf)
    state = OrderedDict()
    kernels = torch.tensor([[0, 1, 0, 0], [-27, 225, 67, -9], [-24, 152, 152, -24], [-9, 67, 225, -27]]) / 256
    kernels[0] *= 256
    if degradation == 'BD':
        state['upsample_func.kernels'] = kernels[::4 // scale].clone()
    for name, (outputs, inputs) in convs.items():
        state[f'{name}.weight'], state[f'{name}.bias'] = torch.randn(outputs, inputs, 3, 3) / 20, torch.randn(outputs)
    if degradation == 'BD':
        state['srnet.upsample_func.kernels'] = kernels[::4 // scale].clone()
    return state


@pytest.mark.parametrize('degradation', ['BD', 'BI'])
@pytest.mark.parametrize('scale', [4, 2])
def test_a_public_checkpoint_loads_strictly_and_comes_back_bit_for_bit(tmp_path, degradation, scale):
    state = public_state(6, 3, scale, degradation)
    torch.save(state, tmp_path / 'public.pth')
    net = build_from_file(str(tmp_path / 'public.pth'))
    assert read_architecture(state, 'public.pth') == {
        'type': 'FRNet', 'in_nc': 3, 'out_nc': 3, 'nf': 6, 'nb': 3, 'degradation': degradation, 'scale': scale}
    assert net(CLIP).shape == (1, 3, 3, 16 * scale, 9 * scale)

    fresh = FRNet(nf=6, nb=3, degradation=degradation, scale=scale).state_dict()
    assert all(torch.equal(fresh[name], kernels) for name, kernels in state.items() if name.endswith('kernels'))
    atomic_save(tecogan_state(net), tmp_path / 'again.pth')
    again = torch.load(tmp_path / 'again.pth', weights_only=True)
    assert list(again) == list(state)
    assert all(torch.equal(again[name], tensor) for name, tensor in state.items())


def test_basicsrs_form_and_that_of_dataparallel_are_read_too(tmp_path):
    state = public_state()
    write_checkpoint(tmp_path / 'net_g.pth', public_state(), state)
    torch.save({f'module.{name}': tensor for name, tensor in state.items()}, tmp_path / 'parallel.pth')
    one, other = (build_from_file(str(tmp_path / name)) for name in ('net_g.pth', 'parallel.pth'))
    assert torch.equal(one.state_dict()['srnet.conv_out.weight'], state['srnet.conv_out.weight'])
    assert largest_difference(one, other, CLIP) == 0.0


def test_another_number_of_blocks_says_both(tmp_path):
    torch.save(public_state(nb=5), tmp_path / 'b5.pth')
    with pytest.raises(CheckpointError, match=r'b5\.pth is not the FRNet that the options describe: nb is 5 in the '
                                              r'file, 3 in the network; .*The file holds \{type: FRNet, .*nb: 5'):
        build_from_file(str(tmp_path / 'b5.pth'), network={'type': 'FRNet', 'nf': 8, 'nb': 3})
    with pytest.raises(OptionsError, match=r'x\.pth does not fit network_g \(FRNet\): nb is 2 in the file, 10 in the '
                                           r'network; srnet\.resblocks\.2\.conv\.0\.weight is missing in the file'):
        must_fit(FRNet(nf=8), public_state(), 'x.pth', 'network_g')


def test_another_degradation_or_scale_is_told_apart():
    with pytest.raises(OptionsError, match='degradation is BI in the file, BD in the network; scale is 2 in the file'):
        must_fit(FRNet(nf=8, nb=2), public_state(scale=2, degradation='BI'), 'x.pth', 'network_g')


def test_tensors_that_only_look_like_an_frnet_are_not_taken_for_one():
    state = public_state()
    for other in ({**state, 'extra.weight': torch.zeros(1)},
                  {**state, 'srnet.conv_up.4.weight': torch.zeros(8, 8, 3, 3)},
                  {**state, 'srnet.resblocks.1.conv.2.weight': torch.zeros(8, 7, 3, 3)},
                  {name: tensor for name, tensor in state.items() if name != 'fnet.flow.0.bias'},
                  {name: tensor for name, tensor in state.items() if not name.startswith('fnet.')}):
        with pytest.raises(CheckpointError, match='is no RRDBNet, SRVGGNetCompact, MSRResNet or FRNet'):
            read_architecture(other, 'net.pth')


def test_fewer_blocks_and_features_are_an_frnet_again():
    options = {'type': 'FRNet', 'nf': 8, 'nb': 4}
    assert network_section(public_state(nf=6, nb=1), 'x.pth', options) == {**options, 'nf': 6, 'nb': 1}


@pytest.mark.parametrize('degradation', ['BD', 'BI'])
def test_a_narrower_fnet_to_a_file_and_back_with_and_without_its_yml(tmp_path, degradation):
    net = FRNet(nf=8, nb=2, degradation=degradation).eval()
    pruned = prune(net, ratio=0.4, layout='width', target='fnet').network
    path = tmp_path / 'pruned.pth'
    write_network_file(path, pruned.state_dict(), {'type': 'FRNet', 'nf': 8, 'nb': 2, 'degradation': degradation})
    assert yaml.safe_load(path.with_suffix('.yml').read_text())['network_g'] == {
        'type': 'PrunedNet', 'base': {'type': 'FRNet', 'nf': 8, 'nb': 2, 'degradation': degradation},
        'like': str(path)}
    assert largest_difference(build_from_file(str(path)), pruned, CLIP) == 0.0
    path.with_suffix('.yml').unlink()
    assert largest_difference(build_from_file(str(path)), pruned, CLIP) == 0.0
    with pytest.raises(CheckpointError, match=r'lost channels \(fnet\..* in it, \(256, .* in an unpruned one\)'):
        tecogan_state(pruned)


def test_only_an_frnet_has_tecogans_form():
    with pytest.raises(CheckpointError, match='found a network Conv2d; expected an FRNet'):
        tecogan_state(torch.nn.Conv2d(3, 3, 3))
