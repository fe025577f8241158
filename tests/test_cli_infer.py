"""`basicsr-kd infer`: clips, videos and images against the networks themselves, and everything it refuses."""
import resource
import shutil
import sys
import weakref
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.utils import tensor2img
from video_helpers import write_clip

from basicsr_kd.archs import FRNet
from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.cli.main import main
from basicsr_kd.deploy import infer
from basicsr_kd.deploy.errors import InferError
from basicsr_kd.deploy.stream import FRONT
from basicsr_kd.deploy.video_files import VideoWriter
from basicsr_kd.evaluation.methods import Network
from basicsr_kd.metrics.arrays import as_tensor

FRAMES = 8


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory, with a clip of 8 frames of 20x20 pixels, the same as a video, and an FRNet."""
    monkeypatch.chdir(tmp_path)
    write_clip(Path('clip'), FRAMES, seed=0, side=20)
    with VideoWriter(Path('clip.mp4'), 12.5) as video:
        for path in sorted(Path('clip').iterdir()):
            video.write('', cv2.imread(str(path)))
    net = FRNet(nf=8, nb=1)
    with torch.no_grad():
        net.fnet.flow[2].weight.normal_(std=0.5)
        net.srnet.conv_out.weight.normal_(std=0.1)
    write_checkpoint('frnet.pth', net.state_dict())
    return tmp_path


@pytest.fixture
def tool(folder, capfd):
    """Runs the command on the CPU: exit status, stdout, stderr (of OpenCV and FFmpeg too)."""
    def run(*args):
        try:
            status = main(['infer', '--device', 'cpu', *map(str, args)])
        except SystemExit as error:  # argparse
            status = error.code
        return status, *capfd.readouterr()
    return run


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


def test_a_clip_becomes_what_the_sequence_form_makes_of_it(tool):
    status, output, errors = tool(*clip_to('new/out'))
    assert (status, errors) == (0, '')
    assert output == '8 frames enlarged 4 times with frnet.pth. Written: new/out\n'
    found, frames = images('new/out'), list(images('clip').values())
    assert list(found) == [f'{index:04d}.png' for index in range(FRAMES)]
    assert_close(list(found.values()), whole_clip(frames))
    assert np.abs(found['0000.png'].astype(int) - whole_clip(frames, 0)[0]).max() > 1  # the front is seen
    assert files() >= {'new/out'} and not [name for name in files() if Path(name).name.startswith('.')]


def test_a_clip_shorter_than_the_front_has_as_many_reflected_frames_as_it_can(tool):
    for index in range(3, FRAMES):
        Path(f'clip/{index:04d}.png').unlink()
    assert tool(*clip_to('out'))[0] == 0
    assert_close(list(images('out').values()), whole_clip(list(images('clip').values())))


def test_frames_are_in_the_order_of_their_numbers(tool):
    for index in range(FRAMES):
        Path(f'clip/{index:04d}.png').rename(f'clip/Frame {index + 5}.png')  # 10 sorts before 5
    assert tool(*clip_to('out'))[0] == 0
    found = images('out')
    expected = whole_clip([cv2.imread(f'clip/Frame {index + 5}.png') for index in range(FRAMES)])
    assert_close([found[f'Frame {index + 5}.png'] for index in range(FRAMES)], expected)


@pytest.mark.parametrize('clip', [True, False])
def test_memory_does_not_grow_with_the_number_of_frames(folder, teacher_file, clip):
    network = Network('net', Path('frnet.pth') if clip else teacher_file)
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


def test_a_video_becomes_a_video_of_the_same_speed(tool):
    assert tool(*clip_to('out.mp4', source='clip.mp4'))[0::2] == (0, '')
    found, fps = video('out.mp4')
    assert fps == 12.5 and {frame.shape for frame in found} == {(80, 80, 3)}
    assert tool(*clip_to('frames', source='clip.mp4'))[0] == 0
    frames = images('frames')
    assert list(frames) == [f'{index:08d}.png' for index in range(FRAMES)]
    assert_close(list(frames.values()), whole_clip(video('clip.mp4')[0]))
    assert len(found) == FRAMES
    for lossy, lossless in zip(found, frames.values(), strict=True):
        assert np.abs(lossy.astype(float) - lossless).mean() < 20  # the small colours of MPEG-4


@pytest.mark.parametrize(('more', 'speed'), [((), 25), (('--fps', 30), 30)])
def test_a_folder_becomes_a_video_of_the_speed_that_is_asked_for(tool, more, speed):
    assert tool(*clip_to('out.mp4', *more))[0] == 0
    frames, fps = video('out.mp4')
    assert (len(frames), fps) == (FRAMES, speed)


@torch.no_grad()
def test_a_network_of_images_takes_a_folder_of_any_images(tool, teacher_file):
    net = build_from_file(str(teacher_file)).eval()
    Path('photos').mkdir()
    rng = np.random.default_rng(0)
    for name, size in (('b.png', (20, 31)), ('a.jpg', (24, 16))):
        cv2.imwrite(f'photos/{name}', cv2.resize(rng.integers(0, 256, (4, 4, 3), dtype=np.uint8), size))
    expected = [tensor2img(net(as_tensor(image))) for image in images('photos').values()]

    assert tool(*clip_to('out', weights=teacher_file, source='photos'))[0] == 0
    assert list(images('out')) == ['a.png', 'b.png']
    assert_close(list(images('out').values()), expected)
    assert tool(*clip_to('tiled', '--tile', 8, weights=teacher_file, source='photos'))[0] == 0
    assert_close(list(images('tiled').values()), expected, levels=3)

    for output, written in (('big.png', 'big.png'), ('one', 'one/b.png')):
        status, text, _ = tool(*clip_to(output, weights=teacher_file, source='photos/b.png'))
        assert (status, text.startswith('1 frame enlarged 4 times')) == (0, True)
        assert_close([cv2.imread(written)], expected[1:])


@torch.no_grad()
def test_a_network_of_images_takes_a_video_and_writes_one(tool, teacher_file):
    net = build_from_file(str(teacher_file)).eval()
    assert tool(*clip_to('out', weights=teacher_file, source='clip.mp4'))[0] == 0
    assert_close(list(images('out').values()), [tensor2img(net(as_tensor(frame))) for frame in video('clip.mp4')[0]])
    assert tool(*clip_to('out.mp4', weights=teacher_file))[0] == 0
    assert len(video('out.mp4')[0]) == FRAMES


def test_half_precision_is_near_and_refused_where_it_is_slow(tool, monkeypatch):
    monkeypatch.setattr(infer, 'fast_formats', lambda device: ['fp32'])
    status, _, errors = tool(*clip_to('half', '--half'))
    assert status == 2 and 'cpu has no fast half precision' in errors and not Path('half').exists()
    monkeypatch.setattr(infer, 'fast_formats', lambda device: ['fp32', 'bf16'])
    assert tool(*clip_to('half', '--half'))[0] == tool(*clip_to('full'))[0] == 0
    differences = [np.abs(one.astype(int) - other) for one, other in
                   zip(images('half').values(), images('full').values(), strict=True)]
    assert 0 < np.max(differences) and np.mean(differences) < 4


def test_bars_are_for_people(tool, monkeypatch):
    assert tool(*clip_to('out'))[2] == ''
    monkeypatch.setattr(sys.stderr, 'isatty', lambda: True)
    errors = tool(*clip_to('again'))[2]
    assert 'reading' in errors and 'enlarging: 100%' in errors and '8/8' in errors


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
    state['srnet.conv_out.bias'][0] = np.nan
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
def test_what_cannot_be_done_is_one_line_and_leaves_nothing(tool, name):
    prepare, changes, message = BAD[name]
    if prepare:
        prepare()
    before = files()
    source = {key: changes[key] for key in ('weights', 'source') if key in changes}
    status, output, errors = tool(*clip_to(changes.get('output', 'out'), *changes.get('more', ()), **source))
    assert (status, output, errors.count('\n')) == (2, '', 1)
    assert errors.startswith('basicsr-kd infer: ') and message in errors
    assert files() == before


def test_networks_of_images_refuse_images_of_one_name(tool, teacher_file):
    shutil.copy('clip/0000.png', 'clip/0000.bmp')
    status, _, errors = tool(*clip_to('out', weights=teacher_file))
    assert status == 2 and 'clip/0000.bmp and 0000.png have one name' in errors and not Path('out').exists()


def test_frames_too_small_for_the_network_are_named(tool):
    for path in Path('clip').iterdir():
        cv2.imwrite(str(path), cv2.imread(str(path))[:6])
    status, _, errors = tool(*clip_to('out'))
    assert status == 2 and 'frnet.pth fails on frame 0000: found frames of 6x20 pixels' in errors
    assert not Path('out').exists()


@pytest.mark.parametrize('output', ['new/out', 'out.mp4', 'old'])
def test_ctrl_c_leaves_nothing(tool, monkeypatch, output):
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
    assert tool(*clip_to(output, '--force')) == (130, '', 'basicsr-kd: interrupted\n')
    assert files() == before and Path('old/0000.png').read_text() == 'mine'


def test_a_video_that_the_disk_has_no_room_for_is_told(folder):
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


def test_force_replaces_what_has_the_same_name_only(tool):
    for name in ('out/0000.png', 'out/mine.txt', 'out.mp4'):
        Path(name).parent.mkdir(exist_ok=True)
        Path(name).write_text('mine')
    assert tool(*clip_to('out', '--force'))[0] == tool(*clip_to('out.mp4', '--force'))[0] == 0
    assert Path('out/mine.txt').read_text() == 'mine'
    assert cv2.imread('out/0000.png').shape == (80, 80, 3)
    assert len(list(Path('out').iterdir())) == FRAMES + 1
    assert len(video('out.mp4')[0]) == FRAMES
