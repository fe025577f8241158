"""Pruning in stages: when, how far, and what the optimizer and the zeros keep."""
from __future__ import annotations

import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from helpers.models import weights
from helpers.networks import count, varied_rrdbnet

from basicsr_kd.models.training.gradual import Schedule, Zeros, swap_parameters
from basicsr_kd.options.prune import PruneOptions
from basicsr_kd.pruning import prune


def on_meta(num_block: int = 4) -> RRDBNet:
    with torch.device('meta'):
        return RRDBNet(3, 3, num_feat=8, num_block=num_block, num_grow_ch=8)


def small(num_block: int = 4) -> RRDBNet:
    return varied_rrdbnet(num_feat=8, num_block=num_block, num_grow_ch=8)


def stages(schedule: Schedule, first: int) -> list[tuple[int, int]]:
    """Iteration and stage of all that are done from an iteration on."""
    found = []
    for iteration in range(first, 100):
        if stage := schedule.due(iteration):
            found.append((iteration, stage))
            schedule.done(stage)
    return found


def test_stages_are_due_before_the_first_iteration_and_every_so_many():
    assert stages(Schedule(PruneOptions(ratio=0.5, steps=3, every=10), on_meta()), 1) == [(1, 1), (11, 2), (21, 3)]


@pytest.mark.parametrize(('done', 'steps', 'every', 'first', 'left'), [
    (1 / 3, 3, 10, 11, [(11, 2), (21, 3)]),  # as before
    (1 / 3, 3, 4, 8, [(8, 2), (9, 3)]),
    (1 / 3, 3, 2, 8, [(8, 3)]),
    (1 / 3, 3, 20, 8, [(21, 2), (41, 3)]),
    (2 / 4, 8, 10, 15, [(41, 5), (51, 6), (61, 7), (71, 8)]),
    (3 / 8, 2, 10, 25, [(25, 2)]),
    (1.0, 5, 10, 25, []),
])
def test_no_stage_is_lost_where_a_resumed_run_has_others(done, steps, every, first, left):
    assert stages(Schedule(PruneOptions(ratio=0.5, steps=steps, every=every), on_meta(), share=done), first) == left


def test_zeros_from_before_do_not_count_as_pruned():
    options = {'layout': 'unstructured', 'importance': 'l2'}
    net = prune(small(), ratio=0.4, **options).network
    schedule = Schedule(PruneOptions(ratio=0.3, steps=2, every=1, **options), on_meta())
    schedule.density = schedule.density_of(net)
    for stage, left in ((1, 0.6 * 0.7**0.5), (2, 0.6 * 0.7)):
        report = prune(net, **schedule.request(net, stage).arguments())
        assert report.reached == pytest.approx(left * report.params_before, rel=0.02)
        net = report.network


@pytest.mark.parametrize('options', [
    {'layout': 'growth'}, {'layout': 'growth', 'of': 'macs'}, {'layout': 'balanced'},
    {'layout': 'unstructured'}, {'layout': 'unstructured', 'importance': 'random'},
    {'layout': 'growth', 'target': 'body'},
])
def test_every_stage_takes_the_same_share_of_what_it_finds(options):
    net = small()
    options = {'importance': 'l2', **options}
    schedule = Schedule(PruneOptions(ratio=0.3, steps=3, every=1, round_to=1, **options), on_meta())
    whole = prune(net, ratio=0, **options).reached
    for stage in (1, 2, 3):
        report = prune(net, **schedule.request(net, stage).arguments())
        assert report.reached == pytest.approx(0.7**(stage / 3) * whole, rel=0.02)
        net = report.network


def test_blocks_go_in_equal_numbers():
    net = small(num_block=7)
    schedule = Schedule(PruneOptions(layout='blocks', keep=2, select='last', steps=3, every=1), on_meta(7))
    found = []
    for stage in (1, 2, 3):
        net = prune(net, **schedule.request(net, stage).arguments()).network
        found.append(len(net.body))
    assert found == [5, 4, 2]


def test_a_stage_whose_share_is_gone_already_takes_nothing():
    net = small()
    pruned = prune(net, ratio=0.6, round_to=1).network
    schedule = Schedule(PruneOptions(ratio=0.6, steps=2, every=1, round_to=1, importance='l2'), on_meta())
    assert schedule.request(pruned, 1).ratio == 0
    assert count(prune(pruned, **schedule.request(pruned, 1).arguments()).network) == count(pruned)


@pytest.mark.parametrize('request_', [
    {'ratio': 0.4, 'round_to': 1}, {'ratio': 0.4, 'layout': 'width', 'round_to': 1},
    {'keep': 2, 'layout': 'blocks', 'select': 'last'}, {'ratio': 0.4, 'layout': 'unstructured'},
])
def test_the_optimizer_keeps_itself_and_the_state_of_what_stays(request_):
    net = small()
    first, *others = net.parameters()
    optimizer = torch.optim.Adam([{'params': [first], 'lr': 1e-4}, {'params': others, 'lr': 1e-3}])
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, 1)
    for _ in range(3):
        net(torch.rand(1, 3, 8, 8)).square().mean().backward()
        optimizer.step()
    before = {key: {name: optimizer.state[parameter][key].clone() for name, parameter in net.named_parameters()}
              for key in ('exp_avg', 'exp_avg_sq')}
    report = prune(net, **request_)
    new = report.network.to(memory_format=torch.channels_last)
    swap_parameters(optimizer, net, new, report.cut)

    parameters = dict(new.named_parameters())
    assert [len(group['params']) for group in optimizer.param_groups] == [1, len(parameters) - 1]
    listed = [parameter for group in optimizer.param_groups for parameter in group['params']]
    assert [id(parameter) for parameter in listed] == [id(parameter) for parameter in parameters.values()]
    assert [group['lr'] for group in optimizer.param_groups] == [1e-4, 1e-3]
    assert set(optimizer.state) == set(parameters.values())
    for key, values in before.items():
        for name, expected in report.cut.apply(values).items():
            assert torch.equal(optimizer.state[parameters[name]][key], expected), (key, name)
    assert all(state['step'] == 3 for state in optimizer.state.values())
    new(torch.rand(1, 3, 8, 8)).square().mean().backward()
    optimizer.step()
    scheduler.step()
    assert all(state['step'] == 4 for state in optimizer.state.values())


def test_an_optimizer_without_state_takes_the_new_parameters():
    net = small()
    optimizer = torch.optim.SGD(net.parameters(), lr=1.0)
    report = prune(net, ratio=0.4, round_to=1)
    swap_parameters(optimizer, net, report.network, report.cut)
    before = weights(report.network)
    report.network(torch.rand(1, 3, 8, 8)).mean().backward()
    optimizer.step()
    assert any(not torch.equal(before[name], tensor) for name, tensor in report.network.state_dict().items())
    assert not optimizer.state


def test_weights_that_are_zero_stay_zero_and_biases_are_free():
    net = prune(small(), ratio=0.5, layout='unstructured').network
    torch.nn.init.zeros_(net.conv_first.bias)
    zero = {name: parameter == 0 for name, parameter in net.named_parameters() if parameter.dim() > 1}
    zeros = Zeros(net)
    with torch.no_grad():
        for parameter in net.parameters():
            parameter += 1
    zeros.restore()
    for name, mask in zero.items():
        assert torch.equal(net.get_parameter(name) == 0, mask), name
    assert (net.conv_first.bias == 1).all()
