"""Budgets in measured time: units, the table of their times, the knapsack, and what comes out."""
import itertools
import json

import numpy as np
import pytest
import torch
from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rcan_arch import RCAN
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srresnet_arch import MSRResNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from helpers.networks import varied_rrdbnet
from torch import nn

from basicsr_kd.archs import FRNet
from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.errors import MissingExtraError, PruneOptionError, PruningError
from basicsr_kd.pruning import check_prune, prune
from basicsr_kd.pruning.job import Job, working_copy
from basicsr_kd.pruning.latency import place, stopwatch, table
from basicsr_kd.pruning.latency.knapsack import choose
from basicsr_kd.pruning.latency.place import Place, find_place
from basicsr_kd.pruning.latency.table import Table
from basicsr_kd.pruning.latency.units import find_units
from basicsr_kd.utils.prune_request import Request

NETS = {
    'RRDBNet': lambda: RRDBNet(3, 3, num_feat=8, num_block=2, num_grow_ch=8),
    'MSRResNet': lambda: MSRResNet(3, 3, 16, 4, upscale=2),
    'EDSR': lambda: EDSR(3, 3, 16, 4, upscale=2),
    'RCAN': lambda: RCAN(3, 3, 16, 2, 2, squeeze_factor=4, upscale=2),
    'SRVGGNetCompact': lambda: SRVGGNetCompact(3, 3, 16, 3),
}
HERE = Place('cpu', 'torch', 'fp32', 16, 'torch', 'here')


def macs_of(net, image=None):
    """What its convolutions multiply."""
    macs = 0

    def add(module, args, output):
        nonlocal macs
        macs += module.weight[0].numel() * output.numel()
    hooks = [module.register_forward_hook(add) for module in net.modules() if isinstance(module, torch.nn.Conv2d)]
    with torch.no_grad():
        net(torch.zeros(1, 3, 16, 16) if image is None else image)
    for hook in hooks:
        hook.remove()
    return macs


@pytest.fixture(autouse=True)
def own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv('XDG_CACHE_HOME', str(tmp_path))


@pytest.fixture
def by_macs(monkeypatch):
    """In place of seconds, which differ from run to run."""
    monkeypatch.setattr(Place, 'ready', lambda self, net, image: lambda: macs_of(net, image))
    for module in (table, stopwatch):
        monkeypatch.setattr(module, 'time_in_turns', lambda calls, *rest: (
            {name: [call() / 1e6] * 3 for name, call in calls.items()}, {}))


def job_of(kind, round_to=4):
    return Job(working_copy(NETS[kind]()), Request(ratio=0.3, of='latency', round_to=round_to), None, None)


@pytest.mark.parametrize('kind', NETS)
def test_times_of_units_add_up_to_the_network(kind, by_macs):
    """With MACs for seconds they do so exactly: what the units' times say of any widths is what the whole takes."""
    job = job_of(kind)
    units = find_units(job.net, job.removable.free, 4, job.removable.least)
    times = Table(job.net, units, job.example, HERE).measure(False)
    assert sum(len(unit.groups) for unit in units) == len(job.removable.free)
    rng = np.random.default_rng(0)

    def whole(options):
        widths = {group.root: width for unit, option in zip(units, options, strict=True)
                  for group, width in zip(unit.groups, unit.options[option], strict=True)}
        rows = [0, *options[:-1]]
        summed = sum(its[row if len(its) > 1 else 0, option]
                     for its, row, option in zip(times, rows, options, strict=True))
        return macs_of(job.build(job.kept(widths))[1]), summed

    full = whole([0] * len(units))
    unit = None
    for _ in range(4):
        macs, summed = whole([int(rng.integers(len(unit.options))) for unit in units])
        if full[0] == macs:
            continue
        per_unit = (full[0] - macs) / (full[1] - summed)
        assert unit is None or per_unit == pytest.approx(unit, rel=1e-6)
        unit = per_unit


def test_a_dense_block_is_a_unit_and_so_is_a_layer_of_a_chain():
    dense, chain = job_of('RRDBNet'), job_of('SRVGGNetCompact')
    units = find_units(dense.net, dense.removable.free, 4, 0)
    assert [unit.modules for unit in units] == [
        *((f'body.{block}.rdb{part}',) for block in (0, 1) for part in (1, 2, 3)),
        ('conv_up1',), ('conv_up2',), ('conv_hr',), ('conv_last',)]
    assert units[6].options == ((8,), (4,))  # none of these may vanish
    assert len(units[0].options) == 3**4 and units[0].options[0] == (8,) * 4 and units[0].options[-1] == (0,) * 4
    layers = find_units(chain.net, chain.removable.free, 4, 1)
    assert layers[0].modules == ('body.0', 'body.1') and layers[1].modules == ('body.2', 'body.3')
    assert layers[-1].groups == () and layers[-1].before is layers[-2].groups[0]


@pytest.mark.parametrize('chained', [False, True])
def test_the_knapsack_finds_the_best_of_all_combinations(chained):
    rng = np.random.default_rng(0)
    times = [rng.integers(1, 40, (3 if chained and index else 1, 3)).astype(float) for index in range(5)]
    losses = [rng.random(3).tolist() for _ in range(5)]

    def total(options):
        return sum(its[row if len(its) > 1 else 0, option]
                   for its, row, option in zip(times, [0, *options[:-1]], options, strict=True))

    every = list(itertools.product(range(3), repeat=5))
    for limit in (40, 50, 80, 100):
        fitting = [options for options in every if total(options) <= limit]
        found = choose(times, losses, limit)
        if not fitting:
            assert found is None
            continue
        best = min(sum(lost[option] for lost, option in zip(losses, options, strict=True)) for options in fitting)
        assert total(found) <= limit
        assert sum(lost[option] for lost, option in zip(losses, found, strict=True)) == pytest.approx(best)


def test_nothing_fits_in_no_time():
    assert choose([np.ones((1, 2))], [[0.0, 1.0]], 0.0) is None


@pytest.mark.parametrize('kind', NETS)
def test_a_share_of_the_time_is_reached(kind, by_macs):
    net = NETS[kind]().eval()
    report = prune(net, ratio=0.15, of='latency', round_to=4, size=16, runtime='torch')
    assert macs_of(report.network) / macs_of(net) == pytest.approx(0.85, rel=0.05)
    assert report.reached / report.latency.before[1] == report.latency.share
    assert report.budget == pytest.approx(0.85 * report.latency.before[1])
    assert 'time, torch' in report.table()


def test_what_is_worth_most_for_its_time_stays(by_macs):
    """The channels of one block are worth nothing: it goes first."""
    net = varied_rrdbnet(num_feat=8, num_block=2, num_grow_ch=8).eval()
    with torch.no_grad():
        for index in range(1, 5):
            getattr(net.body[1].rdb2, f'conv{index}').weight.mul_(1e-3)
            getattr(net.body[1].rdb2, f'conv{index}').bias.mul_(1e-3)
    report = prune(net, ratio=0.12, of='latency', round_to=4, size=16, runtime='torch', importance='taylor',
                   calibration=torch.rand(2, 3, 32, 32))
    left = [sum(len(report.kept[f'body.{block}.rdb{part}.conv{index}']) for index in range(1, 5))
            for block in range(2) for part in (1, 2, 3)]
    assert left[4] == min(left) and sum(left) - left[4] > 0.8 * 5 * 32


def test_layers_behind_the_body_give_their_share(by_macs, tmp_path):
    """Where they are worth nothing they go before anything else, and the file tells their widths."""
    net = varied_rrdbnet(num_feat=8, num_block=1, num_grow_ch=8).eval()
    with torch.no_grad():
        for reader in (net.conv_up2, net.conv_hr, net.conv_last):
            reader.weight[:, 4:] = 0
    report = prune(net, ratio=0.3, of='latency', round_to=4, size=16, runtime='torch', importance='taylor',
                   reconstruct=True, calibration=torch.rand(4, 3, 32, 32))
    assert [len(report.kept[layer]) for layer in ('conv_up1', 'conv_up2', 'conv_hr')] == [4, 4, 4]
    file = tmp_path / 'small.pth'
    write_checkpoint(file, report.network.state_dict())
    again = build_from_file(str(file)).eval()
    assert again.conv_hr.in_channels == 4 and torch.equal(*(one(torch.ones(1, 3, 8, 8)) for one in (
        again, report.network.eval())))


def test_times_are_kept_for_the_same_machine_alone(by_macs, tmp_path):
    job = job_of('RRDBNet')
    units = find_units(job.net, job.removable.free, 4, 0)
    first = Table(job.net, units, job.example, HERE).measure(False)
    file = tmp_path / 'basicsr_kd' / 'latency.json'
    kept = json.loads(file.read_text())
    (title,) = kept
    # in a block, where a layer is gone does not matter; conv_up2 and conv_hr are alike
    blocks, tail = 1 + 2 + 4 + 8 + 16, 2 + 4 + 2
    assert 'here' in title and len(kept[title]) == blocks + tail
    kept[title] = {key: 2 * value for key, value in kept[title].items()}
    file.write_text(json.dumps(kept))
    again = Table(job.net, units, job.example, HERE).measure(False)
    assert np.allclose(again[0], 2 * first[0])  # read
    other = Table(job.net, units, job.example, Place('cpu', 'torch', 'fp32', 16, 'torch', 'elsewhere'))
    assert np.allclose(other.measure(False)[0], first[0])  # measured anew
    assert len(json.loads(file.read_text())) == 2
    file.write_text('no JSON')
    assert np.allclose(Table(job.net, units, job.example, HERE).measure(False)[0], first[0])


@pytest.mark.parametrize('runtime', ['torch', 'openvino', 'onnxruntime'])
def test_real_seconds_in_real_programs(runtime):
    for package in ('onnx', runtime) if runtime != 'torch' else ():
        pytest.importorskip(package)
    net = RRDBNet(3, 3, num_feat=16, num_block=1, num_grow_ch=16).eval()
    report = prune(net, ratio=0.2, of='latency', round_to=16, size=32, runtime=runtime, dtype='fp32')
    assert report.latency.place.startswith(f'{runtime} ') and 'fp32, 32x32' in report.latency.place
    assert all(0 < low <= middle <= high for low, middle, high in (report.latency.before, report.latency.after))
    assert report.params_after < report.params_before


def test_out_of_reach(by_macs):
    with pytest.raises(PruningError, match=r'leave 1 % of the time.*reaches down to \d+ %.*ratio from 0 to 0\.\d+'):
        prune(NETS['RRDBNet'](), ratio=0.99, of='latency', size=16, runtime='torch')


def test_at_the_edge_of_what_is_reachable(by_macs):
    net = NETS['RRDBNet']()
    with pytest.raises(PruningError) as caught:
        prune(net, ratio=0.99, of='latency', size=16, runtime='torch', round_to=4)
    most = float(str(caught.value).rsplit(' ', 1)[1].rstrip('.'))
    report = prune(net, ratio=most, of='latency', size=16, runtime='torch', round_to=4)
    assert report.latency.share == pytest.approx(1 - most, rel=0.05)


def test_networks_that_are_neither_of_blocks_nor_chains():
    with pytest.raises(PruningError, match='FRNet takes clips. Expected of params or macs'):
        prune(FRNet(nf=8, nb=1), ratio=0.1, of='latency', round_to=4, runtime='torch')


def test_a_chain_with_batch_normalisation(by_macs):
    layers = [layer for _ in range(4) for layer in (nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())]
    net = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.Sequential(*layers), nn.Conv2d(16, 3, 3, padding=1)).eval()
    report = prune(net, ratio=0.3, of='latency', round_to=4, size=16, runtime='torch')
    assert macs_of(report.network) / macs_of(net) == pytest.approx(0.7, rel=0.05)


def test_too_many_combinations():
    job = job_of('RRDBNet')
    with pytest.raises(PruningError, match='body.0.rdb1 in every combination.* 6561 with round_to 1'):
        find_units(job.net, job.removable.free, 1, 0)
    chain = job_of('SRVGGNetCompact')
    with pytest.raises(PruningError, match='widths before and behind it, which are 256 with round_to 1'):
        find_units(chain.net, chain.removable.free, 1, 1)
    with pytest.raises(PruningError, match='6561'):
        check_prune(NETS['RRDBNet'](), Request(ratio=0.3, of='latency', runtime='torch', round_to=1))


@pytest.mark.parametrize(('options', 'message'), [
    ({'layout': 'width'}, 'needs layout growth'),
    ({'allocation': 'uniform'}, 'needs layout growth, allocation global'),
    ({'target': 'body.0'}, 'no target; found'),
    ({'of': 'macs', 'runtime': 'torch'}, "'torch' says where time is measured, so it needs of latency"),
    ({'device': 'cuda', 'runtime': 'openvino'}, 'on device cuda time is measured in torch'),
    ({'runtime': 'tensorrt'}, 'Expected one of: torch, openvino, onnxruntime'),
    ({'size': 0}, 'whole number of at least 1'),
])
def test_options_that_do_not_go_together(options, message):
    with pytest.raises(PruneOptionError, match=message):
        Request(**{'ratio': 0.5, 'of': 'latency', **options})


def test_what_is_not_here(monkeypatch):
    monkeypatch.setattr(torch.cuda, 'is_available', lambda: False)
    with pytest.raises(PruningError, match='no CUDA device here. Expected device cpu'):
        find_place(Request(ratio=0.5, of='latency', device='cuda'))
    with pytest.raises(PruningError, match='dtype is fp16, and torch on this cpu'):
        find_place(Request(ratio=0.5, of='latency', runtime='torch', dtype='fp16'))

    def missing(package, purpose):
        raise MissingExtraError(f'{purpose} needs {package}, which is not installed')
    monkeypatch.setattr(place, 'load', missing)
    with pytest.raises(MissingExtraError, match='runtime openvino needs onnx'):
        find_place(Request(ratio=0.5, of='latency', runtime='openvino'))
    assert find_place(Request(ratio=0.5, of='latency')).runtime == 'torch'


def test_a_noisy_machine_is_named():
    quiet = stopwatch.Latency('here', (0.99, 1.0, 1.01), (0.49, 0.5, 0.51))
    noisy = stopwatch.Latency('here', (0.7, 1.0, 1.3), (0.49, 0.5, 0.51))
    assert quiet.words() == 'time, here: 1000 ms (990 to 1010) -> 500 ms (490 to 510) (50.0 %)'
    assert '60 % of the median apart' in noisy.words()
