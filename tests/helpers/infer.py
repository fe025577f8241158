"""What the tests of `basicsr-kd infer` share; the fixtures `clip_folder` and `infer_tool` are in conftest.py."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import torch
from basicsr.utils import tensor2img

from basicsr_kd.archs import FRNet
from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.deploy.stream import FRONT
from basicsr_kd.deploy.video_files import VideoWriter
from basicsr_kd.utils.arrays import as_tensor
from helpers.video import write_clip

FRAMES = 8


def write_inputs() -> None:
    """Write, here, a clip of 8 frames of 20x20 pixels, the same as a video, and an FRNet."""
    write_clip(Path('clip'), FRAMES, seed=0, side=20)
    with VideoWriter(Path('clip.mp4'), 12.5) as video:
        for path in sorted(Path('clip').iterdir()):
            video.write('', cv2.imread(str(path)))
    net = FRNet(nf=8, nb=1)
    with torch.no_grad():
        net.fnet.flow[2].weight.normal_(std=0.5)
        net.srnet.conv_out.weight.normal_(std=0.1)
    write_checkpoint('frnet.pth', net.state_dict())


def clip_to(output, *more, weights='frnet.pth', source='clip'):
    return '--weights', weights, '--input', source, '--output', output, *more


def files() -> set[str]:
    return {str(path) for path in Path().rglob('*')}


def images(name):
    return {path.name: cv2.imread(str(path)) for path in sorted(Path(name).iterdir())}


def video(name):
    """The frames of a video, and how many of them there are in a second."""
    capture = cv2.VideoCapture(name, cv2.CAP_FFMPEG)
    fps, frames = capture.get(cv2.CAP_PROP_FPS), []
    while (read := capture.read())[0]:
        frames.append(read[1])
    return frames, fps


@torch.no_grad()
def whole_clip(frames, front=FRONT):
    """What FRNet's sequence form makes of a clip with reflected frames in front."""
    lr = torch.cat([as_tensor(frame) for frame in [*frames[front:0:-1], *frames]])
    net = build_from_file('frnet.pth').eval()
    return [tensor2img(image) for image in net(lr[None])[0, len(lr) - len(frames):]]


def assert_close(found, expected, levels=1):
    assert len(found) == len(expected)
    for one, other in zip(found, expected, strict=True):
        assert np.abs(one.astype(int) - other).max() <= levels
