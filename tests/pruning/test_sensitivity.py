"""The sensitivity scan: each stage as if it alone were pruned, as numbers, as a table and as a picture."""
import math

import cv2
import numpy as np
import pytest
import torch
from helpers.networks import varied_rrdbnet
from helpers.pruned import SMALL, varied
from torch import nn

from basicsr_kd.pruning import PruningError, prune
from basicsr_kd.pruning.blocks import left_out
from basicsr_kd.pruning.sensitivity import StageCost, scan
from basicsr_kd.report.sensitivity import scan_plot, scan_table

IMAGES = torch.rand(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def psnr(net, other):
    with torch.no_grad():
        return -10 * math.log10((net(IMAGES) - other(IMAGES)).square().mean())


def build(kind):
    return varied_rrdbnet(num_feat=8, num_block=2, num_grow_ch=4).eval() if kind == 'RRDBNet' else varied(SMALL[kind])


@pytest.mark.parametrize(('layout', 'of', 'importance'), [
    ('growth', 'params', 'taylor'), ('growth', 'macs', 'l2'), ('unstructured', 'params', 'l1'),
    ('unstructured', 'macs', 'taylor'),
])
@pytest.mark.parametrize('kind', ['RRDBNet', *SMALL])
def test_each_stage_costs_what_pruning_that_target_costs(kind, layout, of, importance):
    net = build(kind)
    options = {'ratio': 0.2, 'of': of, 'layout': layout, 'importance': importance, 'round_to': 1}
    costs = scan(net, IMAGES, **options)
    assert any(cost.psnr is not None for cost in costs)
    for cost in costs:
        if cost.psnr is None:
            assert cost.reason and cost.after == cost.before
            with pytest.raises(PruningError):
                prune(net, **options, target=cost.stage, calibration=IMAGES)
        else:
            report = prune(net, **options, target=cost.stage, calibration=IMAGES)
            assert cost.after == report.reached < cost.before
            assert cost.psnr == pytest.approx(psnr(report.network, net), abs=0.1)


@pytest.mark.parametrize(('kind', 'blocks'), [
    ('RRDBNet', ['body.0', 'body.1']),
    ('RCAN', [f'body.{group}.residual_group.{block}' for group in (0, 1) for block in (0, 1)]),
])
def test_each_block_costs_what_leaving_it_out_costs(kind, blocks):
    net = build(kind)
    costs = scan(net, IMAGES, layout='blocks')
    assert [cost.stage for cost in costs] == blocks
    for cost in costs:
        whole = net(IMAGES)
        with left_out(net, [cost.stage]), torch.no_grad():
            error = (net(IMAGES) - whole).square().mean()
        assert cost.psnr == pytest.approx(-10 * math.log10(error), abs=0.01) and cost.after == 0


def test_network_and_random_state_are_left_alone():
    net = build('MSRResNet').train()
    before = {name: tensor.clone() for name, tensor in net.state_dict().items()}
    state = torch.get_rng_state()
    first = scan(net, IMAGES, importance='random', round_to=1)
    assert torch.equal(torch.get_rng_state(), state)
    assert net.training and all(torch.equal(tensor, before[name]) for name, tensor in net.state_dict().items())
    assert scan(net, IMAGES, importance='random', round_to=1) == first


def test_a_stage_that_cannot_lose_so_much_says_how_much_it_can():
    net = nn.Sequential(nn.Conv2d(3, 8, 3), nn.ReLU(), nn.Conv2d(8, 32, 3), nn.ReLU(), nn.Conv2d(32, 3, 3))
    costs = {cost.stage: cost for cost in scan(net, IMAGES, ratio=0.9, round_to=2)}
    assert costs['0'].reason == 'at most 0.75 of it can go' and costs['2'].psnr is not None
    with pytest.raises(PruningError, match='no stage can be pruned alone by ratio 0.95'):
        scan(net, IMAGES, ratio=0.95, round_to=2)


def test_layouts_of_the_whole_stream_are_refused():
    for layout in ('width', 'balanced'):
        with pytest.raises(PruningError, match='Expected one of: growth, blocks, unstructured'):
            scan(build('RRDBNet'), IMAGES, layout=layout)


def test_a_network_in_which_nothing_moves_has_no_error():
    net = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.ReLU(), nn.Conv2d(8, 3, 3, padding=1))
    costs = scan(net, IMAGES, ratio=0.0, round_to=1)
    assert [cost.psnr for cost in costs] == [math.inf, None]
    assert 'same' in scan_table(costs, 'params')


COSTS = [StageCost('conv_first', 100, 100, None, 'layout growth leaves it whole'), StageCost('body.0', 1000, 700, 30.0),
         StageCost('body.1', 1000, 700, 30 + 20 * math.log10(2)), StageCost('body.2', 1000, 1000, math.inf),
         StageCost('conv_last', 100, 100, None, 'layout growth leaves it whole')]


def test_bars_are_as_long_as_the_errors():
    lines = scan_table(COSTS, 'macs').splitlines()
    bars = {line.split()[1]: line.count('█') for line in lines if line.startswith('| body')}
    assert bars == {'body.0': 24, 'body.1': 12, 'body.2': 0}
    assert 'MACs' in lines[0] and '30.00 |  8.06' in lines[2]
    assert lines[-1] == 'not scanned: conv_first, conv_last (layout growth leaves it whole)'


@pytest.mark.parametrize('suffix', ['.png', '.svg', '.pdf'])
def test_the_picture_is_written(tmp_path, suffix):
    path = tmp_path / f'scan{suffix}'
    scan_plot(path, COSTS, 'a scan')
    assert path.stat().st_size > 1000
    if suffix == '.png':
        assert np.ptp(cv2.imread(str(path))) == 255
