"""PrunedNet: BasicSR's other generators after pruning, rebuilt from their files."""
import pytest
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from helpers.networks import largest_difference
from helpers.pruned import CHAINS, SMALL, cut_chains, varied, without_block

from basicsr_kd.archs import PrunedNet
from basicsr_kd.archs.build import build
from basicsr_kd.archs.from_file import build_from_file, network_section, write_network_file
from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.errors import CheckpointError

IMAGE = torch.rand(1, 3, 8, 8, generator=torch.Generator().manual_seed(1))


@pytest.mark.parametrize('kind', SMALL)
def test_it_computes_what_the_masked_original_does(tmp_path, kind):
    net = varied(SMALL[kind])
    cut, zeroed = cut_chains(net, kind)
    write_checkpoint(tmp_path / 'pruned.pth', cut)

    pruned = PrunedNet(SMALL[kind], tmp_path / 'pruned.pth').eval()
    pruned.load_state_dict(cut)
    net.load_state_dict(zeroed)

    assert type(pruned) is type(net)
    assert {name: tuple(tensor.shape) for name, tensor in pruned.state_dict().items()} == {
        name: tuple(tensor.shape) for name, tensor in cut.items()}
    assert [name for name, _ in pruned.named_modules()] == [name for name, _ in net.named_modules()]
    assert largest_difference(pruned, net, IMAGE) < 1e-5


@pytest.mark.parametrize('kind', SMALL)
def test_its_file_says_how_to_build_it_wherever_it_is_moved_to(tmp_path, kind):
    net = varied(SMALL[kind])
    cut, zeroed = cut_chains(net, kind)
    write_network_file(tmp_path / 'first' / 'pruned.pth', cut, SMALL[kind])
    (tmp_path / 'first').rename(tmp_path / 'second')

    opened = build_from_file(str(tmp_path / 'second' / 'pruned.pth')).eval()
    net.load_state_dict(zeroed)

    assert largest_difference(opened, net, IMAGE) < 1e-5


@pytest.mark.parametrize('kind', SMALL)
def test_on_the_meta_device_it_has_shapes_alone_and_draws_nothing(tmp_path, kind):
    cut, _ = cut_chains(varied(SMALL[kind]), kind)
    write_checkpoint(tmp_path / 'pruned.pth', cut)
    with torch.device('meta'):
        net = PrunedNet(SMALL[kind], tmp_path / 'pruned.pth')
        image = torch.zeros(1, 3, 8, 8)
        assert net(image).shape[-1] == 8 * SMALL[kind]['upscale']
    assert {parameter.device.type for parameter in net.parameters()} == {'meta'}


@pytest.mark.parametrize('kind', SMALL)
def test_pruned_again_its_base_is_still_the_network_before_any_pruning(tmp_path, kind):
    net = varied(SMALL[kind])
    once, _ = cut_chains(net, kind)
    write_network_file(tmp_path / 'once.pth', once, SMALL[kind])
    first = network_section(once, tmp_path / 'once.pth', SMALL[kind])
    twice = dict(once)
    writer, *between, reader = CHAINS[kind][0]
    for name in (f'{writer}.weight', f'{writer}.bias', *(f'{path}.weight' for path in between)):
        twice[name] = once[name][:2]
    twice[f'{reader}.weight'] = once[f'{reader}.weight'][:, :2]

    second = network_section(twice, tmp_path / 'twice.pth', first)

    assert first == {'type': 'PrunedNet', 'base': SMALL[kind], 'like': str(tmp_path / 'once.pth')}
    assert second == {**first, 'like': str(tmp_path / 'twice.pth')}
    write_network_file(tmp_path / 'twice.pth', twice, first)
    assert build_from_file(str(tmp_path / 'twice.pth')).get_submodule(writer).out_channels == 2


def test_groups_of_one_network_may_have_lost_different_blocks(tmp_path):
    state = without_block(varied(SMALL['RCAN']).state_dict(), 'body.0.residual_group', 0)
    write_network_file(tmp_path / 'rcan.pth', state, SMALL['RCAN'])
    net = build_from_file(str(tmp_path / 'rcan.pth'))
    assert [len(group.residual_group) for group in net.body] == [1, 2]
    assert network_section(state, 'rcan.pth', SMALL['RCAN'])['type'] == 'PrunedNet'


def test_basicsr_builds_it_by_name(tmp_path):
    write_checkpoint(tmp_path / 'pruned.pth', cut_chains(varied(SMALL['EDSR']), 'EDSR')[0])
    assert ARCH_REGISTRY.get('PrunedNet') is PrunedNet
    net = build({'type': 'PrunedNet', 'base': SMALL['EDSR'], 'like': str(tmp_path / 'pruned.pth')})
    assert (net.body[0].conv1.out_channels, net.body[0].res_scale) == (4, 0.1)


@pytest.mark.parametrize(('base', 'message'), [
    (SMALL['RCAN'],
     r'pruned\.pth \(like:\) is no pruned RCAN \(base:\): body\.0\.conv\.weight is missing in the file'),
    ({**SMALL['EDSR'], 'upscale': 8}, r'is no pruned EDSR \(base:\): upsample\.4\.weight is missing in the file'),
])
def test_a_file_of_another_network_is_refused(tmp_path, base, message):
    write_checkpoint(tmp_path / 'pruned.pth', cut_chains(varied(SMALL['EDSR']), 'EDSR')[0])
    with pytest.raises(CheckpointError, match=message):
        PrunedNet(base, tmp_path / 'pruned.pth')


@pytest.mark.parametrize(('base', 'message'), [
    ('EDSR', r"found 'EDSR'; expected the options of a network, \{type: …\}"),
    ({'num_feat': 8}, r'expected the options of a network'),
    ({'type': 'EDSRR'}, r"no network type 'EDSRR'; did you mean 'EDSR'"),
    ({'type': 'EDSR', 'num_in_ch': 3}, r"EDSR cannot be built with these options: .*'num_out_ch'"),
    ({**SMALL['EDSR'], 'num_fet': 8}, r"EDSR cannot be built with these options: .*'num_fet'"),
    ({**SMALL['EDSR'], 'upscale': 5}, r'EDSR cannot be built with these options: scale 5 is not supported'),
])
def test_a_base_that_cannot_be_built_says_why(tmp_path, base, message):
    with pytest.raises(ValueError, match=message):
        PrunedNet(base, tmp_path / 'pruned.pth')
