"""What `basicsr-kd infer` refuses: one line that names the file, and nothing is written."""
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from helpers.infer import FRAMES, clip_to, files

from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.deploy.video_files import VideoWriter


def cut(name, share=0.5):
    content = Path(name).read_bytes()
    Path(name).write_bytes(content[:int(len(content) * share)])


def one_frame():
    for index in range(1, FRAMES):
        Path(f'clip/{index:04d}.png').unlink()


def one_frame_video():
    with VideoWriter(Path('clip.mp4'), 25) as video:
        video.write('', np.zeros((20, 20, 3), np.uint8))


def cut_motion_jpeg():
    writer = cv2.VideoWriter('clip.avi', cv2.CAP_FFMPEG, cv2.VideoWriter.fourcc(*'MJPG'), 25, (64, 64))
    for seed in range(12):
        writer.write(np.random.default_rng(seed).integers(0, 256, (64, 64, 3), dtype=np.uint8))
    writer.release()
    cut('clip.avi')


def write_discriminator():
    write_checkpoint('d.pth', {'conv0_0.weight': torch.zeros(8, 3, 3, 3), 'linear2.weight': torch.zeros(1, 100)})


def other_size():
    cv2.imwrite('clip/0003.png', np.zeros((24, 20, 3), np.uint8))


def diverged():
    state = torch.load('frnet.pth')['params']
    state['srnet.conv_out.weight'].fill_(3e38)
    write_checkpoint('frnet.pth', state)


BAD = {
    'no input': (None, {'source': 'nothing'}, 'nothing does not exist. Expected a folder of images, an image or a'),
    'no images': (lambda: Path('empty').mkdir(), {'source': 'empty'}, 'There is no image in empty'),
    'one frame': (one_frame, {}, 'clip has 1 frame(s): clip/0000.png. Expected at least two'),
    'one image': (None, {'source': 'clip/0000.png'}, 'clip/0000.png is one image. Expected a clip of at least two'),
    'one-frame video': (one_frame_video, {'source': 'clip.mp4'}, 'clip.mp4 has 1 frame(s) that can be read. Expected'),
    'sizes': (other_size, {}, 'clip/0003.png has 20 x 24 pixels, expected 20 x 20 pixels as in clip/0000.png'),
    'missing number': (lambda: Path('clip/0003.png').unlink(), {}, 'clip: number 3 is missing, 0004.png follows 0002'),
    'cut image': (lambda: cut('clip/0006.png'), {}, 'clip/0006.png cannot be read as an image'),
    'cut video': (lambda: cut('clip.mp4'), {'source': 'clip.mp4'}, 'clip.mp4 cannot be read as a video'),
    'cut before its index': (cut_motion_jpeg, {'source': 'clip.avi'}, 'clip.avi has 12 frames by its header, and '),
    'no video': (lambda: Path('notes.txt').write_text('x'), {'source': 'notes.txt'},
                 'notes.txt cannot be read as a video'),
    'no checkpoint': (None, {'weights': 'clip/0000.png'}, 'is not a checkpoint that can be read'),
    'no weights': (None, {'weights': 'no.pth'}, 'Checkpoint no.pth does not exist'),
    'discriminator': (write_discriminator, {'weights': 'd.pth'}, 'd.pth is no RRDBNet'),
    'diverged': (diverged, {}, 'frnet.pth makes values of 0000 that are not finite'),
    'tiles': (None, {'more': ('--tile', 64)}, '--tile is for networks of images, and frnet.pth goes from frame to'),
    'negative tile': (None, {'more': ('--tile', -1)}, '--tile is -1. Expected at least 0'),
    'no speed': (None, {'output': 'out.mp4', 'more': ('--fps', 0)}, '--fps is 0. Expected more than 0'),
    'speed of images': (None, {'more': ('--fps', 25)}, '--fps is for videos, and --output out does not end in .mp4'),
    'speed MPEG-4 lacks': (None, {'output': 'out.mp4', 'more': ('--fps', 119.881)}, 'at 119.881 frames a second'),
    'folder there': (None, {'output': 'clip/..'}, 'is not empty. Choose another folder, or say --force'),
    'video there': (None, {'output': 'clip.mp4'}, 'clip.mp4 exists. Choose another name, or say --force'),
    'a file there': (None, {'output': 'frnet.pth', 'more': ('--force',)}, 'frnet.pth is a file. Expected a folder'),
    'onto the input': (None, {'output': './clip', 'more': ('--force',)}, '--output is --input, clip. Expected another'),
    'other video': (None, {'output': 'out.avi'}, '--output out.avi ends in .avi. Videos are written as .mp4'),
    'image of a clip': (None, {'output': 'out.png'}, '--output out.png is one image, and --input clip is none'),
    'device': (None, {'more': ('--device', 'warp')}, '--device warp cannot be used'),
}


@pytest.mark.parametrize('name', BAD)
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(infer_tool, name):
    prepare, changes, message = BAD[name]
    if prepare:
        prepare()
    before = files()
    source = {key: changes[key] for key in ('weights', 'source') if key in changes}
    status, output, errors = infer_tool(*clip_to(changes.get('output', 'out'), *changes.get('more', ()), **source))
    assert (status, output, errors.count('\n')) == (2, '', 1)
    assert errors.startswith('basicsr-kd infer: ') and message in errors
    assert files() == before


def test_networks_of_images_refuse_images_of_one_name(infer_tool, teacher_file):
    shutil.copy('clip/0000.png', 'clip/0000.bmp')
    status, _, errors = infer_tool(*clip_to('out', weights=teacher_file))
    assert status == 2 and 'clip/0000.bmp and 0000.png have one name' in errors and not Path('out').exists()


def test_frames_too_small_for_the_network_are_named(infer_tool):
    for path in Path('clip').iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path))[:6])
    status, _, errors = infer_tool(*clip_to('out'))
    assert status == 2 and 'frnet.pth fails on frame 0000: found frames of 6x20 pixels' in errors
    assert not Path('out').exists()
