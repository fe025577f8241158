"""`basicsr-kd infer`: clips, videos and images against the networks themselves."""
import re
import sys
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.utils import tensor2img
from helpers.infer import FRAMES, assert_close, clip_to, files, images, video, whole_clip

from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.deploy import infer
from basicsr_kd.deploy.open import open_network
from basicsr_kd.deploy.stream import FRONT
from basicsr_kd.utils.arrays import as_tensor


def test_a_clip_becomes_what_the_sequence_form_makes_of_it(infer_tool):
    status, output, errors = infer_tool(*clip_to('new/out'))
    assert (status, errors) == (0, '')
    assert re.fullmatch(r'8 frames enlarged 4 times with frnet\.pth, [\d.]+ frames/s\. Written: new/out\n', output)
    found, frames = images('new/out'), list(images('clip').values())
    assert list(found) == [f'{index:04d}.png' for index in range(FRAMES)]
    assert_close(list(found.values()), whole_clip(frames))
    assert np.abs(found['0000.png'].astype(int) - whole_clip(frames, 0)[0]).max() > 1  # the front is seen
    assert files() >= {'new/out'} and not [name for name in files() if Path(name).name.startswith('.')]


def test_a_clip_shorter_than_the_front_has_as_many_reflected_frames_as_it_can(infer_tool):
    for index in range(3, FRAMES):
        Path(f'clip/{index:04d}.png').unlink()
    assert infer_tool(*clip_to('out'))[0] == 0
    assert_close(list(images('out').values()), whole_clip(list(images('clip').values())))


def test_frames_are_in_the_order_of_their_numbers(infer_tool):
    for index in range(FRAMES):
        Path(f'clip/{index:04d}.png').rename(f'clip/Frame {index + 5}.png')  # 10 sorts before 5
    assert infer_tool(*clip_to('out'))[0] == 0
    found = images('out')
    expected = whole_clip([cv2.imread(f'clip/Frame {index + 5}.png') for index in range(FRAMES)])
    assert_close([found[f'Frame {index + 5}.png'] for index in range(FRAMES)], expected)


@pytest.mark.parametrize('clip', [True, False])
def test_memory_does_not_grow_with_the_number_of_frames(clip_folder, teacher_file, clip):
    network = open_network('net', Path('frnet.pth') if clip else teacher_file)
    alive, ahead = weakref.WeakSet(), []

    class Image(np.ndarray):
        def __hash__(self):
            return id(self)

    def frames():
        for index in range(20):
            image = np.full((8, 8, 3), index, np.uint8).view(Image)
            alive.add(image)
            ahead.append(index)
            yield str(index), image
            del image

    for index, (name, _) in enumerate(infer.enlarge(network, frames())):
        assert name == str(index)
        assert len(ahead) == min(max(index + 1, FRONT + 1 if clip else 0), 20)
        assert len(alive) <= 2
    assert index == 19


def test_a_video_becomes_a_video_of_the_same_speed(infer_tool):
    assert infer_tool(*clip_to('out.mp4', source='clip.mp4'))[0::2] == (0, '')
    found, fps = video('out.mp4')
    assert fps == 12.5 and {frame.shape for frame in found} == {(80, 80, 3)}
    assert infer_tool(*clip_to('frames', source='clip.mp4'))[0] == 0
    frames = images('frames')
    assert list(frames) == [f'{index:08d}.png' for index in range(FRAMES)]
    assert_close(list(frames.values()), whole_clip(video('clip.mp4')[0]))
    assert len(found) == FRAMES
    for lossy, lossless in zip(found, frames.values(), strict=True):
        assert np.abs(lossy.astype(float) - lossless).mean() < 20  # the small colours of MPEG-4


@pytest.mark.parametrize(('more', 'speed'), [((), 25), (('--fps', 30), 30)])
def test_a_folder_becomes_a_video_of_the_speed_that_is_asked_for(infer_tool, more, speed):
    assert infer_tool(*clip_to('out.mp4', *more))[0] == 0
    frames, fps = video('out.mp4')
    assert (len(frames), fps) == (FRAMES, speed)


@torch.no_grad()
def test_a_network_of_images_takes_a_folder_of_any_images(infer_tool, teacher_file):
    net = build_from_file(str(teacher_file)).eval()
    Path('photos').mkdir()
    rng = np.random.default_rng(0)
    for name, size in (('b.png', (20, 31)), ('a.jpg', (24, 16))):
        cv2.imwrite(f'photos/{name}', cv2.resize(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8), size))
    expected = [tensor2img(net(as_tensor(image))) for image in images('photos').values()]

    assert infer_tool(*clip_to('out', weights=teacher_file, source='photos'))[0] == 0
    assert list(images('out')) == ['a.png', 'b.png']
    assert_close(list(images('out').values()), expected)
    tiles = '--tile', 8, '--overlap', 4, '--batch', 3
    assert infer_tool(*clip_to('tiled', *tiles, weights=teacher_file, source='photos'))[0] == 0
    assert_close(list(images('tiled').values()), expected, levels=3)

    for output, written in (('big.png', 'big.png'), ('one', 'one/b.png')):
        status, text, _ = infer_tool(*clip_to(output, weights=teacher_file, source='photos/b.png'))
        assert (status, text.startswith('1 image enlarged 4 times')) == (0, True)
        assert_close([cv2.imread(written)], expected[1:])


@torch.no_grad()
def test_a_network_of_images_takes_a_video_and_writes_one(infer_tool, teacher_file):
    net = build_from_file(str(teacher_file)).eval()
    assert infer_tool(*clip_to('out', weights=teacher_file, source='clip.mp4'))[0] == 0
    assert_close(list(images('out').values()), [tensor2img(net(as_tensor(frame))) for frame in video('clip.mp4')[0]])
    assert infer_tool(*clip_to('out.mp4', weights=teacher_file))[0] == 0
    assert len(video('out.mp4')[0]) == FRAMES


def test_half_precision_is_near_and_refused_where_it_is_slow(infer_tool, monkeypatch):
    monkeypatch.setattr(infer, 'fast_formats', lambda device: ['fp32'])
    status, _, errors = infer_tool(*clip_to('half', '--half'))
    assert status == 2 and 'cpu has no fast half precision' in errors and not Path('half').exists()
    monkeypatch.setattr(infer, 'fast_formats', lambda device: ['fp32', 'bf16'])
    assert infer_tool(*clip_to('half', '--half'))[0] == infer_tool(*clip_to('full'))[0] == 0
    differences = [np.abs(one.astype(int) - other) for one, other in
                   zip(images('half').values(), images('full').values(), strict=True)]
    assert 0 < np.max(differences) and np.mean(differences) < 4


def test_bars_are_for_people(infer_tool, monkeypatch):
    assert infer_tool(*clip_to('out'))[2] == ''
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    errors = infer_tool(*clip_to('again'))[2]
    assert 'reading' in errors and 'enlarging: 100%' in errors and '8/8' in errors
