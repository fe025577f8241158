"""Scores of one image against independent implementations, and what every metric must do with odd images."""
from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace

import cv2
import lpips
import numpy as np
import pytest
import skimage.color
import skimage.metrics
import torch
from basicsr.metrics import calculate_metric, calculate_niqe
from basicsr.utils.matlab_functions import imresize
from helpers.backbones import accept, random_backbone, random_features
from torch import nn

from basicsr_kd.errors import BackboneError, MetricError
from basicsr_kd.metrics.image_scores import image_score
from basicsr_kd.metrics.lpips import BACKBONES, calculate_lpips, lpips_network
from basicsr_kd.utils.metric_names import IMAGE_METRICS

BORDER = 4


@pytest.fixture(scope='module')
def truth() -> np.ndarray:
    """Smooth colours with some noise, BGR; large enough for NIQE."""
    rng = np.random.default_rng(0)
    smooth = cv2.resize(rng.integers(0, 256, (12, 15, 3), dtype=np.uint8), (300, 208), interpolation=cv2.INTER_CUBIC)
    return (smooth + rng.normal(0, 6, smooth.shape)).clip(0, 255).astype(np.uint8)


@pytest.fixture(scope='module')
def result(truth) -> np.ndarray:
    """The same image, blurred and darker, with other colours."""
    return (cv2.GaussianBlur(truth, (5, 5), 1.2) * np.array([0.9, 0.95, 1.0])).astype(np.uint8)


@pytest.fixture(scope='module')
def backbone(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return random_backbone('alexnet', tmp_path_factory.mktemp('weights') / 'alexnet.pth')


@pytest.fixture
def network(backbone, monkeypatch) -> nn.Module:
    accept(monkeypatch, 'alexnet', backbone)
    return lpips_network('alex', backbone)


def as_tensor(image: np.ndarray, border: int = BORDER) -> torch.Tensor:
    """(1, 3, h, w) RGB in [-1, 1], as the package lpips wants it."""
    inner = image[border:image.shape[0] - border, border:image.shape[1] - border, ::-1]
    return torch.from_numpy(inner.copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


# --- against independent implementations

@pytest.mark.parametrize('border', [0, BORDER])
@pytest.mark.parametrize('channel', ['y', 'rgb'])
def test_psnr_and_ssim_are_scikit_images(result, truth, border, channel):
    images = [image[border:208 - border, border:300 - border, ::-1] for image in (result, truth)]
    if channel == 'y':
        images = [skimage.color.rgb2ycbcr(image)[..., :1] for image in images]

    psnr = skimage.metrics.peak_signal_noise_ratio(*images, data_range=255)
    ssim = skimage.metrics.structural_similarity(*images, data_range=255, channel_axis=2, gaussian_weights=True,
                                                 sigma=1.5, use_sample_covariance=False)

    scores = {name: image_score(name, result, truth, border=border, channel=channel) for name in ('psnr', 'ssim')}
    assert scores == {'psnr': pytest.approx(psnr, abs=1e-4), 'ssim': pytest.approx(ssim, abs=1e-5)}


def test_niqe_is_basicsrs_whatever_the_channel(result, truth):
    wanted = calculate_niqe(result, crop_border=BORDER)

    assert wanted > 1
    for channel in ('y', 'rgb'):
        assert image_score('niqe', result, truth, border=BORDER, channel=channel) == pytest.approx(wanted, abs=1e-9)


@pytest.mark.parametrize('net', BACKBONES)
def test_lpips_is_that_of_the_package_with_the_same_backbone(net, result, truth, tmp_path, monkeypatch):
    name = BACKBONES[net]
    path = random_backbone(name, tmp_path / f'{net}.pth')
    accept(monkeypatch, name, path)
    found = calculate_lpips(result, truth, BORDER, net=net, weights=path, device='cpu')

    backbone = nn.ModuleDict({'features': random_features(name)})
    backbone.load_state_dict(torch.load(path, weights_only=True))
    monkeypatch.setattr(lpips.pretrained_networks.tv, name, lambda pretrained: SimpleNamespace(**backbone))
    theirs = lpips.LPIPS(net=net, verbose=False)

    with torch.inference_mode():
        wanted = theirs(as_tensor(result), as_tensor(truth)).item()
    assert wanted > 1e-3
    assert found == pytest.approx(wanted, rel=1e-5)


def test_lpips_of_a_batch_is_that_of_its_images(network, result, truth):
    pairs = [(result, truth), (truth[::-1], result)]
    batch = network(*(torch.cat([as_tensor(image) for image in side]) for side in zip(*pairs, strict=True)))

    alone = [image_score('lpips', *pair, border=BORDER, channel='y', lpips=network) for pair in pairs]

    assert batch.flatten().tolist() == pytest.approx(alone, rel=1e-4)
    assert abs(alone[0] - alone[1]) > 1e-3


# --- what every metric does

def scores(result: np.ndarray, truth: np.ndarray, network: nn.Module, **options) -> dict[str, float | None]:
    return {name: image_score(name, result, truth, lpips=network, **{'border': BORDER, 'channel': 'y', **options})
            for name in IMAGE_METRICS}


def test_equal_images_have_perfect_scores(network, truth):
    for channel in ('y', 'rgb'):
        found = scores(truth, truth.copy(), network, channel=channel)
        assert (found['psnr'], found['ssim'], found['lpips']) == (float('inf'), 1, 0)


def test_only_what_is_inside_the_border_counts(network, result, truth):
    spoilt = np.random.default_rng(1).integers(0, 256, truth.shape, dtype=np.uint8)
    spoilt[BORDER:-BORDER, BORDER:-BORDER] = result[BORDER:-BORDER, BORDER:-BORDER]

    assert scores(spoilt, truth, network) == scores(result, truth, network)
    assert scores(spoilt, truth, network, border=BORDER - 1) != scores(result, truth, network, border=BORDER - 1)


@pytest.mark.parametrize('channel', ['y', 'rgb'])
def test_a_grey_image_has_the_scores_of_three_equal_channels(network, result, truth, channel):
    grey = result[..., 1], truth[..., 1]
    wanted = scores(*(cv2.merge([image] * 3) for image in grey), network, channel=channel)

    assert scores(*grey, network, channel=channel) == wanted
    assert scores(grey[0][..., None], cv2.merge([grey[1]] * 3), network, channel=channel) == wanted


@pytest.mark.parametrize(('spoil', 'message'), [
    (lambda image: image[:-1], 'the result is 300x207 pixels and the ground truth 300x208. Expected images of one'),
    (lambda image: np.dstack([image, image[..., 0]]), 'an image has 4 channels. Expected 1 .grey. or 3 .BGR.'),
    (lambda image: image / 255, r'an array of float64 of shape \(208, 300, 3\). Expected uint8'),
])
def test_what_is_no_pair_of_images_is_refused_by_every_metric(network, result, truth, spoil, message):
    for name in IMAGE_METRICS:
        with pytest.raises(MetricError, match=message):
            image_score(name, spoil(result), truth, border=BORDER, channel='y', lpips=network)
    with pytest.raises(MetricError, match=message):
        calculate_lpips(spoil(result), truth, BORDER)


@pytest.mark.parametrize(('name', 'needed'), [('psnr', 1), ('ssim', 11), ('lpips', 32)])
def test_images_too_small_for_a_metric_are_refused_and_the_smallest_is_taken(network, result, truth, name, needed):
    def score(side: int) -> float | None:
        side += 2 * BORDER
        return image_score(name, result[:side], truth[:side], border=BORDER, channel='y', lpips=network)

    assert np.isfinite(score(needed))
    with pytest.raises(MetricError, match=f'of which 4 on each side are left out. Expected at least {needed}x{needed}'):
        score(needed - 1)


def test_niqe_is_none_where_it_is_not_defined(result, truth):
    def niqe(image: np.ndarray) -> float | None:
        return image_score('niqe', image, image, border=BORDER, channel='y')

    assert niqe(result[:96 + 2 * BORDER]) > 0
    assert niqe(result[:96 + 2 * BORDER - 1]) is None
    assert niqe(result[:, :2 * 96 + 2 * BORDER - 1]) is not None  # 2x1 blocks
    assert niqe(result[:2 * 96 - 1, :2 * 96 + 2 * BORDER - 1]) is None
    assert niqe(np.full_like(result, 9)) is None


@pytest.mark.filterwarnings('error')
def test_niqe_says_nothing_on_flat_images_and_flat_blocks(result):
    half = result.copy()
    half[:, :150] = 9

    assert image_score('niqe', half, half, border=0, channel='y') > 0
    assert image_score('niqe', np.full_like(result, 9), result, border=0, channel='y') is None


def test_other_metrics_and_nets_are_refused(result, truth):
    with pytest.raises(MetricError, match="found 'fid' as a metric. Expected one of psnr, ssim, lpips, niqe"):
        image_score('fid', result, truth, border=0, channel='y')
    with pytest.raises(MetricError, match="found 'lpips' as a metric, without its network"):
        image_score('lpips', result, truth, border=0, channel='y')
    with pytest.raises(MetricError, match="net is 'resnet'. Expected one of alex, vgg, squeeze"):
        calculate_lpips(result, truth, 0, net='resnet')


# --- in BasicSR's validation

def test_basicsr_calls_lpips_with_the_options_of_its_yaml(network, backbone, result, truth):
    wanted = image_score('lpips', result, truth, border=BORDER, channel='rgb', lpips=network)
    options = {'type': 'calculate_lpips', 'crop_border': BORDER, 'weights': str(backbone), 'device': 'cpu',
               'better': 'lower'}
    channels_first = {name: image.transpose(2, 0, 1) for name, image in (('img', result), ('img2', truth))}

    assert calculate_metric({'img': result, 'img2': truth}, options) == wanted
    assert calculate_metric(channels_first, {**options, 'input_order': 'CHW'}) == wanted


def test_lpips_without_weights_is_an_error_of_its_own_kind(result, truth, tmp_path):
    with pytest.raises(BackboneError, match=r'weights of alexnet are not there: no file .*missing.pth'):
        calculate_lpips(result, truth, BORDER, weights=tmp_path / 'missing.pth')


# --- the published figure

@pytest.mark.parametrize(('name', 'psnr'), [('Set5', 28.43), ('Set14', 26.09)])
def test_bicubic_enlargement_has_its_published_psnr(data_root, name, psnr):
    found = []
    for path in (data_root / name / 'HR').iterdir():
        truth, small = (cv2.imread(str(data_root / name / folder / path.name)) for folder in ('HR', 'LR'))
        large = (imresize(small.astype(np.float32) / 255, 4).clip(0, 1) * 255).round().astype(np.uint8)
        found.append(image_score('psnr', large, truth, border=4, channel='y'))

    assert np.mean(found) == pytest.approx(psnr, abs=0.02)
