"""metrics/image_values.py: scores of images on one rank or many."""
from __future__ import annotations

import math

import pytest

from basicsr_kd.metrics.image_values import ImageValues


def test_a_mean_is_over_what_is_defined_and_does_not_depend_on_the_ranks():
    one, first, second = (ImageValues({'psnr': 'psnr', 'mine': 'calculate_mine'}) for _ in range(3))
    for image, value in enumerate((0.1, 0.2, math.nan, 0.7, None)):
        one.put('psnr', image, value)
        (first if image % 2 else second).put('psnr', image, value)
    second.merge([first.by_metric, second.by_metric])
    assert one.mean('psnr') == second.mean('psnr') == pytest.approx(1 / 3)
    assert one.by_metric['psnr'][2] is None and one.mean('mine') is None
    one.put('mine', 0, 3)
    assert one.mean('mine') == 3


def test_what_is_not_defined_is_told_by_name_where_there_are_names():
    found = ImageValues({'ssim': 'ssim', 'other': 'ssim'})
    found.put('ssim', 'a.png', None)
    found.put('ssim', 'b.png', 1)
    found.put('other', 0, None)
    named, numbered = found.warnings()
    assert named.startswith('SSIM is not defined on 1 of 2 images') and named.endswith(': a.png.')
    assert numbered.startswith('other: SSIM is not defined on 1 of 1 images') and numbered.endswith('leaves out.')
