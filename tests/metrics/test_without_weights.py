"""Metrics that need no trained network: JOD, HaarPSI, MDSI, GMSD and texture, beside the packages they come from."""
from __future__ import annotations

import sys
from collections.abc import Callable

import cv2
import numpy as np
import pytest
import torch

from basicsr_kd.errors import MetricError, MissingExtraError
from basicsr_kd.metrics.image_scores import image_score
from basicsr_kd.metrics.jod import jod_of_clip
from basicsr_kd.utils.images import middle, sample_photo
from basicsr_kd.utils.metric_names import METRICS

BORDER = 4
KINDS = [name for name, metric in METRICS.items() if metric.package or name == 'texture']


@pytest.fixture(scope='module')
def photo() -> np.ndarray:
    return middle(sample_photo(), 200)


def blurred(image: np.ndarray, sigma: float) -> np.ndarray:
    return cv2.GaussianBlur(image, (0, 0), sigma)


def sharpened(image: np.ndarray) -> np.ndarray:
    return cv2.addWeighted(image, 2, blurred(image, 1), -1, 0)


def noisy(image: np.ndarray, sigma: float = 10) -> np.ndarray:
    noise = np.random.default_rng(0).normal(0, sigma, image.shape)
    return (image + noise).clip(0, 255).round().astype(np.uint8)


def score(name: str, result: np.ndarray, truth: np.ndarray, border: int = BORDER) -> float | None:
    if METRICS[name].package:
        pytest.importorskip(METRICS[name].package)
    return image_score(name, result, truth, border=border, channel='y')


def rgb(image: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(image[BORDER:-BORDER, BORDER:-BORDER, ::-1])


@pytest.mark.parametrize('name', ['haarpsi', 'mdsi', 'gmsd'])
def test_piq_gives_the_same(photo, name):
    piq = pytest.importorskip('piq')
    result = blurred(photo, 1)
    tensors = [torch.from_numpy(rgb(image)).permute(2, 0, 1)[None] / 255 for image in (result, photo)]
    assert score(name, result, photo) == pytest.approx(float(getattr(piq, name)(*tensors)), abs=1e-6)


@pytest.mark.parametrize(('name', 'display'), [('jod', {}), ('jod20', {'ppd': 20})])
def test_cvvdp_gives_the_same(photo, name, display):
    pycvvdp = pytest.importorskip('pycvvdp')
    result = blurred(photo, 1)
    if display:
        display = {'display_geometry': pycvvdp.vvdp_display_geometry([1920, 1080], **display)}
    theirs = pycvvdp.cvvdp('standard_fhd', quiet=True, device=torch.device('cpu'), **display)
    expected = float(theirs.predict(rgb(result), rgb(photo), dim_order='HWC')[0])
    assert score(name, result, photo) == pytest.approx(expected, abs=1e-4) and expected < 9.9


def test_cvvdp_gives_the_same_of_a_clip(photo):
    pycvvdp = pytest.importorskip('pycvvdp')
    frames = [np.ascontiguousarray(photo[index:index + 64, :64, ::-1]) for index in range(6)]
    truth, result = np.stack(frames), np.stack([noisy(frame, 3 * index) for index, frame in enumerate(frames)])
    theirs = pycvvdp.cvvdp('standard_fhd', quiet=True, device=torch.device('cpu'))
    slow, fast = (float(theirs.predict(result, truth, dim_order='FHWC', frames_per_second=rate)[0])
                  for rate in (5, 60))
    assert [jod_of_clip('jod', result, truth, rate) for rate in (5, 60)] == pytest.approx([slow, fast], abs=1e-4)
    assert slow != pytest.approx(fast, abs=1e-3)


@pytest.mark.parametrize('name', KINDS)
def test_equal_images_have_the_best_figure_and_more_blur_a_worse_one(photo, name):
    best = {'jod': 10, 'jod20': 10, 'haarpsi': 1, 'mdsi': 0, 'gmsd': 0, 'texture': 1}[name]
    assert score(name, photo, photo.copy()) == pytest.approx(best, abs=1e-5)
    worse = [abs(score(name, blurred(photo, sigma), photo) - best) for sigma in (0.5, 0.8, 1.2, 2)]
    assert worse == sorted(worse) and worse[0] > 1e-4
    assert METRICS[name].higher_is_better is (name in ('jod', 'jod20', 'haarpsi', 'texture'))


@pytest.mark.parametrize('name', KINDS)
def test_only_what_is_inside_the_border_counts_and_small_images_are_refused(photo, name):
    spoilt = np.zeros_like(photo)
    spoilt[BORDER:-BORDER, BORDER:-BORDER] = blurred(photo, 1)[BORDER:-BORDER, BORDER:-BORDER]
    assert score(name, spoilt, photo) == pytest.approx(score(name, blurred(photo, 1), photo), abs=1e-6)
    least = METRICS[name].smallest + 2 * BORDER
    assert np.isfinite(score(name, spoilt[:least], photo[:least]))
    with pytest.raises(MetricError, match=f'Expected at least {METRICS[name].smallest}x{METRICS[name].smallest} to be'):
        score(name, spoilt[:least - 1], photo[:least - 1])


@pytest.mark.parametrize(('change', 'expected'), [
    (lambda image: blurred(image, 1), lambda value: value < 0.3),
    (lambda image: blurred(image, 0.5), lambda value: 0.3 < value < 0.95),
    (sharpened, lambda value: value > 1.5),
    (noisy, lambda value: value > 1.5),
    (lambda image: image[:, ::-1], lambda value: value == pytest.approx(1, abs=0.02))])
def test_texture_tells_blurred_from_sharpened_and_noisy(photo, change: Callable, expected: Callable):
    assert expected(score('texture', np.ascontiguousarray(change(photo)), photo))


def test_texture_counts_what_is_finer_than_four_pixels_and_nothing_else():
    def waves(length: float, angle: float, amplitude: float) -> np.ndarray:
        rows, columns = np.mgrid[:128, :128]
        wave = np.sin(2 * np.pi / length * (rows * np.sin(angle) + columns * np.cos(angle)))
        return np.repeat((128 + amplitude * wave).round().astype(np.uint8)[..., None], 3, 2)
    for angle in (0, 0.6, np.pi / 2):
        assert score('texture', waves(3, angle, 20), waves(3, angle, 40)) == pytest.approx(0.25, abs=0.02)  # 8 bits
        coarse = waves(8, angle, 40)
        both = (coarse.astype(int) + waves(3, angle, 20) - 128).astype(np.uint8)
        assert score('texture', coarse, both) < 0.01


def test_texture_is_none_where_the_truth_is_flat(photo):
    assert score('texture', photo, np.full_like(photo, 90)) is None
    ramp = np.repeat(np.linspace(10, 200, 200).astype(np.uint8)[None, :, None], 3, 2).repeat(200, 0)
    assert score('texture', photo, ramp) is None


def test_a_dark_picture_is_scored_without_a_word(photo, caplog, recwarn):
    pytest.importorskip('pycvvdp')  # which may warn where it is first imported, here by the test
    caplog.clear(), recwarn.clear()
    assert score('jod', photo // 250, photo // 200) <= 10
    assert not caplog.records and not recwarn.list


@pytest.mark.parametrize(('name', 'package'), [('jod', 'pycvvdp'), ('gmsd', 'piq')])
def test_a_missing_package_is_one_line_that_names_the_extra(photo, monkeypatch, name, package):
    monkeypatch.setitem(sys.modules, package, None)
    from basicsr_kd.metrics.jod import _metric
    _metric.cache_clear()
    with pytest.raises(MissingExtraError, match=r"which is not installed: pip install 'basicsr-kd\[perceptual\]'"):
        image_score(name, photo, photo, border=0, channel='y')
