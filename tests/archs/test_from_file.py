"""Architectures read off files, and files that tell theirs."""
import os
from collections import OrderedDict

import pytest
import torch
import yaml
from basicsr.archs.rrdbnet_arch import RRDBNet
from helpers.networks import largest_difference, varied_rrdbnet
from helpers.pruned import SMALL, cut_chains, varied, without_block

from basicsr_kd.archs import PrunedRRDBNet
from basicsr_kd.archs.build import build
from basicsr_kd.archs.from_file import (
    build_from_file,
    like_file,
    network_section,
    read_architecture,
    write_network_file,
)
from basicsr_kd.checkpoint import read_state_dict, write_checkpoint
from basicsr_kd.errors import CheckpointError

RRDB = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'scale': 4, 'num_feat': 8, 'num_block': 2, 'num_grow_ch': 4}
EDSR = SMALL['EDSR']


@pytest.mark.parametrize('options', [
    *({**SMALL['MSRResNet'], 'upscale': upscale} for upscale in (2, 3, 4)),
    {**SMALL['MSRResNet'], 'num_in_ch': 1, 'num_out_ch': 1, 'num_feat': 5, 'num_block': 1},
    *({**SMALL['SRVGGNetCompact'], 'upscale': upscale} for upscale in (1, 2, 3, 4)),
    {**SMALL['SRVGGNetCompact'], 'num_in_ch': 1, 'num_out_ch': 1, 'num_feat': 5, 'num_conv': 0},
    RRDB,
])
def test_a_stock_network_is_read_off_its_shapes(tmp_path, options):
    net = build(options).eval()
    write_checkpoint(tmp_path / 'net.pth', net.state_dict())
    assert read_architecture(net.state_dict(), 'net.pth') == options
    opened = build_from_file(str(tmp_path / 'net.pth')).eval()
    assert largest_difference(opened, net, torch.rand(1, options['num_in_ch'], 8, 8)) == 0.0


@pytest.mark.parametrize('kind', ['MSRResNet', 'SRVGGNetCompact'])
def test_a_pruned_network_without_free_scalars_needs_no_yml(tmp_path, kind):
    net = varied(SMALL[kind])
    cut, zeroed = cut_chains(net, kind)
    write_checkpoint(tmp_path / 'net.pth', cut)
    net.load_state_dict(zeroed)
    assert largest_difference(build_from_file(str(tmp_path / 'net.pth')), net, torch.rand(1, 3, 8, 8)) < 1e-5


@pytest.mark.parametrize('options', [
    EDSR, SMALL['RCAN'],
    {**SMALL['SRVGGNetCompact'], 'act_type': 'relu'},  # or leakyrelu: no tensor tells
])
def test_a_network_that_its_shapes_do_not_tell_names_what_to_do(options):
    state = build(options).state_dict()
    with pytest.raises(CheckpointError, match=r'x/net\.pth is no RRDBNet.*network_g: \{type: …\} in net\.yml beside '
                                              r'it, teacher\.network in an options file, --arch on the command line'):
        read_architecture(state, 'x/net.pth')


def test_tensors_that_only_look_like_a_known_network_are_not_taken_for_it():
    compact = build(SMALL['SRVGGNetCompact']).state_dict()
    resnet = build(SMALL['MSRResNet']).state_dict()
    for state in ({}, {'weight': torch.zeros(3)}, {**compact, 'extra': torch.zeros(1)},
                  {**compact, 'body.2.weight': torch.zeros(8, 7, 3, 3)},
                  {**compact, 'body.2.weight': torch.zeros(8, 8, 1, 1)}, {**compact, 'body.1.weight': torch.zeros(5)},
                  {**resnet, 'conv_hr.weight': torch.zeros(8, 5, 3, 3)},
                  {**resnet, 'body.999999999.conv1.weight': torch.zeros(8, 8, 3, 3)},
                  {name: tensor for name, tensor in resnet.items() if name != 'conv_last.bias'}):
        with pytest.raises(CheckpointError, match='--arch'):
            read_architecture(state, 'net.pth')


def test_the_yml_beside_a_file_tells_its_architecture(tmp_path):
    net = varied(EDSR)
    write_checkpoint(tmp_path / 'net.pth', net.state_dict())
    (tmp_path / 'net.yml').write_text(yaml.safe_dump({'name': 'a whole options file', 'network_g': EDSR}))
    opened = build_from_file(str(tmp_path / 'net.pth'))
    assert opened.body[0].res_scale == 0.1
    assert largest_difference(opened, net, torch.rand(1, 3, 8, 8)) == 0.0


@pytest.mark.parametrize(('content', 'message'), [
    ('network_g: {type: EDSR', r'net\.yml, which tells the architecture of .*net\.pth, cannot be read: while parsing'),
    ('network_d: {type: EDSR}', r'net\.yml, which .* has no section network_g: with a type:'),
    ('- EDSR', r'has no section network_g:'),
    ('network_g: {num_feat: 3}', r'has no section network_g: with a type:'),
    ('network_g: {type: EDSRR}', r"The network of .*net\.pth: there is no network type 'EDSRR'; did you mean 'EDSR'"),
    ('network_g: {type: EDSR}', r'The network of .*net\.pth: EDSR cannot be built with these options: missing'),
])
def test_a_yml_that_does_not_tell_it_says_so(tmp_path, content, message):
    write_checkpoint(tmp_path / 'net.pth', build(EDSR).state_dict())
    (tmp_path / 'net.yml').write_text(content)
    with pytest.raises(CheckpointError, match=message) as error:
        build_from_file(str(tmp_path / 'net.pth'))
    assert '\n' not in str(error.value)


@pytest.mark.parametrize(('network', 'state', 'message'), [
    (EDSR, lambda: varied(SMALL['MSRResNet']).state_dict(),
     r'net\.pth is not the EDSR that the options describe: conv_after_body\.weight is missing in the file, '
     r'\(8, 8, 3, 3\) in the network; .* more\. The file holds \{type: MSRResNet, num_in_ch: 3, .*upscale: 4\}$'),
    ({**RRDB, 'num_block': 3}, lambda: varied_rrdbnet(4, 8, 2, 4).state_dict(),
     r'body\.2\.rdb1\.conv1\.weight is missing in the file, .* and 27 more\. The file holds \{type: RRDBNet, .*'
     r'num_block: 2, num_grow_ch: 4\}$'),
    (EDSR, lambda: cut_chains(varied(EDSR), 'EDSR')[0],
     r'body\.0\.conv1\.weight is \(4, 8, 3, 3\) in the file, \(8, 8, 3, 3\) in the network; .*'
     r'The file holds \{type: PrunedNet, base: \{type: EDSR.*\}, like: .*net\.pth\}$'),
    (RRDB, lambda: varied(EDSR).state_dict(),
     r"is not the RRDBNet .*The file holds another architecture: 22 tensors, the first is 'conv_first\.weight'$"),
])
def test_a_file_of_another_architecture_names_both(tmp_path, network, state, message):
    write_checkpoint(tmp_path / 'net.pth', state())
    with pytest.raises(CheckpointError, match=message):
        build_from_file(str(tmp_path / 'net.pth'), network=network)


def test_given_options_need_no_readable_yml(tmp_path):
    net = varied(EDSR)
    write_checkpoint(tmp_path / 'net.pth', net.state_dict())
    (tmp_path / 'net.yml').write_text('network_g: {')
    opened = build_from_file(str(tmp_path / 'net.pth'), network=EDSR)
    assert largest_difference(opened, net, torch.rand(1, 3, 8, 8)) == 0.0
    with pytest.raises(CheckpointError, match='is not the RRDBNet'):
        build_from_file(str(tmp_path / 'net.pth'), network=RRDB)


@pytest.mark.parametrize(('base', 'smaller'), [
    (RRDB, {'num_feat': 4}), (RRDB, {'num_block': 1}), (RRDB, {'num_grow_ch': 2}),
    (EDSR, {'num_feat': 4}), (EDSR, {'num_block': 2}),
    (SMALL['MSRResNet'], {'num_feat': 4}), (SMALL['MSRResNet'], {'num_block': 2}),
    (SMALL['RCAN'], {'num_feat': 4, 'squeeze_factor': 2}), (SMALL['RCAN'], {'num_group': 1}),
    (SMALL['RCAN'], {'num_block': 1}),
    (SMALL['SRVGGNetCompact'], {'num_feat': 4}), (SMALL['SRVGGNetCompact'], {'num_conv': 1}),
    ({**SMALL['SRVGGNetCompact'], 'act_type': 'relu'}, {'num_feat': 4, 'num_conv': 1}),
])
def test_what_a_stock_network_loads_strictly_is_called_by_its_own_type(tmp_path, base, smaller):
    options = {**base, **smaller}
    net = varied(options)

    write_network_file(tmp_path / 'net.pth', net.state_dict(), base)

    assert yaml.safe_load((tmp_path / 'net.yml').read_text()) == {'network_g': options}
    opened = build(options).eval()
    opened.load_state_dict(torch.load(tmp_path / 'net.pth', weights_only=True)['params'], strict=True)
    assert largest_difference(opened, net, torch.rand(1, 3, 8, 8)) == 0.0


def test_removed_blocks_leave_a_stock_network(tmp_path):
    for base, prefix in ((RRDB, 'body'), (EDSR, 'body'), (SMALL['MSRResNet'], 'body'), (SMALL['RCAN'], 'body')):
        state = without_block(varied(base).state_dict(), prefix, 0)
        count = 'num_group' if base['type'] == 'RCAN' else 'num_block'
        assert network_section(state, 'net.pth', base) == {**base, count: base[count] - 1}


def test_an_rrdbnet_of_uneven_widths_is_one_with_like(tmp_path):
    net = PrunedRRDBNet(num_feat=8, num_block=1, num_grow_ch=[0, 1, 2, 3] * 3)
    path = tmp_path / 'net.pth'
    for base in (None, RRDB, {'type': 'PrunedRRDBNet', 'like': 'old.pth'}, {**RRDB, 'type': 'SlimRRDBNet'}):
        write_network_file(path, net.state_dict(), base)
        section = yaml.safe_load((tmp_path / 'net.yml').read_text())['network_g']
        assert section == like_file(str(path), base) == {'type': 'PrunedRRDBNet', 'like': str(path)}
    build(section).load_state_dict(read_state_dict(path))


def test_a_pruned_tail_of_an_rrdbnet_needs_pruned_net(tmp_path):
    state = varied_rrdbnet(4, 8, 1, 4).state_dict()
    state.update({'conv_hr.weight': state['conv_hr.weight'][:4], 'conv_hr.bias': state['conv_hr.bias'][:4],
                  'conv_last.weight': state['conv_last.weight'][:, :4]})
    write_network_file(tmp_path / 'net.pth', state, RRDB)
    assert build_from_file(str(tmp_path / 'net.pth')).conv_last.in_channels == 4


def test_options_as_basicsr_reads_them_become_plain_yaml(tmp_path):
    base = OrderedDict({**EDSR, 'rgb_mean': (0.4, 0.5, 0.6)})
    state = cut_chains(varied(EDSR), 'EDSR')[0]
    write_network_file(tmp_path / 'net.pth', state, OrderedDict(type='PrunedNet', base=base))
    text = (tmp_path / 'net.yml').read_text()
    assert text.startswith('# The pruned network in net.pth: paste this section into an options file of BasicSR.\n'
                           'network_g:\n  type: PrunedNet\n  base:\n    type: EDSR\n')
    assert yaml.safe_load(text)['network_g']['base'] == {**base, 'rgb_mean': [0.4, 0.5, 0.6]}


@pytest.mark.parametrize(('name', 'state', 'base', 'message'), [
    ('net.pth', lambda: varied(EDSR).state_dict(), None, r'net\.pth cannot be read off its shapes; give the options'),
    ('net.pth', lambda: varied(SMALL['MSRResNet']).state_dict(), EDSR,
     r'net\.pth is no pruned EDSR: conv_after_body\.weight is missing in the file'),
    ('net.safetensors', lambda: varied(EDSR).state_dict(), EDSR, r'safetensors: expected a name that ends in \.pth'),
])
def test_what_cannot_be_opened_again_is_not_written(tmp_path, name, state, base, message):
    with pytest.raises(CheckpointError, match=message):
        write_network_file(tmp_path / name, state(), base)
    assert os.listdir(tmp_path) == []


def test_a_pruned_run_of_any_network_is_resumed_by_the_files_shapes(tmp_path):
    """As BasicSR saves it while training: no `.yml` beside it."""
    state = cut_chains(varied(EDSR), 'EDSR')[0]
    path = str(tmp_path / 'net_g_5.pth')
    write_checkpoint(path, state, state)
    net = build(like_file(path, EDSR))
    net.load_state_dict(read_state_dict(path))
    assert net.body[2].conv1.out_channels == 3


@pytest.mark.parametrize(('base', 'smaller'), [
    (SMALL['SRVGGNetCompact'], {'num_feat': 4}), (SMALL['SRVGGNetCompact'], {'num_conv': 2}),
    ({**RRDB, 'num_grow_ch': 32}, {'num_feat': 4}), ({**RRDB, 'num_grow_ch': 32}, {'num_block': 1}),
])
def test_spandrel_opens_it_with_no_difference(tmp_path, base, smaller):
    spandrel = pytest.importorskip('spandrel')
    net = varied({**base, **smaller})
    write_network_file(tmp_path / 'net.pth', net.state_dict(), base)

    opened = spandrel.ModelLoader(device='cpu').load_from_file(tmp_path / 'net.pth')

    assert opened.scale == 4
    assert largest_difference(net, opened.model, torch.rand(1, 3, 16, 16)) == 0.0


def test_the_real_compact_network_is_read_off_its_file(data_root):
    path = str(data_root / 'weights' / 'realesr-general-x4v3.pth')
    assert read_architecture(read_state_dict(path), path) == {
        'type': 'SRVGGNetCompact', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 64, 'num_conv': 32, 'upscale': 4,
        'act_type': 'prelu'}
    assert sum(parameter.numel() for parameter in build_from_file(path).parameters()) == 1_213_296


def test_an_rrdbnet_of_the_real_size_is_told_quickly():
    with torch.device('meta'):
        state = RRDBNet(3, 3, 4, 64, 16, 32).state_dict()
    assert network_section(state, 'net.pth', {**RRDB, 'num_feat': 64, 'num_grow_ch': 32, 'num_block': 23}) == {
        **RRDB, 'num_feat': 64, 'num_grow_ch': 32, 'num_block': 16}
