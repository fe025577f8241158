"""Gradient steps on calibration images."""
import copy
import itertools
from types import SimpleNamespace

import pytest
import torch
from helpers.networks import varied_rrdbnet
from torch import nn

from basicsr_kd.errors import PruneOptionError, PruningError
from basicsr_kd.pruning import prune
from basicsr_kd.pruning.reconstruction import descent
from basicsr_kd.pruning.reconstruction.descent import descend
from basicsr_kd.utils.fine_detail import DetailKeeper


@pytest.fixture
def steady(monkeypatch):
    """A clock that says how many steps there are, whatever else the machine does."""
    ticks = itertools.count()
    monkeypatch.setattr(descent, 'time', SimpleNamespace(perf_counter=lambda: 0.03 * next(ticks)))


@pytest.fixture
def images():
    return nn.functional.interpolate(torch.rand(4, 3, 8, 8), 64, mode='bicubic').clamp(0, 1)


@pytest.fixture
def pair():
    """A network and one whose weights are a little off."""
    net = varied_rrdbnet(num_feat=8, num_block=1, num_grow_ch=8).eval()
    other = copy.deepcopy(net)
    with torch.no_grad():
        for parameter in other.parameters():
            parameter.mul_(1 + 0.05 * torch.randn_like(parameter))
    return net, other


def tensors(net):
    return {name: tensor.clone() for name, tensor in net.state_dict().items()}


def same(state, net):
    return all(torch.equal(state[name], tensor) for name, tensor in net.state_dict().items())


def test_comes_nearer_also_where_it_did_not_look(pair, images, monkeypatch, steady):
    monkeypatch.setattr(descent, 'RATE', 1e-3)
    net, other = pair
    others = nn.functional.interpolate(torch.rand(2, 3, 8, 8), 64, mode='bicubic').clamp(0, 1)
    before, random_state = tensors(net), torch.get_rng_state()
    other.train()
    found = descend(net, other, images, others, 6)
    assert found.steps > 10 and found.error_after < 0.5 * found.error_before
    with torch.no_grad():
        error = (other(others) - net(others)).square().mean((1, 2, 3)).log().mean().exp().item()
    assert found.error_after == pytest.approx(error, rel=1e-3)
    assert same(before, net) and other.training and torch.equal(random_state, torch.get_rng_state())
    for one in (net, other):
        assert all(parameter.is_contiguous() for parameter in one.parameters())
        assert not any(module._forward_hooks or module._forward_pre_hooks for module in one.modules())


def test_crops_are_taken_from_all_of_the_whole_images():
    image = torch.arange(100.0 * 130).reshape(1, 1, 100, 130).expand(1, 3, 100, 130) / 13000
    generator = torch.Generator().manual_seed(0)
    crops = [descent._crop([image], generator) for _ in range(300)]
    assert {crop.shape for crop in crops} == {(1, 3, descent.SIZE, descent.SIZE)}
    means = [crop.mean().item() for crop in crops]
    assert min(means) < 0.3 and max(means) > 0.65  # a square in the middle alone would give nearly 0.5 (or darker)
    assert descent._crop([torch.rand(1, 3, 23, 30)], generator).shape == (1, 3, 20, 20)


def test_whole_images_take_the_place_of_the_squares(pair, images, monkeypatch, steady):
    net, other = pair
    seen = []
    monkeypatch.setattr(descent, '_crop', lambda given, generator: seen.append(given) or given[0][:, :, :16, :16])
    whole = [torch.rand(1, 3, 40, 50), torch.rand(1, 3, 30, 20)]
    descend(net, other, images, images, 3, whole=whole)
    assert seen and all(given is whole for given in seen)


@pytest.mark.parametrize('seconds', [0, -5, 1e-9])
def test_no_time_no_steps(pair, images, seconds):
    net, other = pair
    before = tensors(other)
    found = descend(net, other, images, images, seconds)
    assert found.steps == 0 and found.error_before == found.error_after and same(before, other)


def test_steps_that_make_it_worse_are_undone(pair, images, monkeypatch, steady):
    monkeypatch.setattr(descent, 'RATE', 10)
    net, other = pair
    before = tensors(other)
    found = descend(net, other, images, images, 2)
    assert found.steps == 0 and found.error_before == found.error_after and same(before, other)


def softened(images):
    return 0.6 * images + 0.4 * nn.functional.avg_pool2d(images, 3, 1, 1, count_include_pad=False)


def test_a_target_gets_stronger_detail_until_there_is_enough():
    image = torch.rand(2, 3, 64, 64)
    keeper, gains = DetailKeeper(0.9), []
    for _ in range(200):
        target = keeper.target(softened(image), image)
        gains.append(keeper.factor)
    assert 1 < gains[0] < gains[50] and gains[-1] == 2  # it learns nothing here, so the factor goes as far as it may
    assert torch.allclose(nn.functional.avg_pool2d(target, 16), nn.functional.avg_pool2d(image, 16), atol=0.05)
    assert target.std() > image.std()


def test_a_network_that_follows_ends_with_as_much_as_was_asked_for():
    image = torch.rand(2, 3, 64, 64)
    keeper, made = DetailKeeper(0.9), softened(image)
    for _ in range(400):
        made = softened(keeper.target(made, image))
    fine = [(one - nn.functional.avg_pool2d(one, 5, 1, 2, count_include_pad=False)).std() for one in (made, image)]
    assert fine[0] / fine[1] == pytest.approx(0.9, abs=0.03) and 1 < keeper.factor < 2


def test_what_is_as_sharp_as_the_original_learns_the_original():
    image = torch.rand(2, 3, 64, 64)
    assert torch.equal(DetailKeeper(0.85).target(image, image), image)


def test_prune_says_what_the_steps_brought(images):
    net = varied_rrdbnet(num_feat=8, num_block=1, num_grow_ch=8).eval()
    report = prune(net, ratio=0.2, round_to=2, calibration=images, reconstruct=True, minutes=0.1, judge=images)
    assert 'gradient steps: squared error' in report.table() or 'no gradient steps' in report.table()
    assert 'reconstruct, minutes 0.1' in report.request
    assert report.likeness.images == 4 and report.likeness.network['psnr'] > report.likeness.bicubic['psnr']


@pytest.mark.parametrize('options, reason', [
    ({'minutes': -1}, 'Expected a number of at least 0'), ({'minutes': 'long'}, 'Expected a number'),
    ({'minutes': float('inf')}, 'Expected a number'), ({'minutes': 1, 'layout': 'unstructured'}, 'not refitted'),
])
def test_refusals(options, reason, images):
    with pytest.raises(PruneOptionError, match=reason):
        prune(varied_rrdbnet(num_feat=8, num_block=1, num_grow_ch=8), ratio=0.1, calibration=images, **options)


def test_clips_are_refused_before_any_work():
    with pytest.raises(PruningError, match='takes clips. Expected minutes 0'):
        prune(varied_rrdbnet(num_feat=8, num_block=1, num_grow_ch=8), ratio=0.1, minutes=1,
              calibration=torch.rand(1, 3, 3, 8, 8))
