"""Parameters, MACs and activations: against hand counts, and without leaving a trace in the network."""
import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import nn

from basicsr_kd.archs.frnet_arch import FRNet
from basicsr_kd.archs.pruned_rrdbnet_arch import PrunedRRDBNet
from basicsr_kd.metrics.complexity import complexity
from basicsr_kd.utils.modes import evaluating


def test_one_convolution_costs_what_the_formula_says():
    conv = nn.Conv2d(3, 8, 3, padding=1)

    cost = complexity(conv, lr_size=(10, 20))

    assert cost.macs == 10 * 20 * 8 * 3 * 9
    assert cost.params == cost.params_nonzero == 8 * 3 * 9 + 8
    assert cost.activations == 10 * 20 * 8
    assert cost.lr_size == (10, 20)


@pytest.mark.parametrize('scale', [2, 4])
def test_rrdbnet_agrees_with_a_hand_count_of_its_convolutions_and_interpolations(scale):
    net = RRDBNet(3, 3, scale=scale, num_feat=16, num_block=2, num_grow_ch=8)
    counted = activations = 0

    def count(module: nn.Conv2d, _inputs, output: torch.Tensor) -> None:
        nonlocal counted, activations
        activations += output.numel()
        counted += output.shape[2] * output.shape[3] * module.weight.numel()

    hooks = [m.register_forward_hook(count) for m in net.modules() if isinstance(m, nn.Conv2d)]
    net(torch.zeros(1, 3, 32, 48))
    for hook in hooks:
        hook.remove()
    # RRDBNet of scale 2 first folds 2x2 pixels into channels, so both enlarge twice inside.
    inner = 32 * 48 // (1 if scale == 4 else 4)
    interpolated = 16 * inner * (2**2 + 4**2)

    cost = complexity(net, lr_size=(32, 48))

    assert cost.macs == counted + interpolated
    assert cost.activations == activations
    assert isinstance(cost.macs, int) and isinstance(cost.activations, int)
    assert cost.params == sum(parameter.numel() for parameter in net.parameters())


def test_weights_at_zero_are_parameters_but_not_counted_as_non_zero():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.Conv2d(4, 2, 1))
    nn.init.ones_(net[0].bias)
    nn.init.ones_(net[1].weight)
    nn.init.zeros_(net[1].bias)
    nn.init.ones_(net[0].weight)
    net[0].weight.data[1:3] = 0

    cost = complexity(net)

    assert (cost.params, cost.params_nonzero) == (4 * 27 + 4 + 8 + 2, 2 * 27 + 4 + 8)


def test_macs_grow_with_the_area_of_the_input():
    net = RRDBNet(3, 3, num_feat=8, num_block=1, num_grow_ch=4)

    assert complexity(net, lr_size=(32, 64)).macs == 8 * complexity(net, lr_size=(16, 16)).macs


def test_training_flags_stay_as_they_were():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4), nn.Dropout())
    net.train()
    net[1].eval()
    mean_before = net[1].running_mean.clone()

    complexity(net)

    assert [net.training, net[0].training, net[1].training, net[2].training] == [True, True, False, True]
    assert torch.equal(net[1].running_mean, mean_before)


def test_evaluating_holds_for_all_modules_and_only_inside():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    net[1].eval()

    with pytest.raises(KeyError), evaluating(net):
        assert not any(module.training for module in net.modules())
        raise KeyError

    assert [module.training for module in net.modules()] == [True, True, False]


def test_training_flags_are_restored_when_the_forward_pass_fails():
    net = nn.Conv2d(4, 4, 1)

    with pytest.raises(RuntimeError):
        complexity(net, in_ch=3)

    assert net.training


@pytest.mark.parametrize(('nb', 'params', 'published'), [(10, 2_589_093, 94.4), (5, 2_219_813, 62.8)])
def test_frnet_costs_a_step_and_what_is_published_of_it(nb, params, published):
    """GFLOPs (two a MAC) of TecoGAN-PyTorch at 134x320, where FNet sees 128 rows; here by a small frame of 256 pixels.
    """
    cost = complexity(FRNet(nb=nb), (16, 16))
    fnet, srnet = cost.parts['fnet'], cost.parts['srnet']

    assert (cost.params, fnet.params + srnet.params, fnet.params) == (params, params, 1_745_506)
    assert cost.macs == pytest.approx(fnet.macs + srnet.macs, rel=1e-3)
    weights = 51 * 64 * 9 + nb * 2 * 64 * 64 * 9 + 64 * 64 * 9 * (1 + 4) + 64 * 3 * 9 * 16  # by LR pixel
    assert srnet.macs == 256 * weights
    assert 2e-9 * (128 * fnet.macs + 134 * srnet.macs) * 320 / 256 == pytest.approx(published, rel=2e-3)


def test_a_pruned_frnet_has_parts_and_a_network_of_images_none():
    net = FRNet(nf=8, nb=3)
    whole = complexity(net, (16, 16)).parts
    net.srnet.resblocks = net.srnet.resblocks[:1]

    pruned = complexity(net, (16, 16)).parts

    assert pruned['fnet'] == whole['fnet'] and pruned['srnet'].macs < whole['srnet'].macs
    assert complexity(nn.Sequential(nn.Conv2d(3, 8, 3)), (16, 16)).parts == {}


def test_a_dense_block_without_growth_is_counted_without_a_warning(capfd):
    net = PrunedRRDBNet(num_feat=8, num_block=1, num_grow_ch=[0] * 12)
    assert complexity(net, (8, 8)).params == sum(parameter.numel() for parameter in net.parameters())
    assert 'never called' not in ''.join(capfd.readouterr())
