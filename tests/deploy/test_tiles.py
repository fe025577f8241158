"""Tiled inference: the whole image's result, in pieces of bounded size."""
from __future__ import annotations

import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import nn

from basicsr_kd.deploy.tiles import run_tiled


class Enlarge(nn.Module):
    """Two 3x3 convolutions, then pixel shuffle: sees 2 pixels far, and remembers the sizes of its inputs."""

    def __init__(self, scale: int = 4, channels: int = 3) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Conv2d(channels, 4, 3, padding=1), nn.LeakyReLU(0.2),
                                  nn.Conv2d(4, channels * scale**2, 3, padding=1), nn.PixelShuffle(scale))
        self.seen: list[tuple[int, int]] = []

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        self.seen.append((image.shape[2], image.shape[3]))
        return self.body(image)


@pytest.mark.parametrize(('size', 'tile', 'overlap'), [
    ((40, 40), 8, 2), ((37, 53), 8, 2), ((37, 53), 16, 3), ((9, 50), 8, 2), ((12, 12), 8, 2), ((13, 12), 8, 2),
    ((5, 3), 8, 2), ((40, 41), 1, 2), ((16, 64), 16, 5),
])
def test_pieces_give_the_whole_images_result(size, tile, overlap):
    net, image = Enlarge(), torch.rand(2, 3, *size)
    whole = net(image)
    torch.testing.assert_close(run_tiled(net, image, tile, overlap), whole, rtol=0, atol=1e-6)
    net.seen.clear()
    run_tiled(net, image, tile, overlap)
    # all of one size, and none larger than promised
    assert set(net.seen) == {tuple(min(side, tile + 2 * overlap) for side in size)}


def test_an_overlap_that_is_too_small_shows_so_the_test_above_can_fail():
    net, image = Enlarge(), torch.rand(1, 3, 40, 40)
    assert (run_tiled(net, image, 8, 1) - net(image)).abs().max() > 1e-3


def test_an_image_little_larger_than_a_piece_takes_no_needless_pieces():
    net = Enlarge()
    run_tiled(net, torch.rand(1, 3, 12, 21), 8, 2)  # 12 = 8 + 2·2; 10 + 10 + 1 pixels kept
    assert net.seen == [(12, 12)] * 3


def test_no_tiles_is_one_run_of_the_whole_image_bit_for_bit():
    net, image = Enlarge(), torch.rand(1, 3, 30, 45)
    assert torch.equal(run_tiled(net, image, 0), net(image))
    assert net.seen == [(30, 45)] * 2


@pytest.mark.parametrize(('scale', 'channels'), [(1, 3), (2, 1), (3, 4)])
def test_any_scale_and_number_of_channels(scale, channels):
    net, image = Enlarge(scale, channels), torch.rand(1, channels, 20, 25)
    for given in (None, scale):
        torch.testing.assert_close(run_tiled(net, image, 8, 2, given), net(image), rtol=0, atol=1e-6)


def test_a_network_that_first_shrinks_by_two_finds_its_grid_with_an_even_tile():
    """RRDBNet at scale 2 begins with pixel_unshuffle: a piece at an odd pixel would be another image to it."""
    net = RRDBNet(3, 3, scale=2, num_feat=4, num_block=1, num_grow_ch=2)
    image = torch.rand(1, 3, 62, 90)
    with torch.no_grad():
        torch.testing.assert_close(run_tiled(net, image, 8, 40), net(image), rtol=0, atol=1e-5)


def test_a_network_that_sees_far_comes_near():
    net, image = RRDBNet(3, 3, scale=4, num_feat=8, num_block=4, num_grow_ch=4), torch.rand(1, 3, 48, 48)
    with torch.no_grad():
        whole = net(image)
    errors = [(run_tiled(net, image, 16, overlap) - whole).abs().max().item() for overlap in (0, 4, 8)]
    assert errors[0] > 3 * errors[1] > 9 * errors[2]


def test_the_network_keeps_no_graph_and_its_number_format_and_memory_order_do_no_harm():
    net, image = Enlarge().double(), torch.rand(1, 3, 30, 30, dtype=torch.float64)
    output = run_tiled(net, image.contiguous(memory_format=torch.channels_last), 8, 2)
    assert output.dtype == torch.float64 and not output.requires_grad
    torch.testing.assert_close(output, net(image).detach())


def test_wrong_sizes_are_told():
    net, image = Enlarge(), torch.rand(1, 3, 20, 20)
    with pytest.raises(ValueError, match='Enlarge makes 48x48 of 12x12 pixels; expected 2 times the size'):
        run_tiled(net, image, 8, 2, scale=2)
    for tile, overlap in ((-1, 2), (8, -2)):
        with pytest.raises(ValueError, match=f'found tile {tile} and overlap {overlap}'):
            run_tiled(net, image, tile, overlap)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_pieces_go_to_the_networks_device_and_the_result_comes_back():
    net, image = Enlarge(), torch.rand(1, 3, 40, 40)
    whole = net(image)
    output = run_tiled(net.cuda(), image, 8, 2)
    assert output.device.type == 'cpu'
    torch.testing.assert_close(output, whole.detach(), rtol=0, atol=1e-2)
