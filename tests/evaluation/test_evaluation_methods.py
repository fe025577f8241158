"""evaluation/methods.py: what enlarges the images, and what of it is refused."""
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.archs.edsr_arch import EDSR
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.archs.swinir_arch import SwinIR
from basicsr.utils import bgr2ycbcr, tensor2img

from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.deploy.pieces import Tiling
from basicsr_kd.errors import CheckpointError, EvaluationError, InferError
from basicsr_kd.evaluation.methods import Bicubic, Network, unique_names
from basicsr_kd.evaluation.sets import ImagePair
from basicsr_kd.utils.arrays import as_tensor

PAIR = ImagePair('x', Path('HR/x.png'), Path('LR/x.png'))
LR = np.random.default_rng(0).integers(0, 256, (21, 34, 3), dtype=np.uint8)


@pytest.fixture
def network(tmp_path):
    """A network as the command has it, from its file."""
    def load(net: torch.nn.Module, **options) -> Network:
        write_checkpoint(tmp_path / 'net.pth', net.state_dict())
        return Network('net', tmp_path / 'net.pth', **options)
    return load


def compact(upscale: int = 4, **options) -> SRVGGNetCompact:
    return SRVGGNetCompact(**{'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_conv': 2, 'upscale': upscale}
                           | options)


@pytest.mark.parametrize('net', [
    RRDBNet(3, 3, num_feat=8, num_block=1, num_grow_ch=4), compact(2), compact(3)], ids=['rrdbnet', 'x2', 'x3'])
def test_a_network_enlarges_as_its_own_forward_pass_does(network, net):
    method = network(net)
    with torch.no_grad():
        expected = tensor2img(net.eval()(as_tensor(LR)))

    result = method.run(PAIR, LR)

    assert result.shape == (21 * method.scale, 34 * method.scale, 3) and result.dtype == np.uint8
    assert np.abs(result.astype(int) - expected).max() <= 1  # channels last round otherwise
    assert method.trained.options['type'] == type(net).__name__


@pytest.mark.parametrize(('net', 'multiple'), [
    (RRDBNet(3, 3, scale=2, num_feat=8, num_block=1, num_grow_ch=4), 2),  # starts with a pixel-unshuffle
    (RRDBNet(3, 3, scale=1, num_feat=8, num_block=1, num_grow_ch=4), 4),
])
def test_an_image_is_padded_to_what_a_network_takes_and_cut_again(network, net, multiple):
    method = network(net)
    padded = np.pad(LR, ((0, -21 % multiple), (0, -34 % multiple), (0, 0)), 'reflect')
    with torch.no_grad():
        expected = tensor2img(net.eval()(as_tensor(padded)))[:21 * net.scale, :34 * net.scale]

    result = method.run(PAIR, LR)

    assert method.scale == net.scale and result.shape == expected.shape
    assert np.abs(result.astype(int) - expected).max() <= 1


@pytest.mark.parametrize('size', [(1, 5), (2, 1), (1, 1)])
def test_an_image_too_small_to_mirror_is_padded_by_its_last_pixels(network, size):
    method = network(RRDBNet(3, 3, scale=1, num_feat=8, num_block=1, num_grow_ch=4))
    lr = LR[:size[0], :size[1]]
    padded = np.pad(lr, ((0, -size[0] % 4), (0, -size[1] % 4), (0, 0)), 'edge')

    assert np.array_equal(method.run(PAIR, lr), method.run(PAIR, padded)[:size[0], :size[1]])


def test_a_network_that_spandrel_opens_is_evaluated_too(network):
    net = SwinIR(img_size=16, window_size=8, depths=[2], embed_dim=12, num_heads=[2], mlp_ratio=2, upscale=2,
                 upsampler='pixelshuffledirect')

    method = network(net)

    assert method.trained.options == {'type': 'SwinIR'} and method.scale == 2
    assert method.run(PAIR, LR).shape == (42, 68, 3)


@pytest.mark.parametrize(('net', 'tile'), [(compact(), 9), (RRDBNet(3, 3, scale=2, num_feat=4, num_block=1,
                                                                    num_grow_ch=2), 7)])
def test_tiles_give_the_same_image(network, net, tile):
    lr = np.random.default_rng(0).integers(0, 256, (51, 61, 3), dtype=np.uint8)
    sizes = []
    whole, tiled = network(net), network(net, tiling=Tiling(tile))
    tiled.trained.net.register_forward_pre_hook(lambda net, args: sizes.append(args[0].shape[2:]))

    difference = np.abs(whole.run(PAIR, lr).astype(int) - tiled.run(PAIR, lr))

    assert difference.max() <= 1 and len(sizes) > 4 and max(map(max, sizes)) < 51


def test_values_that_are_not_finite_are_refused(network):
    method = network(compact())
    method.trained.net.body[0].bias.data[0] = float('nan')

    with pytest.raises(InferError, match=r'net\.pth makes values of .*LR/x.png that are not finite'):
        method.run(PAIR, LR)


def test_a_network_that_fails_is_told_with_the_image_and_a_way_out(network):
    method = network(compact())
    method.trained.net.forward = lambda image: torch.empty(2**60)  # more memory than there is

    with pytest.raises(InferError, match=r'net\.pth fails on .*LR/x.png, 34x21: .* --tile 256'):
        method.run(PAIR, LR)


def test_a_network_of_two_channels_is_refused(network):
    with pytest.raises(InferError, match=r'net\.pth enlarges images neither of three channels nor of one: .* 2 ch'):
        network(compact(num_in_ch=2, num_out_ch=2))


def test_a_network_of_luma_enlarges_the_rest_bicubically(network):
    method = network(compact(num_in_ch=1, num_out_ch=1))
    colours = np.random.default_rng(0).integers(0, 256, (12, 10, 3), np.uint8)
    found = method.trained.enlarge(colours, 'x')
    luma = bgr2ycbcr(colours.astype(np.float32) / 255, y_only=True)
    with torch.no_grad():
        expected = method.trained.net(torch.from_numpy(luma)[None, None])[0, 0].numpy()
    scale = method.scale
    assert found.shape == (12 * scale, 10 * scale, 3)
    inside = (found > 0).all(2) & (found < 255).all(2)  # elsewhere a colour was cut off
    assert inside.any()
    np.testing.assert_allclose(bgr2ycbcr(found.astype(np.float32) / 255, y_only=True)[inside], expected[inside],
                               atol=0.003)
    rest = cv2.resize(bgr2ycbcr(colours.astype(np.float32) / 255), None, fx=scale, fy=scale,
                      interpolation=cv2.INTER_CUBIC)[:, :, 1:]
    np.testing.assert_allclose(bgr2ycbcr(found.astype(np.float32) / 255)[:, :, 1:][inside], rest[inside], atol=0.004)
    grey = method.trained.enlarge(np.repeat(colours[:, :, :1], 3, axis=2), 'x')
    assert (np.ptp(grey, axis=2) <= 1).all()


def test_a_file_without_a_generator_is_refused_with_the_way_out_that_there_is(tmp_path):
    write_checkpoint(tmp_path / 'd.pth', torch.nn.Linear(3, 3).state_dict())

    with pytest.raises(CheckpointError, match=r'd\.pth is no RRDBNet') as error:
        Network('d', tmp_path / 'd.pth')

    assert 'network_g: {type: …} in d.yml beside it' in str(error.value)
    assert '--arch' not in str(error.value) and 'teacher.network' not in str(error.value)


def test_the_options_beside_the_file_are_that_way_out(tmp_path):
    write_checkpoint(tmp_path / 'net.pth', EDSR(3, 3, num_feat=4, num_block=1, upscale=2).state_dict())
    with pytest.raises(CheckpointError, match=r'network_g: .* in net\.yml beside it'):
        Network('net', tmp_path / 'net.pth')
    (tmp_path / 'net.yml').write_text(
        'network_g: {type: EDSR, num_in_ch: 3, num_out_ch: 3, num_feat: 4, num_block: 1, upscale: 2}')

    assert Network('net', tmp_path / 'net.pth').scale == 2


def test_bicubic_is_exact_where_there_is_nothing_to_interpolate():
    grey = np.full((9, 7, 3), 77, np.uint8)
    ramp = np.dstack([np.tile(np.arange(40, 200, 8, dtype=np.uint8), (20, 1))] * 3)

    assert np.array_equal(Bicubic('bicubic', 4).run(PAIR, grey), np.full((36, 28, 3), 77))
    large = Bicubic('bicubic', 2).run(PAIR, ramp)[10:-10, 10:-10].astype(float)
    assert np.abs(np.diff(large, axis=1) - 4).max() <= 1 and large.shape[1] == 20  # the middle of a ramp stays one


@pytest.mark.parametrize(('files', 'expected'), [
    (['a/s16.pth', 'b/s32.pth'], ['s16', 's32']),
    (['s16/models/net.pth', 's32/models/net.pth', 'x.pth'], ['s16/net', 's32/net', 'x']),
    (['/e/s16/1/net.pth', '/e/s16/2/net.pth', '/e/s32/1/net.pth'], ['s16/1/net', 's16/2/net', 's32/1/net']),
    (['net.pth', 's32/net.pth'], ['net', 's32/net']),
    (['a/b/net.pth', 'b/a/net.pth'], ['a/b/net', 'b/a/net']),
    (['/x/a/net.pth', 'b/net.pth'], ['x/a/net', 'b/net']),
])
def test_files_of_one_name_are_told_apart_by_their_folders(files, expected):
    paths = [Path(file) for file in files]
    assert unique_names(paths, [path.stem for path in paths]) == expected


def test_one_file_given_twice_is_refused():
    with pytest.raises(EvaluationError, match='Two methods would both be called a/net'):
        unique_names([Path('a/net.pth'), Path('a/net.pth')], ['net', 'net'])
