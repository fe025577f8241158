"""TecoGAN's low resolution: against SciPy's Gaussian, and against the frames that its authors published."""
from __future__ import annotations

import numpy as np
import pytest
import torch
from basicsr.utils import tensor2img
from scipy.ndimage import gaussian_filter

from basicsr_kd.archs.upsample import upsampler
from basicsr_kd.data import TecoGANTestDataset
from basicsr_kd.data.tecogan_degradation import BORDER, gaussian_downsample, gaussian_downsample_padded
from basicsr_kd.metrics.clip_protocol import PROTOCOLS
from basicsr_kd.metrics.clip_scores import ClipScores


def with_scipy(images: torch.Tensor, scale: int, sigma: float = 1.5, radius: int = 4) -> torch.Tensor:
    """Blur reflected at the sides, then the pixels 0, scale, 2 scale, …"""
    sigmas = (0,) * (images.dim() - 2) + (sigma, sigma)
    blurred = gaussian_filter(images.double().numpy(), sigmas, mode='mirror', truncate=radius / sigma)
    return torch.from_numpy(blurred)[..., ::scale, ::scale].float()


@pytest.mark.parametrize('scale', [2, 4])
@pytest.mark.parametrize('shape', [(3, 24, 32), (2, 3, 24, 32), (2, 3, 3, 24, 32)])
def test_whole_frames_are_those_of_scipy(shape, scale):
    frames = torch.rand(shape)
    low = gaussian_downsample_padded(frames, scale)
    assert low.shape == (*shape[:-2], 24 // scale, 32 // scale)
    torch.testing.assert_close(low, with_scipy(frames, scale))


def test_another_blur():
    frame = torch.rand(3, 32, 32)
    torch.testing.assert_close(gaussian_downsample_padded(frame, 4, sigma=2.0, size=13),
                               with_scipy(frame, 4, sigma=2.0, radius=6))


@pytest.mark.parametrize('scale', [2, 4])
def test_a_crop_with_its_border_becomes_what_the_whole_frame_becomes_there(scale):
    frame = torch.rand(2, 3, 96, 96)
    crop = frame[..., 16 - BORDER:64 + BORDER, 24 - BORDER:72 + BORDER]
    low = gaussian_downsample(crop, scale)
    assert low.shape[-2:] == (48 // scale, 48 // scale)
    whole = gaussian_downsample_padded(frame, scale)
    torch.testing.assert_close(low, whole[..., 16 // scale:64 // scale, 24 // scale:72 // scale])


def test_autocast_and_types():
    clip = torch.rand(1, 2, 3, 40, 40)
    with torch.autocast('cpu', torch.bfloat16):
        low = gaussian_downsample(clip)
    assert low.dtype == torch.float32
    assert torch.equal(low, gaussian_downsample(clip))
    assert gaussian_downsample(clip.double()).dtype == torch.float64
    torch.testing.assert_close(gaussian_downsample(torch.ones(1, 40, 40)), torch.ones(1, 8, 8))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason='needs a GPU')
def test_a_gpu_rounds_no_more_than_a_processor():
    frame = torch.rand(3, 128, 128)
    low = gaussian_downsample_padded(frame.cuda())
    assert low.is_cuda
    torch.testing.assert_close(low.cpu(), gaussian_downsample_padded(frame), atol=1e-6, rtol=0)


@pytest.fixture
def calendar(data_root):
    return TecoGANTestDataset({'name': 'Vid4', 'type': 'TecoGANTestDataset', 'phase': 'test', 'scale': 4,
                               'dataroot_gt': str(data_root / 'Vid4/GT'), 'dataroot_lq': str(data_root / 'Vid4/BDx4')})


def test_calendar_so_degraded_is_the_low_resolution_of_tecogans_authors(calendar):
    differences = []
    for index in range(0, 41, 5):
        frame = calendar.frame('calendar', index)
        made = (gaussian_downsample_padded(frame['gt']) * 255).round()
        differences.append((made - (frame['lq'] * 255).round()).abs())
    assert np.mean([difference.mean() for difference in differences]) <= 0.05
    assert max(difference.max() for difference in differences) == 1


def test_what_is_made_of_it_scores_as_what_is_made_of_the_authors_frames(calendar):
    enlarge, means = upsampler('BD', 4), {}
    for which in ('given', 'made'):
        scores = ClipScores({'psnr'}, PROTOCOLS['official'])
        for index in range(8):
            frame = calendar.frame('calendar', index)
            low = frame['lq'] if which == 'given' else gaussian_downsample_padded(frame['gt'])
            scores.add('calendar', index, tensor2img([enlarge(low[None])]), tensor2img([frame['gt']]))
        means[which] = scores.results()['psnr']['frames']
    assert means['made'] == pytest.approx(means['given'], abs=0.01)
