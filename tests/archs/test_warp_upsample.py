"""Warp, space-to-depth and up-sampling of FRNet, against plain re-computations."""
import math

import pytest
import torch

from basicsr_kd.archs.srnet import space_to_depth
from basicsr_kd.archs.upsample import BicubicUpsample, upsample_bd, upsampler
from basicsr_kd.archs.warp import backward_warp


def test_warp_is_bilinear_with_the_border_going_on():
    image, flow = torch.rand(2, 3, 5, 7), torch.randn(2, 2, 5, 7) * 3
    warped = backward_warp(image, flow)
    for n in range(2):
        for row in range(5):
            for column in range(7):
                x = min(max(column + flow[n, 0, row, column].item(), 0), 6)
                y = min(max(row + flow[n, 1, row, column].item(), 0), 4)
                left, top = min(int(x), 5), min(int(y), 3)
                a, b = x - left, y - top
                expected = ((1 - a) * (1 - b) * image[n, :, top, left] + a * (1 - b) * image[n, :, top, left + 1] +
                            (1 - a) * b * image[n, :, top + 1, left] + a * b * image[n, :, top + 1, left + 1])
                torch.testing.assert_close(warped[n, :, row, column], expected, atol=1e-5, rtol=0)


def test_warp_finds_every_pixel_of_a_wide_image_in_half_precision():
    image = torch.rand(1, 1, 4, 1000).bfloat16()
    flow = torch.zeros(1, 2, 4, 1000).bfloat16()
    flow[:, 0] = 1
    warped = backward_warp(image, flow)
    assert warped.dtype == torch.bfloat16
    torch.testing.assert_close(warped[..., :-1], image[..., 1:], atol=0.01, rtol=0)


@pytest.mark.parametrize('scale', [4, 2])
def test_space_to_depth_has_rows_then_columns_then_channels(scale):
    image = torch.rand(2, 3, 2 * scale, 3 * scale)
    deep = space_to_depth(image, scale)
    assert deep.shape == (2, 3 * scale**2, 2, 3)
    for row in range(scale):
        for column in range(scale):
            for channel in range(3):
                assert torch.equal(deep[:, (row * scale + column) * 3 + channel],
                                   image[:, channel, row::scale, column::scale])


@pytest.mark.parametrize('scale', [4, 2])
def test_bd_enlarges_by_cubic_convolution_from_the_top_left_corner(scale):
    def weight(distance, a=-0.75):
        distance = abs(distance)
        if distance <= 1:
            return (a + 2) * distance**3 - (a + 3) * distance**2 + 1
        return a * (distance**3 - 5 * distance**2 + 8 * distance - 4) if distance < 2 else 0

    image = torch.rand(2, 3, 4, 5)
    large = upsample_bd(image, scale)
    assert large.shape == (2, 3, 4 * scale, 5 * scale)
    assert torch.equal(large[..., ::scale, ::scale], image)
    assert torch.equal(upsampler('BD', scale)(image), large)
    for row in range(4 * scale):
        for column in range(5 * scale):
            y, x = row / scale, column / scale
            expected = sum(weight(y - j) * weight(x - i) * image[:, :, min(max(j, 0), 3), min(max(i, 0), 4)]
                           for j in range(math.floor(y) - 1, math.floor(y) + 3)
                           for i in range(math.floor(x) - 1, math.floor(x) + 3))
            torch.testing.assert_close(large[:, :, row, column], expected, atol=1e-6, rtol=0)


def test_bd_loses_no_digits_under_autocast():
    image = torch.rand(1, 3, 8, 8)
    with torch.autocast('cpu', torch.bfloat16):
        assert torch.equal(BicubicUpsample(4)(image), upsample_bd(image))
