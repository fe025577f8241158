"""Files as Real-ESRGAN publishes them: recognised, built, pruned, and their discriminators."""
from __future__ import annotations

from collections.abc import Callable

import pytest
import spandrel
import torch
from basicsr.archs.discriminator_arch import UNetDiscriminatorSN, VGGStyleDiscriminator
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from helpers.models import same, start, train, weights
from helpers.networks import count, largest_difference
from torch import nn

from basicsr_kd.archs import SlimRRDBNet
from basicsr_kd.archs.from_file import build_from_file, read_architecture, write_network_file
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.errors import OptionsError
from basicsr_kd.pruning import prune

IMAGE = torch.rand(1, 3, 16, 16)
RRDB = {'type': 'RRDBNet', 'num_in_ch': 3, 'num_out_ch': 3, 'scale': 4, 'num_feat': 64, 'num_block': 23,
        'num_grow_ch': 32}
COMPACT = {'type': 'SRVGGNetCompact', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 64, 'num_conv': 32, 'upscale': 4,
           'act_type': 'prelu'}
FILES = {
    'RealESRGAN_x4plus': RRDB,
    'RealESRGAN_x4plus_anime_6B': {**RRDB, 'num_block': 6},
    'RealESRGAN_x2plus': {**RRDB, 'scale': 2},
    'realesr-general-x4v3': COMPACT,
    'realesr-animevideov3': {**COMPACT, 'num_conv': 16},
}
KINDS: dict[str, Callable[..., nn.Module]] = {'RRDBNet': RRDBNet, 'SRVGGNetCompact': SRVGGNetCompact}


def network(options: dict[str, object], **changes: object) -> nn.Module:
    return KINDS[str(options['type'])](**{key: value for key, value in {**options, **changes}.items() if key != 'type'})


@pytest.mark.parametrize('options', FILES.values(), ids=FILES)
def test_published_generators_are_read_off_their_shapes(options):
    with torch.device('meta'):
        assert read_architecture(network(options).state_dict(), 'net.pth') == options


@pytest.mark.parametrize('name', FILES)
def test_they_are_built_pruned_by_a_third_saved_and_opened_again(tmp_path, name):
    """RRDBNets with one block: pruning at full depth is in test_pruning_real_size."""
    options = FILES[name]
    net = network(options, **({'num_block': 1} if options['type'] == 'RRDBNet' else {}))
    torch.save({'params_ema': net.state_dict()}, tmp_path / f'{name}.pth')
    teacher = build_from_file(str(tmp_path / f'{name}.pth'))
    assert largest_difference(teacher, net, IMAGE) == 0.0
    report = prune(teacher, ratio=0.3, round_to=4)
    assert count(report.network) == pytest.approx(0.7 * count(net), rel=0.005)
    write_network_file(tmp_path / 'pruned.pth', report.network.state_dict(), options)
    assert largest_difference(build_from_file(str(tmp_path / 'pruned.pth')), report.network, IMAGE) == 0.0


@pytest.mark.parametrize(('ratio', 'left'), [(0.3, 847_696), (0.5, 607_200)])
def test_the_real_compact_network_is_pruned_in_steps_of_sixteen(data_root, ratio, left):
    net = build_from_file(str(data_root / 'weights' / 'realesr-general-x4v3.pth'))
    report = prune(net, ratio=ratio)
    assert count(report.network) == left == pytest.approx((1 - ratio) * 1_213_296, rel=0.005)
    assert {module.num_parameters % 16 for module in report.network.modules() if isinstance(module, nn.PReLU)} == {0}


@pytest.mark.parametrize(('student', 'params', 'scale'), [
    (lambda: SlimRRDBNet(num_feat=16, num_block=6), 1_713_107, 4),
    (lambda: SlimRRDBNet(num_feat=16, num_block=6, scale=2), 1_714_403, 2),
    (lambda: SRVGGNetCompact(3, 3, 64, 16, 4), 621_424, 4),
])
def test_students_have_the_sizes_that_the_options_files_tell_and_open_in_spandrel(tmp_path, student, params, scale):
    net = student()
    assert count(net) == params
    torch.save({'params_ema': net.state_dict()}, tmp_path / 'student.pth')
    opened = spandrel.ModelLoader('cpu').load_from_file(tmp_path / 'student.pth')
    assert opened.scale == scale
    assert largest_difference(net, opened.model, IMAGE) == 0.0


def discriminator_file(net: nn.Module, path) -> str:
    """As Real-ESRGAN has it: after some training, in which spectral normalisation has moved its vectors."""
    with torch.no_grad():
        net(torch.rand(1, 3, 128, 128))
    torch.save({'params': net.state_dict()}, path)
    return str(path)


def test_a_unet_discriminators_file_is_taken_as_it_is(kd_opt, tmp_path):
    kd_opt['network_d'] = {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 2, 'skip_connection': True}
    kd_opt['path'].update(pretrain_network_d=discriminator_file(UNetDiscriminatorSN(3, 2), tmp_path / 'net_d.pth'),
                          param_key_d='params', strict_load_d=True)
    kd_opt['train']['distill_opt'] = {'type': 'DiscriminatorFeatureLoss'}
    model = start(kd_opt)
    state = read_state_dict(kd_opt['path']['pretrain_network_d'])
    assert {'conv1.weight_orig', 'conv1.weight_u', 'conv1.weight_v'} <= state.keys()
    assert same(state, weights(model.net_d))
    before = weights(model.net_g)
    train(model, 1, 1)
    assert not same(state, weights(model.net_d)) and not same(before, weights(model.net_g))
    assert same(state, read_state_dict(tmp_path / 'run' / 'models' / 'teacher_d.pth'))
    assert model.get_current_log()['l_g_distill'] > 0


@pytest.mark.parametrize(('wanted', 'found', 'words'), [
    ({'type': 'UNetDiscriminatorSN'}, lambda: VGGStyleDiscriminator(3, 2),
     r'network_d \(UNetDiscriminatorSN\): type is VGGStyleDiscriminator in the file, UNetDiscriminatorSN in the'),
    ({'type': 'VGGStyleDiscriminator'}, lambda: UNetDiscriminatorSN(3, 2),
     r'network_d \(VGGStyleDiscriminator\): type is UNetDiscriminatorSN in the file'),
    ({'type': 'UNetDiscriminatorSN'}, lambda: UNetDiscriminatorSN(3, 4), 'num_feat is 4 in the file, 2 in the network'),
    ({'type': 'UNetDiscriminatorSN'}, lambda: UNetDiscriminatorSN(1, 2), 'num_in_ch is 1 in the file, 3 in the'),
    ({'type': 'VGGStyleDiscriminator'}, lambda: VGGStyleDiscriminator(3, 2, 256), 'input_size is 256 in the file, 128'),
    ({'type': 'UNetDiscriminatorSN'}, lambda: RRDBNet(3, 3, num_feat=4, num_block=1), 'type is RRDBNet in the file'),
])
def test_a_discriminators_file_of_another_architecture_is_refused(kd_opt, tmp_path, wanted, found, words):
    torch.save({'params': found().state_dict()}, tmp_path / 'net_d.pth')
    kd_opt['network_d'] = {**wanted, 'num_in_ch': 3, 'num_feat': 2}
    kd_opt['path']['pretrain_network_d'] = str(tmp_path / 'net_d.pth')
    with pytest.raises(OptionsError, match=f'path.pretrain_network_d: .*net_d.pth does not fit {words}' if
                       words.startswith('network_d') else f'does not fit network_d .*{words}'):
        start(kd_opt)
