"""What `basicsr-kd infer` leaves behind: nothing half done, and nothing of others is lost."""
import resource
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.infer import FRAMES, clip_to, files, video

from basicsr_kd.deploy import infer
from basicsr_kd.deploy.video_files import VideoWriter
from basicsr_kd.errors import InferError


@pytest.mark.parametrize('output', ['new/out', 'out.mp4', 'old'])
def test_ctrl_c_leaves_nothing(infer_tool, monkeypatch, output):
    Path('old').mkdir()
    Path('old/0000.png').write_text('mine')
    before = files()

    def interrupted(network, frames):
        for index, result in enumerate(enlarge(network, frames)):
            if index == 3:
                raise KeyboardInterrupt
            yield result

    enlarge = infer.enlarge
    monkeypatch.setattr(infer, 'enlarge', interrupted)
    assert infer_tool(*clip_to(output, '--force')) == (130, '', 'basicsr-kd: interrupted\n')
    assert files() == before and Path('old/0000.png').read_text() == 'mine'


def test_a_video_that_the_disk_has_no_room_for_is_told(clip_folder):
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    rng = np.random.default_rng(0)
    with pytest.raises(InferError, match='of 20 frames are in the video'), VideoWriter(Path('out.mp4'), 25) as writer:
        resource.setrlimit(resource.RLIMIT_FSIZE, (30_000, limits[1]))
        try:
            for _ in range(20):
                writer.write('', rng.integers(0, 256, (64, 64, 3), dtype=np.uint8))
            writer.close()
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_force_replaces_what_has_the_same_name_only(infer_tool):
    for name in ('out/0000.png', 'out/mine.txt', 'out.mp4'):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text('mine')
    assert infer_tool(*clip_to('out', '--force'))[0] == infer_tool(*clip_to('out.mp4', '--force'))[0] == 0
    assert Path('out/mine.txt').read_text() == 'mine'
    assert cv2.imread('out/0000.png').shape == (80, 80, 3)
    assert len(list(Path('out').iterdir())) == FRAMES + 1
    assert len(video('out.mp4')[0]) == FRAMES
