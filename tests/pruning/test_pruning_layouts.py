"""The layouts besides growth, on small RRDBNets."""
import copy

import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from helpers.networks import count, largest_difference, masked, varied_rrdbnet

from basicsr_kd.pruning import PruningError, Request, check_prune, needs_calibration, prune

IMAGE = torch.rand(1, 3, 16, 16)


@pytest.fixture(scope='module')
def net():
    return varied_rrdbnet(num_feat=16, num_block=3, num_grow_ch=16)


def load_into_stock(network, **widths):
    stock = RRDBNet(3, 3, **{'num_feat': 16, 'num_block': 3, 'num_grow_ch': 16, **widths})
    stock.load_state_dict(network.state_dict(), strict=True)
    return stock


@pytest.mark.parametrize('round_to', [8, 4, 1])
def test_width_leaves_a_stock_rrdbnet_with_fewer_features(net, round_to):
    report = prune(net, ratio=0.3, layout='width', round_to=round_to)

    [width] = {len(channels) for channels in report.kept.values()}
    assert width % round_to == 0 and width < 16
    stock = load_into_stock(report.network, num_feat=width)
    assert largest_difference(stock, report.network, IMAGE) == 0.0
    assert largest_difference(masked(net, report.kept), report.network, IMAGE) < 1e-5
    near = {}
    for other in range(round_to, 17, round_to):
        near[other] = abs(count(RRDBNet(3, 3, num_feat=other, num_block=3, num_grow_ch=16)) - 0.7 * count(net))
    assert near[width] == min(near.values())


def test_width_keeps_the_same_stream_channels_in_every_block(net):
    report = prune(net, ratio=0.3, layout='width', round_to=4)
    stream = [report.kept[path] for path in report.kept if path in ('conv_first', 'conv_body') or 'conv5' in path]
    assert len(stream) == 2 + 9 and all(channels == stream[0] for channels in stream)


@pytest.mark.parametrize('of', ['params', 'macs'])
@pytest.mark.parametrize('ratio', [0.1, 0.3, 0.5, 0.8])
def test_balanced_meets_the_budget_with_both(net, ratio, of):
    report = prune(net, ratio=ratio, layout='balanced', round_to=4, of=of)
    before = count(net) if of == 'params' else report.macs_before
    assert report.reached == pytest.approx((1 - ratio) * before, rel=0.005)
    assert largest_difference(masked(net, report.kept), report.network, IMAGE) < 1e-5
    if ratio >= 0.3:
        assert len(report.kept['conv_first']) < 16
        assert any(len(report.kept[path]) < 16 for path in report.kept if path.endswith('conv4'))


def test_uniform_growth_and_uniform_balanced_leave_stock_networks(net):
    report = prune(net, ratio=0.4, allocation='uniform', round_to=4)
    load_into_stock(report.network, num_grow_ch=len(report.kept['body.0.rdb1.conv1']))
    report = prune(net, ratio=0.5, layout='balanced', allocation='uniform', round_to=4)
    load_into_stock(report.network, num_feat=len(report.kept['conv_first']),
                    num_grow_ch=len(report.kept['body.0.rdb1.conv1']))


@pytest.mark.parametrize('options', [{'keep': 2}, {'ratio': 0.3}])
def test_blocks_leave_a_stock_rrdbnet_with_fewer_blocks(net, options):
    report = prune(net, layout='blocks', select='last', **options)
    stock = load_into_stock(report.network, num_block=2)
    shorter = copy.deepcopy(net)
    shorter.body = shorter.body[:2]
    assert largest_difference(shorter, report.network, IMAGE) == largest_difference(stock, shorter, IMAGE) == 0.0
    assert 'body.2' in report.table() and 'removed' in report.table()


@pytest.mark.parametrize('weakest', [0, 1, 2])
def test_blocks_of_least_effect_go_and_the_rest_is_renumbered(net, weakest):
    net = copy.deepcopy(net)
    for index, block in enumerate(net.body):  # a block's output is 1.2 x + what its dense blocks add
        for parameter in block.parameters():
            parameter.data *= 0.01 if index == weakest else 2
    images = torch.rand(2, 3, 16, 16)
    without = []
    for index in range(3):
        without.append(copy.deepcopy(net))
        del without[-1].body[index]
    effects = [(shorter(images) - net(images)).square().mean().item() for shorter in without]
    assert effects.index(min(effects)) == weakest, 'this test wants a block that clearly matters least'

    report = prune(net, keep=2, layout='blocks', calibration=images)
    assert [path for path, new in report.cut.renamed.items() if new is None] == [f'body.{weakest}']
    assert largest_difference(without[weakest], report.network, IMAGE) == 0.0
    assert weakest == 2 or 'body.2 -> body.1' in report.table()


def test_blocks_of_a_part_are_those_of_its_whole_chains(net):
    assert len(prune(net, keep=1, layout='blocks', select='last', target='body').network.body) == 1
    with pytest.raises(PruningError, match='RRDBNet: body.1 has no residual blocks'):
        prune(net, ratio=0, layout='blocks', select='last', target='body.1')


def test_blocks_of_a_network_that_lost_growth_channels_before(net):
    once = prune(net, ratio=0.3, round_to=4).network
    twice = prune(once, keep=1, layout='blocks', select='last')
    once.body = once.body[:1]
    assert largest_difference(once, twice.network, IMAGE) == 0.0


@pytest.mark.parametrize('importance', ['l1', 'l2', 'lamp', 'taylor', 'random'])
@pytest.mark.parametrize('allocation', ['global', 'uniform'])
def test_unstructured_leaves_exactly_the_budget_and_the_other_weights(net, importance, allocation):
    calibration = torch.rand(1, 3, 8, 8) if importance == 'taylor' else None
    report = prune(net, ratio=0.3, layout='unstructured', importance=importance, allocation=allocation,
                   calibration=calibration)
    left = sum(int(torch.count_nonzero(parameter)) for parameter in report.network.parameters())
    rounding = 1 if allocation == 'global' else 60  # a weight a tensor
    assert left == report.nonzero_after == pytest.approx(0.7 * count(net), abs=rounding)
    for name, value in report.network.state_dict().items():
        original = net.state_dict()[name]
        assert torch.equal(value, torch.where(value == 0, 0, original))
    again = prune(report.network, ratio=0.5, layout='unstructured')
    assert again.nonzero_after == pytest.approx(0.5 * report.nonzero_after, abs=1)
    assert all((again.network.state_dict()[name][value == 0] == 0).all()
               for name, value in report.network.state_dict().items())


def test_unstructured_takes_the_smallest_weights_and_counts_macs(net):
    report = prune(net, ratio=0.2, layout='unstructured', importance='l1')
    gone = torch.cat([net.state_dict()[name][mask].abs() for name, mask in report.cut.zeroed.items()])
    stay = torch.cat([net.state_dict()[name][~mask].abs() for name, mask in report.cut.zeroed.items()])
    assert gone.max() <= stay.min()
    report = prune(net, ratio=0.2, layout='unstructured', of='macs')
    assert report.reached == pytest.approx(0.8 * report.macs_before, rel=1e-3)


def test_a_part_of_the_network_is_pruned_for_itself(net):
    report = prune(net, ratio=0.3, target='body.1', round_to=4)
    before, after = (count(network.body[1]) for network in (net, report.network))
    assert after == pytest.approx(0.7 * before, rel=0.015)  # one step of 4 channels is 3 to 5 % of so small a part
    assert count(net) - count(report.network) == before - after
    assert largest_difference(masked(net, report.kept), report.network, IMAGE) < 1e-5
    report = prune(net, ratio=0.3, target='body.1', layout='unstructured')
    assert {name.rpartition('.rdb')[0] for name in report.cut.zeroed} == {'body.1'}


@pytest.mark.parametrize('layout', ['width', 'balanced'])
@pytest.mark.parametrize('target', ['body', 'body.0', 'conv_up1'])
def test_the_stream_of_an_rrdbnet_is_no_part_of_it(net, layout, target):
    with pytest.raises(PruningError, match=f'RRDBNet: {target} has no (channels|residual stream)'):
        check_prune(net, Request(ratio=0.1, layout=layout, target=target, round_to=4))


def test_cut_fits_whatever_has_the_tensors_names_and_shapes(net):
    ema = copy.deepcopy(net)
    optimizer = torch.optim.Adam(net.parameters())
    net(IMAGE).sum().backward()
    optimizer.step()
    moments = {name: optimizer.state[parameter]['exp_avg'] for name, parameter in net.named_parameters()}
    for options in ({'ratio': 0.3, 'round_to': 4}, {'ratio': 0.3, 'layout': 'balanced', 'round_to': 4},
                    {'keep': 1, 'layout': 'blocks', 'select': 'last'}, {'ratio': 0.5, 'layout': 'unstructured'}):
        report = prune(net, **options)
        state = report.network.state_dict()
        assert all(torch.equal(value, state[name]) for name, value in report.cut.apply(net.state_dict()).items())
        copy.deepcopy(report.network).load_state_dict(report.cut.apply(ema.state_dict()), strict=True)
        cut = report.cut.apply(moments)
        assert {name: value.shape for name, value in cut.items()} == {name: state[name].shape for name in state}
    net.zero_grad(set_to_none=True)


def test_budgets_out_of_reach_name_the_range(net):
    with pytest.raises(PruningError, match='layout width with round_to 4 reaches from .* down to .* Expected a ratio'):
        check_prune(net, Request(ratio=0.99, layout='width', round_to=4))
    with pytest.raises(PruningError, match='layout blocks reaches from .* Expected a ratio from 0 to 0.6'):
        check_prune(net, Request(ratio=0.9, layout='blocks'))
    with pytest.raises(PruningError, match='layout unstructured reaches from'):
        check_prune(net, Request(ratio=0.9999, layout='unstructured'))


def test_what_needs_calibration_is_told():
    assert needs_calibration(layout='growth', importance='taylor', reconstruct=False, select='least')
    assert needs_calibration(layout='width', importance='l2', reconstruct=True, select='least')
    assert needs_calibration(layout='blocks', importance='l2', reconstruct=False, select='least')
    assert needs_calibration(layout='blocks', importance='l2', reconstruct=True, select='last')
    assert not needs_calibration(layout='blocks', importance='taylor', reconstruct=False, select='last')
    assert not needs_calibration(layout='growth', importance=None, reconstruct=False, select='least')
