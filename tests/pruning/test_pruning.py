"""Pruning on small networks: every option, every promise. The real size is in test_pruning_real_size.py."""
import copy
import itertools
import random

import pytest
import torch
from helpers.networks import count, largest_difference, masked, varied_rrdbnet
from torch_pruning.dependency import shape_infer

from basicsr_kd.archs import PrunedRRDBNet, SlimRRDBNet
from basicsr_kd.metrics.complexity import complexity
from basicsr_kd.pruning import PruningError, Request, check_prune, prune
from basicsr_kd.pruning.channels.importance import MAGNITUDES
from basicsr_kd.utils.prune_request import CHOICES

IMAGE = torch.rand(1, 3, 16, 16)


@pytest.fixture(scope='module')
def net():
    return varied_rrdbnet(num_feat=16, num_block=2, num_grow_ch=16)


def widths(report):
    return [len(channels) for channels in report.kept.values()]


@pytest.mark.parametrize('allocation', ['global', 'uniform'])
@pytest.mark.parametrize('round_to', [16, 8, 4, 1])
@pytest.mark.parametrize('ratio', [0.0, 0.25, 0.6])
def test_output_is_that_of_the_masked_original(net, ratio, round_to, allocation):
    report = prune(net, ratio=ratio, round_to=round_to, allocation=allocation)

    assert largest_difference(masked(net, report.kept), report.network, IMAGE) < 1e-5
    assert all(width % round_to == 0 for width in widths(report))
    assert report.params_before == count(net)
    assert report.params_after == count(report.network)


@pytest.mark.parametrize('of', ['params', 'macs'])
@pytest.mark.parametrize('round_to', [8, 4, 1])
def test_global_budget_is_met_within_half_a_percent(net, of, round_to):
    for ratio in (0.05, 0.17, 0.3, 0.6):
        report = prune(net, ratio=ratio, of=of, round_to=round_to)
        before, after = ((report.params_before, report.params_after) if of == 'params' else
                         (report.macs_before, report.macs_after))
        assert after == pytest.approx((1 - ratio) * before, rel=0.005), ratio


def test_global_budget_of_coarse_steps_is_met_as_near_as_any_single_exchange_could():
    net = varied_rrdbnet(num_feat=8, num_block=1, num_grow_ch=8)
    for ratio in (0.1, 0.3, 0.5):
        report = prune(net, ratio=ratio, round_to=8)
        miss = abs(report.params_after - report.budget)
        for back, forth in itertools.permutations(range(12), 2):
            other = widths(report)
            if (other[back], other[forth]) == (0, 8):
                other[back], other[forth] = 8, 0
                with torch.device('meta'):
                    params = count(PrunedRRDBNet(num_feat=8, num_block=1, num_grow_ch=other))
                assert miss <= max(abs(params - report.budget), 0.005 * report.budget)


@pytest.mark.parametrize('round_to', [16, 4, 1])
def test_uniform_keeps_one_width_and_no_other_is_nearer(net, round_to):
    report = prune(net, ratio=0.4, allocation='uniform', round_to=round_to)

    [width] = set(widths(report))
    miss = {}
    for other in range(0, 17, round_to):
        with torch.device('meta'):
            miss[other] = abs(count(PrunedRRDBNet(num_feat=16, num_block=2, num_grow_ch=other)) - 0.6 * count(net))
    assert miss[width] == min(miss.values())


def test_macs_agree_with_an_independent_counter(net):
    report = prune(net, ratio=0.3, of='macs', round_to=4)
    # mmengine also counts one operation for every value that an interpolation gives.
    interpolated = 16 * 64 * 64 * (4 + 16)
    assert report.macs_before == complexity(net).macs - interpolated
    assert report.macs_after == complexity(report.network).macs - interpolated


def test_ratio_zero_keeps_every_channel_and_the_very_output(net):
    report = prune(net, ratio=0)
    assert widths(report) == [16] * 24
    assert largest_difference(net, report.network, IMAGE) == 0.0


def test_highest_reachable_ratio_leaves_no_growth_at_all(net):
    with torch.device('meta'):
        least = count(PrunedRRDBNet(num_feat=16, num_block=2, num_grow_ch=0))
    report = prune(net, ratio=1 - least / count(net) - 1e-9)

    assert widths(report) == [0] * 24
    assert largest_difference(masked(net, report.kept), report.network, IMAGE) < 1e-5


@pytest.mark.parametrize('of', ['params', 'macs'])
def test_unreachable_budget_names_what_is_reachable(net, of):
    reach = rf'ratio 0.95 would leave .* {of}, but layout growth with round_to 16 reaches from'
    with pytest.raises(PruningError, match=reach) as error:
        prune(net, ratio=0.95, of=of)
    most = float(str(error.value).rstrip('.').rpartition(' ')[2])
    prune(net, ratio=most, of=of)


@pytest.mark.parametrize('importance', ['l1', 'l2', 'lamp', 'fpgm'])
def test_least_important_channels_go_first(net, importance):
    net = copy.deepcopy(net)
    small = {'body.0.rdb1.conv2': [0, 5, 6, 15], 'body.1.rdb3.conv4': [1, 2, 3, 4]}
    for path, channels in small.items():
        conv = net.get_submodule(path)
        conv.weight.data[channels] *= 1e-3
        for follower in range(int(path[-1]) + 1, 6):  # what reads these channels
            reader = net.get_submodule(f'{path[:-1]}{follower}')
            first = 16 * int(path[-1])
            reader.weight.data[:, [first + channel for channel in channels]] *= 1e-3
    two_steps = 2 * 4 * (9 * (16 + 16 + 3 * 16) + 1)
    report = prune(net, ratio=two_steps / count(net), importance=importance, round_to=4)

    gone = {path: sorted(set(range(16)) - set(kept)) for path, kept in report.kept.items() if len(kept) < 16}
    assert gone == small


def test_layer_of_zeros_goes_first(net):
    net = copy.deepcopy(net)
    for parameter in net.body[1].rdb2.parameters():
        parameter.data.zero_()
    report = prune(net, ratio=0.2, round_to=4)
    assert all(not report.kept[f'body.1.rdb2.conv{conv}'] for conv in (1, 2, 3, 4))


def test_random_importance_follows_the_seed_and_puts_the_generator_back(net):
    torch.manual_seed(5)
    before = torch.get_rng_state()
    first = prune(net, ratio=0.3, importance='random', round_to=4)
    assert torch.equal(torch.get_rng_state(), before)
    assert prune(net, ratio=0.3, importance='random', round_to=4).kept == first.kept
    torch.manual_seed(6)
    assert prune(net, ratio=0.3, importance='random', round_to=4).kept != first.kept


def test_pruning_needs_no_gradients_and_leaves_the_original_alone(net):
    frozen = copy.deepcopy(net).requires_grad_(False).eval().to(memory_format=torch.channels_last)
    weights = copy.deepcopy(frozen.state_dict())
    rng = torch.get_rng_state()
    expected = prune(net, ratio=0.3, round_to=4)

    for off in (torch.no_grad(), torch.inference_mode()):
        with off:
            report = prune(frozen, ratio=0.3, round_to=4)
        assert report.kept == expected.kept

    assert torch.equal(torch.get_rng_state(), rng)
    assert all(torch.equal(frozen.state_dict()[name], weights[name]) for name in weights)
    assert not any(parameter.requires_grad for parameter in frozen.parameters())
    assert not report.network.training and expected.network.training
    originals = {parameter.data_ptr() for parameter in frozen.parameters()}
    assert all(parameter.requires_grad and not parameter.is_inference() and parameter.data_ptr() not in originals
               for parameter in report.network.parameters())
    report.network(IMAGE).sum().backward()


@pytest.mark.parametrize('scale', [4, 2, 1])
@pytest.mark.parametrize('arch', [SlimRRDBNet, PrunedRRDBNet])
def test_every_scale_and_every_rrdbnet_can_be_pruned(arch, scale):
    net = arch(scale=scale, num_feat=8, num_block=1, num_grow_ch=8)
    report = prune(net, ratio=0.3, round_to=4)
    assert report.network.scale == scale
    assert largest_difference(masked(net, report.kept), report.network, IMAGE) < 1e-5


def test_pruned_network_can_be_pruned_again(net):
    once = prune(net, ratio=0.5, round_to=16)
    assert 0 in widths(once), 'this test wants a convolution that is gone'
    for allocation in ('global', 'uniform'):
        twice = prune(once.network, ratio=0.2, round_to=4, allocation=allocation)
        assert largest_difference(masked(once.network, twice.kept), twice.network, IMAGE) < 1e-5
        assert count(twice.network) < count(once.network)
        assert all(len(twice.kept[path]) <= len(once.kept[path]) for path in twice.kept)
    twice = prune(once.network, ratio=0.2, round_to=1)
    assert count(twice.network) == pytest.approx(0.8 * count(once.network), rel=0.005)


def test_widths_between_the_multiples_drop_to_the_next_one():
    draw = random.Random(1)
    growths = [draw.choice([0, 3, 5, 8, 11]) for _ in range(12)]
    net = PrunedRRDBNet(num_feat=8, num_block=1, num_grow_ch=growths)
    report = prune(net, ratio=0.4, round_to=4)
    before = [growth for growth in growths if growth]
    assert all(new == old or new % 4 == 0 for old, new in zip(before, widths(report), strict=True))
    assert largest_difference(masked(net, report.kept), report.network, IMAGE) < 1e-5


def test_torch_pruning_is_left_as_it_was(net):
    before = shape_infer.infer_out_channels_recursively
    prune(net, ratio=0.3)
    assert shape_infer.infer_out_channels_recursively is before


def test_table_shows_every_stage_and_the_totals(net):
    report = prune(net, ratio=0.3, round_to=4)
    lines = report.table().splitlines()
    assert 'ratio 0.3 of params, layout growth, allocation global, importance l2, round_to 4' in lines[0]
    assert [line.split()[0] for line in lines[2:]][:5] == ['conv_first', 'body.0', 'body.1', 'conv_body', 'conv_up1']
    assert '16x15 -> ' in lines[3]
    left = 100 * count(report.network) / count(net)
    assert f'parameters: {count(net):,} -> {count(report.network):,} ({left:.1f} %)' in report.table()
    assert 'MACs, 64x64 input: ' in report.table()
    assert sum(stage.params_before for stage in report.stages) == count(net)
    assert sum(stage.params_after for stage in report.stages) == count(report.network)


def test_table_says_when_the_budget_was_missed(net):
    report = prune(net, ratio=0.2, allocation='uniform', round_to=16)
    assert f'The budget was {round(0.8 * count(net)):,} params; the steps of this layout came no' in report.table()


@pytest.mark.parametrize(('options', 'message'), [
    ({'ratio': 1}, 'ratio is 1. Expected a number from 0 to less than 1'),
    ({'ratio': -0.1}, 'ratio is -0.1'),
    ({'ratio': '0.3'}, "ratio is '0.3'"),
    ({'ratio': float('nan')}, 'ratio is nan'),
    ({'ratio': 0.3, 'of': 'flops'}, "of is 'flops'. Expected one of: params, macs"),
    ({'ratio': 0.3, 'layout': 'widht'}, "layout is 'widht'. Expected one of: growth, width, balanced, blocks, unst"),
    ({'ratio': 0.3, 'allocation': 'local'}, "allocation is 'local'. Expected one of: global, uniform"),
    ({'ratio': 0.3, 'importance': ['l1']}, r"importance is \['l1'\]. Expected one of: obs, taylor, l1, l2"),
    ({'ratio': 0.3, 'round_to': 0}, 'round_to is 0. Expected a whole number of at least 1'),
    ({'ratio': 0.3, 'round_to': 4.0}, 'round_to is 4.0'),
    ({'ratio': 0.3, 'keep': 1}, 'keep counts the blocks that stay, so it needs layout blocks; found layout growth'),
    ({'ratio': 0.3, 'keep': 1, 'layout': 'blocks'}, 'ratio 0.3 and keep 1 both say how much stays. Leave one out'),
    ({'layout': 'blocks'}, 'ratio is missing: the share .*, from 0 to less than 1 .or keep: how many blocks stay'),
    ({}, 'ratio is missing: the share to take away, from 0 to less than 1.$'),
    ({'keep': 0, 'layout': 'blocks', 'select': 'last'}, 'keep is 0. Expected a whole number'),
    ({'keep': 3, 'layout': 'blocks', 'select': 'last'}, 'keep is 3, and there are 2 blocks. Expected 1 to 2'),
    ({'ratio': 0.3, 'select': 'first'}, "select is 'first'. Expected one of: least, last"),
    ({'ratio': 0.3, 'select': 'last'}, 'select says which blocks go, so it needs layout blocks; found layout growth'),
    ({'ratio': 0.3, 'target': 'body.0.rbd1'}, "no module of RRDBNet; did you mean 'body.0.rdb1'"),
    ({'ratio': 0.3, 'target': 'conv_last'}, 'conv_last has no channels that layout growth could take'),
    ({'ratio': 0.3, 'layout': 'unstructured', 'importance': 'fpgm'}, 'fpgm ranks whole channels'),
    ({'ratio': 0.3, 'layout': 'unstructured', 'reconstruct': True}, 'reconstruct refits the layers behind pruned'),
    ({'ratio': 0.3, 'importance': 'taylor'}, 'importance taylor needs calibration images'),
    ({'ratio': 0.3, 'reconstruct': True}, 'reconstruct needs calibration images'),
    ({'ratio': 0.3, 'layout': 'blocks'}, 'layout blocks with select least needs calibration images'),
])
def test_wrong_options_are_refused_by_name(net, options, message):
    with pytest.raises(PruningError, match=message):
        prune(net, **options)


def test_every_importance_but_obs_and_taylor_looks_at_weights_alone():
    assert CHOICES['importance'] == ('obs', 'taylor', *MAGNITUDES)


def test_networks_without_usable_weights_are_refused(net):
    with torch.device('meta'):
        empty = SlimRRDBNet(num_feat=8, num_block=1, num_grow_ch=8)
    with pytest.raises(PruningError, match='SlimRRDBNet is on the meta device and has no weights'):
        prune(empty, ratio=0.3)
    broken = copy.deepcopy(net)
    broken.conv_hr.weight.data[0, 0, 0, 0] = float('nan')
    with pytest.raises(PruningError, match='not finite .*, first in conv_hr.weight'):
        prune(broken, ratio=0.3)


def test_a_network_without_weights_can_be_checked():
    with torch.device('meta'):
        net = SlimRRDBNet()
    check_prune(net, Request(ratio=0.3))
    with pytest.raises(PruningError, match='Expected a ratio from 0 to 0'):
        check_prune(net, Request(ratio=0.99))
