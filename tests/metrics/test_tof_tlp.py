"""tOF and tLP of two frames, and the protocols: what of a clip is scored."""
from __future__ import annotations

import cv2
import numpy as np
import pytest
import torch
from basicsr.metrics import calculate_metric
from helpers.backbones import accept, random_backbone
from helpers.clips import moving_clip
from torch import nn

from basicsr_kd.errors import MetricError
from basicsr_kd.metrics.clip_protocol import PROTOCOLS, cut_to_one_size
from basicsr_kd.metrics.lpips import lpips_network
from basicsr_kd.metrics.tlp import perceptual_change_distance
from basicsr_kd.metrics.tof import flow_distance

WHOLE = slice(None), slice(None)
INNER = slice(24, 72), slice(24, 88)


@pytest.fixture(scope='module')
def texture() -> np.ndarray:
    return moving_clip(1, 96, 112)[0][1]


@pytest.fixture(scope='module')
def network(tmp_path_factory) -> nn.Module:
    torch.manual_seed(0)
    path = random_backbone('alexnet', tmp_path_factory.mktemp('weights') / 'alexnet.pth')
    with pytest.MonkeyPatch.context() as monkeypatch:
        accept(monkeypatch, 'alexnet', path)
        return lpips_network('alex', path)


def moved(image: np.ndarray, right: float, down: float) -> np.ndarray:
    matrix = np.float32([[1, 0, right], [0, 1, down]])
    return cv2.warpAffine(image, matrix, image.shape[1::-1], borderMode=cv2.BORDER_REFLECT)


# --- tOF

def test_tof_is_the_length_of_the_motion_that_a_result_misses(texture):
    missed = flow_distance(texture, moved(texture, 3, -4), texture, texture, INNER)

    assert missed == pytest.approx(5, abs=0.1)


def test_tof_compares_motions_not_images(texture):
    other = 255 - texture[::-1]

    assert flow_distance(texture, moved(texture, 2, 1), other, moved(other, 2, 1), INNER) < 0.1
    assert flow_distance(texture, moved(texture, 2, 1), other, moved(other, -1, 5), INNER) == pytest.approx(5, abs=0.1)
    assert flow_distance(texture, moved(texture, 2, 1), texture, moved(texture, 2, 1), WHOLE) == 0


def test_tof_is_on_grey_of_bgr(texture):
    """Red moves and blue does not, so that the flow depends on which of them weighs more in grey."""
    after = moved(texture, 3, 0)
    after[..., 0] = texture[..., 0]
    frames = [image * np.array([1, 0, 1], np.uint8) for image in (texture, after)]

    def recomputed(weights: list[float]) -> float:
        grey = [(frame @ weights).round().astype(np.uint8) for frame in frames]
        flow = cv2.calcOpticalFlowFarneback(*grey, None, 0.5, 3, 15, 3, 5, 1.2, 0)
        return float(np.sqrt((flow ** 2).sum(-1)).mean())

    found = flow_distance(*frames, texture, texture, WHOLE)

    assert found == pytest.approx(recomputed([0.114, 0.587, 0.299]), rel=0.01)
    assert found != pytest.approx(recomputed([0.299, 0.587, 0.114]), rel=0.5)


def test_tof_sees_what_moves_in_from_outside_of_the_crop(texture):
    after = moved(texture, 3, 0)
    rows, columns = slice(40, 56), slice(0, 24)  # at the border, where motion is least certain
    cropped = [image[rows, columns] for image in (texture, after, texture, texture)]

    whole_flow = flow_distance(texture, after, texture, texture, (rows, columns))

    assert abs(whole_flow - 3) < abs(flow_distance(*cropped, WHOLE) - 3)


# --- tLP

def as_tensor(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image[..., ::-1].copy()).permute(2, 0, 1)[None].float() / 127.5 - 1


def test_tlp_is_a_hundred_times_the_difference_of_the_changes(network, texture):
    (prev, prev_gt), (cur, cur_gt) = moving_clip(2)
    of_truth, of_result = (network(*map(as_tensor, pair)).item() for pair in ((prev_gt, cur_gt), (prev, cur)))

    found = perceptual_change_distance(network, prev_gt, cur_gt, prev, cur)

    assert found == pytest.approx(100 * abs(of_truth - of_result), rel=1e-4)
    assert found > 0.1
    assert perceptual_change_distance(network, prev, cur, prev_gt, cur_gt) == pytest.approx(found)
    assert perceptual_change_distance(network, prev_gt, cur_gt, prev_gt, cur_gt) == 0


# --- protocols

def official_crop(height: int, width: int) -> tuple[int, int, int, int]:
    """Top, left, height and width by trying out all."""
    inner = [max(part for part in range(0, side + 1, 32) if side - part >= 16) for side in (height, width)]
    return (height - inner[0]) // 2, (width - inner[1]) // 2, *inner


@pytest.mark.parametrize(('height', 'width'), [(576, 720), (480, 720), (534, 1280), (80, 79), (111, 112)])
def test_the_official_window_is_the_largest_that_leaves_a_margin(height, width):
    rows, columns = PROTOCOLS['official'].window(height, width)

    found = rows.start, columns.start, rows.stop - rows.start, columns.stop - columns.start
    assert found == official_crop(height, width)


def test_frames_without_room_for_the_window_are_refused():
    PROTOCOLS['official'].window(48, 48)
    with pytest.raises(MetricError, match='48x47 pixels. Expected at least 48x48 under .*official protocol, which'):
        PROTOCOLS['official'].window(47, 48)
    assert PROTOCOLS['training'].window(7, 5) == (slice(0, 7), slice(0, 5))


def test_a_protocol_names_what_was_measured():
    official = PROTOCOLS['official'].describe(['tof', 'psnr'])

    for part in ('official', 'first and last 2 frames', 'multiples of 32', 'at least 16', 'not rounded', 'tOF',
                 'means over frames'):
        assert part in official
    assert 'LPIPS' not in official
    for part in ('in training', 'all frames', 'whole frames; ', 'rounded to 8 bit', 'tLP', 'means over clips'):
        assert part in PROTOCOLS['training'].describe(['psnr', 'tlp'])


def test_the_larger_of_a_pair_is_cut_at_its_end(texture):
    for result, truth in ((texture, texture[:-2, :-3]), (texture[:-2, :-3], texture), (texture[:-2], texture[:, :-3])):
        found = cut_to_one_size(result, truth)
        assert all(np.array_equal(image, texture[:-2, :-3]) for image in found)
    with pytest.raises(MetricError, match='the result is 112x96 pixels and the ground truth 112x92'):
        cut_to_one_size(texture, texture[:-4])


# --- in BasicSR's validation

@pytest.mark.parametrize(('kind', 'words'), [('tof', 'tOF is a property of a sequence'),
                                             ('tlp', 'tLP is a property of a sequence')])
def test_basicsr_is_told_that_no_image_has_these_metrics(kind, words, texture):
    with pytest.raises(MetricError, match=f'{words}.*TecoGANModel.*--metrics {kind}'):
        calculate_metric({'img': texture, 'img2': texture}, {'type': f'calculate_{kind}'})
