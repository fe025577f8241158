"""Pruning of the network the project is about: RRDBNet with 64 features, 32 growth channels, 23 blocks."""
import subprocess
import sys
import time
from pathlib import Path

import pytest
import spandrel
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from helpers.networks import count, largest_difference, masked, varied_rrdbnet

from basicsr_kd.archs import PrunedRRDBNet
from basicsr_kd.archs.from_file import build_from_file, write_network_file
from basicsr_kd.checkpoint import read_state_dict, write_checkpoint
from basicsr_kd.pruning import prune

IMAGE = torch.rand(1, 3, 12, 12)


@pytest.fixture(scope='module')
def teacher(real_networks):
    """RealESRGAN_x4plus where it is on this machine, else random weights."""
    net = build_from_file(str(real_networks['RealESRGAN_x4plus'])) if real_networks else varied_rrdbnet()
    return net.eval()


@pytest.mark.parametrize(('ratio', 'expected'), [(0.3, 11.69e6), (0.5, 8.35e6), (0.8, 3.34e6)])
def test_defaults_meet_the_papers_budgets(teacher, tmp_path, capsys, ratio, expected):
    start = time.perf_counter()
    report = prune(teacher, ratio=ratio)
    seconds = time.perf_counter() - start
    with capsys.disabled():
        print(f'\n  ratio {ratio}: {report.params_after:,} parameters in {seconds:.1f} s')

    assert count(teacher) == 16_697_987
    assert count(report.network) == report.params_after == pytest.approx(expected, rel=0.005)
    assert report.params_after == pytest.approx((1 - ratio) * 16_697_987, rel=0.005)
    assert {len(channels) for channels in report.kept.values()} <= {0, 16, 32}
    assert largest_difference(masked(teacher, report.kept), report.network, IMAGE) < 1e-5

    write_checkpoint(tmp_path / 'pruned.pth', report.network.state_dict())
    opened = PrunedRRDBNet(like=tmp_path / 'pruned.pth')
    opened.load_state_dict(read_state_dict(tmp_path / 'pruned.pth'))
    assert largest_difference(opened, report.network, IMAGE) == 0.0


@pytest.mark.parametrize('ratio', [0.3, 0.5, 0.8])
def test_balanced_meets_the_same_budgets_with_a_narrower_stream(teacher, ratio, capsys):
    report = prune(teacher, ratio=ratio, layout='balanced')
    with capsys.disabled():
        print(f'\n  balanced, ratio {ratio}: {report.params_after:,} parameters')
    assert report.params_after == pytest.approx((1 - ratio) * 16_697_987, rel=0.005)
    assert len(report.kept['conv_first']) in (32, 48)
    assert largest_difference(masked(teacher, report.kept), report.network, IMAGE) < 1e-5


@pytest.mark.parametrize(('options', 'widths', 'params'), [
    ({'layout': 'width'}, {'num_feat': 48}, 12_974_979),
    ({'layout': 'blocks', 'select': 'last'}, {'num_block': 16}, 11_662_019),
    ({'allocation': 'uniform', 'round_to': 1}, {'num_grow_ch': 22}, 11_503_667),
])
def test_equal_widths_open_in_a_stock_rrdbnet_and_in_spandrel(teacher, options, widths, params, tmp_path):
    report = prune(teacher, ratio=0.3, **options)
    assert report.params_after == params
    stock = RRDBNet(3, 3, **{'num_feat': 64, 'num_block': 23, 'num_grow_ch': 32, **widths})
    write_network_file(str(tmp_path / 'pruned.pth'), report.network.state_dict())
    stock.load_state_dict(torch.load(tmp_path / 'pruned.pth', weights_only=True)['params'], strict=True)
    assert largest_difference(stock, report.network, IMAGE) == 0.0
    if 'num_grow_ch' not in widths:  # spandrel knows no other growth than 32
        opened = spandrel.ModelLoader().load_from_file(tmp_path / 'pruned.pth').model
        assert largest_difference(opened, report.network, IMAGE) == 0.0


def test_unstructured_leaves_the_papers_number_of_weights(teacher):
    report = prune(teacher, ratio=0.3, layout='unstructured')
    before, left = (sum(int(torch.count_nonzero(parameter)) for parameter in net.parameters())
                    for net in (teacher, report.network))
    assert left == report.nonzero_after == round(0.7 * before)
    assert left == pytest.approx(11_688_591, abs=10)  # seven weights of x4plus are zero as it is


def test_taylor_and_reconstruct_work_at_this_size(teacher):
    images = torch.rand(1, 3, 32, 32, generator=torch.Generator().manual_seed(0))
    report = prune(teacher, ratio=0.3, calibration=images, reconstruct=True)
    assert report.params_after == pytest.approx(0.7 * 16_697_987, rel=0.005)
    with torch.no_grad():
        whole = teacher(images)
        plain = prune(teacher, ratio=0.3, calibration=images).network(images)
        assert (report.network(images) - whole).square().mean() <= (plain - whole).square().mean()


def test_budget_in_macs_and_a_second_pruning_are_met(teacher):
    once = prune(teacher, ratio=0.3, of='macs')
    assert once.macs_after == pytest.approx(0.7 * once.macs_before, rel=0.005)
    twice = prune(once.network, ratio=0.3, of='macs', round_to=8)
    assert twice.macs_after == pytest.approx(0.49 * once.macs_before, rel=0.005)
    assert largest_difference(masked(once.network, twice.kept), twice.network, IMAGE) < 1e-5


def test_uniform_growth_of_one_width_has_the_known_number_of_parameters(teacher):
    assert prune(teacher, ratio=0.5, allocation='uniform').params_after == 8_744_771


@pytest.mark.skipif(not Path('/proc/self/status').exists(), reason='the peak memory of a process is read from /proc')
def test_pruning_stays_below_two_gigabytes(capsys):
    code = ('import sys; sys.path.insert(0, sys.argv[1])\n'
            'from helpers.networks import varied_rrdbnet\n'
            'from basicsr_kd.pruning import prune\n'
            'net = varied_rrdbnet()\n'
            'prune(net, ratio=0.8)\n'
            'prune(net, ratio=0.3, layout="unstructured")\n'
            'print([line for line in open("/proc/self/status") if line.startswith("VmHWM")][0].split()[1])\n')
    done = subprocess.run([sys.executable, '-c', code, str(Path(__file__).parents[1])], check=True, capture_output=True,
                          text=True)
    gigabytes = int(done.stdout.split()[-1]) / 1024**2
    with capsys.disabled():
        print(f'\n  peak memory: {gigabytes:.2f} GiB')
    assert gigabytes < 2
