"""Scores of clips against plain computations that hold all frames; in one process and in several."""
from __future__ import annotations

import math
import pickle
import tracemalloc
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.backbones import accept, random_backbone
from helpers.clips import Clip, moving_clip

from basicsr_kd.archs.upsample import upsample_bd
from basicsr_kd.errors import BackboneError, MetricError
from basicsr_kd.metrics.clip_protocol import PROTOCOLS
from basicsr_kd.metrics.clip_scores import ClipScores
from basicsr_kd.metrics.jod import jod_of_clip
from basicsr_kd.metrics.lpips import lpips_network
from basicsr_kd.utils.metric_names import CLIP_METRICS

LENGTHS = {'b': 6, 'a': 8, 'c': 7}
Values = dict[str, list[float]]


@pytest.fixture(scope='module')
def backbone(tmp_path_factory) -> Path:
    torch.manual_seed(0)
    return random_backbone('alexnet', tmp_path_factory.mktemp('weights') / 'alexnet.pth')


@pytest.fixture(autouse=True)
def _accepted(backbone, monkeypatch) -> None:
    accept(monkeypatch, 'alexnet', backbone)


@pytest.fixture(scope='module')
def clips() -> dict[str, Clip]:
    """Of other lengths and sizes."""
    return {name: moving_clip(length, 80 + 2 * length, 84, seed=length) for name, length in LENGTHS.items()}


def scored(clips: dict[str, Clip], names=CLIP_METRICS, protocol: str = 'official', **options) -> ClipScores:
    options.setdefault('frame_rate', 24)
    scores = ClipScores(names, PROTOCOLS[protocol], **options)
    for clip, frames in clips.items():
        for index, (result, truth) in enumerate(frames):
            scores.add(clip, index, result, truth)
    return scores


# --- plain computations

def luma(image: np.ndarray) -> np.ndarray:
    """Y of BT.601 of BGR, 16 to 235."""
    return image.astype(np.float64) @ [0.097905882352941, 0.504129411764706, 0.256788235294118] + 16


def psnr(result: np.ndarray, truth: np.ndarray, rounded: bool) -> float:
    y = [luma(image).round() if rounded else luma(image) for image in (result, truth)]
    return 20 * math.log10(255 / math.sqrt(np.square(y[0] - y[1]).mean()))


def plain(clip: Clip, backbone: Path, dropped: int, crop: bool, rounded: bool) -> Values:
    """The official protocol and that in training as their authors' code has them, over lists of all frames."""
    network = lpips_network('alex', backbone)

    def distances(pairs: list[tuple[np.ndarray, np.ndarray]]) -> list[float]:
        batches = (torch.stack([torch.from_numpy(image[..., ::-1].copy()) for image in side])
                   for side in zip(*pairs, strict=True))
        return network(*(batch.permute(0, 3, 1, 2) / 127.5 - 1 for batch in batches)).flatten().tolist()

    results, truths = zip(*clip[dropped:len(clip) - dropped], strict=True)
    height, width = truths[0].shape[:2]
    inner = [(side - 16) // 32 * 32 if crop else side for side in (height, width)]
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2

    def cut(images):
        return [image[top:top + inner[0], left:left + inner[1]] for image in images]

    flows = []
    for frames in (results, truths):
        grey = [cv2.cvtColor(frame[..., ::-1].copy(), cv2.COLOR_RGB2GRAY) for frame in frames]
        flows.append(cut(cv2.calcOpticalFlowFarneback(*pair, None, 0.5, 3, 15, 3, 5, 1.2, 0)
                         for pair in zip(grey, grey[1:], strict=False)))
    results, truths = cut(results), cut(truths)
    jod = {name: [jod_of_clip(name, *(np.stack(images)[..., ::-1].copy() for images in (results, truths)), 24)] *
           len(results) for name in ('jod', 'jod20')}
    changes = [distances(list(zip(frames, frames[1:], strict=False))) for frames in (results, truths)]
    return {'psnr': [psnr(*pair, rounded) for pair in zip(results, truths, strict=True)],
            'lpips': distances(list(zip(results, truths, strict=True))),
            'tof': [np.hypot(*np.moveaxis(of_result - of_truth, 2, 0)).mean()
                    for of_result, of_truth in zip(*flows, strict=True)],
            'tlp': [100 * abs(of_truth - of_result) for of_result, of_truth in zip(*changes, strict=True)], **jod}


@pytest.mark.parametrize(('protocol', 'options'), [('official', {'dropped': 2, 'crop': True, 'rounded': False}),
                                                   ('training', {'dropped': 0, 'crop': False, 'rounded': True})])
def test_scores_are_those_of_a_computation_that_holds_all_frames(clips, backbone, protocol, options):
    chosen = {name: clips[name] for name in ('b', 'a')}
    wanted = {name: plain(clip, backbone, **options) for name, clip in chosen.items()}

    found = scored(chosen, protocol=protocol, weights=backbone).results()

    assert list(found) == list(CLIP_METRICS)
    for metric in CLIP_METRICS:
        values = {clip: of_clip[metric] for clip, of_clip in wanted.items()}
        pairs = metric in ('tof', 'tlp')
        assert [len(of_clip) for of_clip in values.values()] == [
            LENGTHS[clip] - 2 * options['dropped'] - pairs for clip in values]
        means = {clip: pytest.approx(np.mean(of_clip), rel=1e-4) for clip, of_clip in values.items()}
        assert found[metric]['by_clip'] == means
        assert found[metric]['frames'] == pytest.approx(np.mean(sum(values.values(), [])), rel=1e-4)
        assert found[metric]['clips'] == pytest.approx(np.mean([np.mean(of_clip) for of_clip in values.values()]),
                                                       rel=1e-4)


def test_means_are_over_frames_and_over_clips():
    scores = ClipScores(['psnr'], PROTOCOLS['training'])
    scores.merge([{'b': [{'psnr': 30.0}] * 4, 'a': [{'psnr': 10.0}, {'psnr': 20.0}]}])

    assert scores.results() == {'psnr': {'frames': 25, 'clips': 22.5, 'by_clip': {'a': 15, 'b': 30}}}


def test_a_perfect_result_has_perfect_scores(clips, backbone):
    found = scored({'a': [(truth, truth) for _, truth in clips['a']]}, weights=backbone).results()

    assert {metric: means['frames'] for metric, means in found.items()} == {
        'psnr': math.inf, 'lpips': 0, 'tof': 0, 'tlp': 0, 'jod': 10, 'jod20': 10}


def test_a_grey_result_is_scored_as_three_equal_channels(clips):
    grey = [(result[..., 0], truth[..., 0]) for result, truth in clips['b']]
    colour = [(cv2.merge([result] * 3), cv2.merge([truth] * 3)) for result, truth in grey]

    assert scored({'a': grey}, ['psnr', 'tof']).results() == scored({'a': colour}, ['psnr', 'tof']).results()


# --- frame by frame

def test_memory_does_not_grow_with_the_clip(clips):
    pairs = moving_clip(20)
    frame = sum(image.nbytes for image in pairs[0])
    scores = ClipScores(['psnr', 'tof'])
    tracemalloc.start()
    sizes = []
    for index in range(40):
        result, truth = pairs[index % 20]
        scores.add('a', index, result.copy(), truth.copy())
        sizes.append(tracemalloc.get_traced_memory()[0])
    tracemalloc.stop()

    assert sizes[-1] > frame  # the frame before is in it: memory is traced
    assert sizes[-1] - sizes[5] < 0.5 * frame


def test_the_caller_may_read_all_frames_into_one_array(clips):
    arrays = [np.empty_like(image) for image in clips['b'][0]]
    scores = ClipScores(['psnr', 'tof'])
    for index, pair in enumerate(clips['b']):
        for array, image in zip(arrays, pair, strict=True):
            array[:] = image
        scores.add('b', index, *arrays)

    assert scores.results() == scored({'b': clips['b']}, ['psnr', 'tof']).results()


def test_a_clip_that_begins_again_is_replaced(clips):
    scores = scored({'b': clips['a'], 'a': clips['c']}, ['psnr', 'tof'])
    for index, pair in enumerate(clips['b']):
        scores.add('b', index, *pair)

    assert scores.results() == scored({'b': clips['b'], 'a': clips['c']}, ['psnr', 'tof']).results()


@pytest.mark.parametrize(('clip', 'index', 'message'), [
    ('a', 3, 'frame 3 of clip a comes after frame 1 of clip a. Expected it after frame 2 of its clip: frames are'),
    ('a', 1, 'frame 1 of clip a comes after frame 1 of clip a. Expected it after frame 0'),
    ('b', 2, 'frame 2 of clip b comes after frame 1 of clip a. Expected it after frame 1 of its clip'),
])
def test_frames_out_of_order_are_refused(clips, clip, index, message):
    scores = scored({'a': clips['a'][:2]}, ['psnr'])

    with pytest.raises(MetricError, match=message):
        scores.add(clip, index, *clips['a'][2])
    scores.add('a', 2, *clips['a'][2])


def test_a_clip_has_to_begin_with_its_first_frame(clips):
    with pytest.raises(MetricError, match='frame 1 of clip a comes after nothing'):
        ClipScores(['psnr']).add('a', 1, *clips['a'][1])


def test_frames_of_other_sizes_are_refused(clips):
    scores = scored({'a': clips['a'][:2]}, ['psnr'])

    with pytest.raises(MetricError, match='frame 2 of clip a is 84x92 pixels, the one before 84x96. Expected'):
        scores.add('a', 2, *clips['b'][0])
    with pytest.raises(MetricError, match='the result is 84x96 pixels and the ground truth 84x92'):
        scores.add('a', 2, clips['a'][2][0], clips['b'][0][1])


def test_clips_too_short_for_the_protocol_are_left_out_and_named(clips):
    short = {'a': clips['a'], 'd': clips['b'][:5]}
    scores = scored(short, ['psnr', 'tof'])

    assert scores.results() == scored({'a': clips['a']}, ['psnr', 'tof']).results()
    assert scores.warnings() == ["clip d is left out of the scores: it has 5 frames, TecoGAN's official protocol needs "
                                 '6.']
    assert scored({'d': short['d']}, ['psnr']).results() == {}
    in_training = scored(short, ['psnr', 'tof'], 'training')
    assert (set(in_training.results()['tof']['by_clip']), in_training.warnings()) == ({'a', 'd'}, [])


# --- several processes, networks

def test_merged_processes_have_the_scores_of_one(clips):
    names = ['psnr', 'tof']
    shares = [{'c': clips['c'], 'a': clips['a']}, {'b': clips['b'], 'a': clips['a']}]  # one clip is in both
    ranks = [scored(share, names) for share in shares]

    states = pickle.loads(pickle.dumps([rank.state() for rank in ranks]))
    for rank in ranks:
        rank.merge(states)

    wanted = scored(clips, names).results()
    assert [rank.results() for rank in ranks] == [wanted, wanted]
    assert len(pickle.dumps(states)) < 5000


def test_only_lpips_and_tlp_need_a_network(tmp_path):
    missing = tmp_path / 'missing.pth'
    ClipScores(['psnr', 'tof'], weights=missing)
    for name in ('lpips', 'tlp'):
        with pytest.raises(BackboneError, match='no file .*missing.pth'):
            ClipScores([name], weights=missing)


def test_other_metrics_are_refused():
    with pytest.raises(MetricError, match=r"found \['ssim'\] as metrics of clips. Expected psnr, lpips, tof, tlp"):
        ClipScores(['psnr', 'ssim'])


def test_the_protocol_is_said_of_what_is_measured():
    assert ClipScores(['tof']).protocol == PROTOCOLS['official'].describe(['tof'])


# --- the published figure

def test_bicubic_enlargement_of_calendar_has_its_known_scores(data_root):
    """LR is the ground truth blurred (sigma 1.5) and of that every fourth pixel; enlarged as TensorFlow does it."""
    paths = sorted((data_root / 'Vid4' / 'GT' / 'calendar').iterdir())
    kernel = cv2.getGaussianKernel(9, 1.5)
    scores = ClipScores(['psnr', 'tof'])
    for index, path in enumerate(paths):
        truth = cv2.imread(str(path))
        blurred = cv2.sepFilter2D(truth.astype(np.float32), -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
        small = torch.from_numpy(blurred[::4, ::4].round()).permute(2, 0, 1)[None]
        large = upsample_bd(small)[0].permute(1, 2, 0)
        scores.add('calendar', index, large.round().clamp(0, 255).byte().numpy(), truth)

    found = scores.results()

    assert len(paths) == 41
    assert found['psnr']['frames'] == pytest.approx(20.40, abs=0.01)
    assert found['tof']['frames'] == pytest.approx(0.505, abs=0.001)
