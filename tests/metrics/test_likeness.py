"""Likeness of a network to the one it was made of: by the protocol of `evaluate --teacher`, with a plain word."""
import math

import pytest
import torch
from helpers.networks import largest_difference
from torch import nn
from torch.nn import functional as F

from basicsr_kd.metrics.likeness import Likeness, kept_out, likeness


class Enlarge(nn.Module):
    """Enlarges by 2, and may sharpen."""

    def __init__(self, gain: float, mode: str = 'bicubic') -> None:
        super().__init__()
        self.gain, self.mode = gain, mode

    def forward(self, images):
        plain = F.interpolate(images, scale_factor=2, mode=self.mode)
        return plain + self.gain * (plain - F.avg_pool2d(plain, 3, 1, 1, count_include_pad=False))


@pytest.fixture
def images():
    return F.interpolate(torch.rand(2, 3, 24, 24, generator=torch.Generator().manual_seed(0)), 48, mode='bicubic'
                         ).clamp(0, 1)


def test_the_same_network_is_like_itself(images):
    found = likeness(Enlarge(1.0), Enlarge(1.0), images)
    assert found.network['psnr'] == math.inf and found.network['texture'] == pytest.approx(1)
    assert found.bicubic['psnr'] < 60 and not found.verdict() and found.images == 2


def test_a_network_that_blurs_is_called_what_it_is(images):
    found = likeness(Enlarge(4.0), Enlarge(0.0), images)
    assert found.network['texture'] < 0.5
    assert found.verdict().startswith('The result is nearer to bicubic enlargement (')


def test_what_is_no_nearer_than_bicubic_is_said():
    found = Likeness(2, {'psnr': 25.0}, {'psnr': 26.0}, 24.0)
    assert found.verdict() == ('The result is no nearer to the original (25.0 dB) than bicubic enlargement is '
                               '(26.0 dB): do not use it without training.')
    assert not Likeness(2, {'psnr': 30.0}, {'psnr': 26.0}, 27.0).verdict()
    assert '| pruned' in found.table() and '25.00' in found.table()


def test_results_that_are_no_multiple_are_not_compared(images):
    assert likeness(nn.AvgPool2d(2), nn.AvgPool2d(2), images) is None


def test_a_quarter_of_the_images_is_kept_out():
    images = torch.arange(9.0)[:, None, None, None]
    used, judged = kept_out(images)
    assert judged.flatten().tolist() == [0, 4, 8] and used.flatten().tolist() == [1, 2, 3, 5, 6, 7]
    assert kept_out([*images]) == ([*used], [*judged])
    assert all(part is images[:3] or len(part) == 3 for part in kept_out(images[:3]))


def test_grey_networks_are_compared(images):
    assert largest_difference(Enlarge(1.0), Enlarge(1.0), images[:, :1]) == 0
    assert likeness(Enlarge(1.0), Enlarge(0.9), images[:, :1]).network['psnr'] > 30


def test_what_leaves_nothing_to_compare_is_not_compared():
    assert likeness(nn.Identity(), nn.Identity(), torch.rand(1, 3, 8, 8)) is None  # all border
    assert likeness(nn.Conv2d(3, 5, 1), nn.Conv2d(3, 5, 1), torch.rand(1, 3, 32, 32)) is None  # no picture


def test_words_say_whether_the_images_were_kept_out():
    found = Likeness(2, {'psnr': 20.0}, {'psnr': 25.0}, 30.0, missing=('JOD needs pycvvdp',))
    for apart, which in ((True, 'that were kept out'), (False, 'that it was fitted to, too few to keep some out')):
        words = found.words(apart)
        assert f'On 2 calibration images {which}' in words
        assert 'JOD needs pycvvdp' in words and found.verdict() and words.endswith(found.verdict())
