"""`basicsr-kd evaluate` on clips: figures against independent ones, what is written and printed."""
from __future__ import annotations

import json
import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.utils import tensor2img
from helpers.backbones import accept, random_backbone
from helpers.validation import FlatInception
from helpers.video import write_clip
from msgspec import to_builtins

from basicsr_kd.archs.frnet_arch import FRNet
from basicsr_kd.archs.upsample import upsample_bd
from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.cli.main import main
from basicsr_kd.data.tecogan_test_dataset import TecoGANTestDataset
from basicsr_kd.deploy.stream import run_stream
from basicsr_kd.evaluation.clip_sets import find_clip_set
from basicsr_kd.evaluation.evaluate import _run
from basicsr_kd.evaluation.methods import Network
from basicsr_kd.metrics.clip_protocol import PROTOCOLS
from basicsr_kd.metrics.clip_scores import ClipScores
from basicsr_kd.metrics.complexity import complexity
from basicsr_kd.metrics.jod import jod_of_clip

FRAMES = {'city': 8, 'walk': 7}


@pytest.fixture
def tool(tmp_path, monkeypatch, capsys, clips):
    """Runs the command where the two clips are Vid/GT: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'no_cache'))
    shutil.copytree(clips, 'Vid/GT')

    def run(*args, speed=False):
        status = main(['evaluate', *map(str, args), *([] if speed else ['--no-speed'])])
        return status, *capsys.readouterr()
    return run


@pytest.fixture
def frnet() -> FRNet:
    """A network that does something to the frames, with two blocks; its file is frnet.pth."""
    return saved_frnet('frnet.pth', 2)


def saved_frnet(file: str, nb: int) -> FRNet:
    torch.manual_seed(nb)
    net = FRNet(nf=8, nb=nb).eval()
    write_checkpoint(file, net.state_dict())
    return net


def written(name: str = 'out.json') -> dict:
    return json.loads(Path(name).read_text(), parse_constant=pytest.fail)


def frames(clip: str, root: str = 'Vid/GT') -> list[np.ndarray]:
    return [cv2.imread(str(path)) for path in sorted(Path(root, clip).iterdir())]


def low(truth: np.ndarray) -> np.ndarray:
    """Blurred by OpenCV, every 4th pixel, rounded."""
    kernel = cv2.getGaussianKernel(9, 1.5)
    blurred = cv2.sepFilter2D(truth.astype(np.float64), -1, kernel, kernel, borderType=cv2.BORDER_REFLECT_101)
    return blurred[::4, ::4].round().astype(np.uint8)


def write_low(root: str = 'Vid/LR') -> None:
    for clip in FRAMES:
        Path(root, clip).mkdir(parents=True)
        for index, truth in enumerate(frames(clip)):
            cv2.imwrite(f'{root}/{clip}/{index:04d}.png', low(truth))


def as_input(image: np.ndarray) -> torch.Tensor:
    return torch.from_numpy(image[:, :, ::-1].copy()).movedim(2, 0)[None] / 255


def scored(results: dict[str, list[np.ndarray]], metrics: list[str], protocol: str = 'official') -> ClipScores:
    scores = ClipScores(metrics, PROTOCOLS[protocol])
    for clip, images in results.items():
        for index, (result, truth) in enumerate(zip(images, frames(clip), strict=True)):
            scores.add(clip, index, result, truth)
    return scores


def test_jod_of_finished_clips_is_told_their_frame_rate(tool):
    for clip in FRAMES:
        Path('blurred', clip).mkdir(parents=True)
        for index, truth in enumerate(frames(clip)):
            cv2.imwrite(f'blurred/{clip}/{index:04d}.png', cv2.GaussianBlur(truth, (0, 0), 0.5 + index / 3))
    args = '--sr', 'blurred', '--hr', 'Vid/GT', '--metrics', 'jod'
    status, _, errors = tool(*args)
    assert (status, errors.count('\n')) == (2, 1)
    assert '--frame-rate is missing: frames a second of the clips, which --metrics jod depends on.' in errors
    assert tool(*args, '--frame-rate', 25, '--protocol', 'training', '--json', 'out.json')[0] == 0
    found, scores = written(), written()['methods'][0]['scores']['Vid']
    assert 'JOD at 25 frames a second: higher is better' in found['protocol']['text']
    for clip in FRAMES:
        pair = (np.stack([image[..., ::-1] for image in frames(clip, root)]) for root in ('blurred', 'Vid/GT'))
        assert scores['clips']['jod'][clip] == pytest.approx(jod_of_clip('jod', *pair, 25), abs=1e-3)
        assert set(scores['images']['jod'].values()) == set(scores['clips']['jod'].values())


def test_what_is_written_is_what_the_frames_say(tool, frnet):
    status, output, errors = tool('--weights', 'frnet.pth', 'bicubic', '--hr', 'Vid/GT', '--json', 'out.json',
                                  '--save-images', 'images', '--lr-size', 16, speed=True)

    assert (status, errors) == (0, '')
    found, network = written(), written()['methods'][0]
    expected = {
        'frnet': {clip: [tensor2img([frame]) for frame in run_stream(
            frnet, (as_input(low(truth)) for truth in frames(clip)))] for clip in FRAMES},
        'bicubic': {clip: [tensor2img([upsample_bd(as_input(low(truth)))]) for truth in frames(clip)]
                    for clip in FRAMES}}
    names = [f'{clip}/{index:04d}' for clip, count in FRAMES.items() for index in range(2, count - 2)]
    for method in found['methods']:
        scores, means = method['scores']['Vid'], scored(expected[method['name']], ['psnr', 'tof']).results()
        assert scores['mean'] == pytest.approx({name: mean['frames'] for name, mean in means.items()}, rel=1e-3)
        assert {name: pytest.approx(mean['by_clip'], rel=1e-3) for name, mean in means.items()} == scores['clips']
        for metric, values in scores['images'].items():
            known = [value for value in values.values() if value is not None]
            assert list(values) == names and np.mean(known) == pytest.approx(scores['mean'][metric])
        assert [name for name, value in scores['images']['tof'].items() if value is None] == ['city/0002', 'walk/0002']
        for clip, count in FRAMES.items():
            images = frames(clip, f'images/{method["name"]}/Vid')
            assert len(images) == count
            assert max(np.abs(one.astype(int) - other).max() for one, other in zip(
                images, expected[method['name']][clip], strict=True)) <= 1
    assert found['sets'] == [{'name': 'Vid', 'images': names, 'hr': 'Vid/GT', 'lr': None, 'clips': ['city', 'walk']}]
    assert {key: value for key, value in found['protocol'].items() if key != 'text'} == {
        'scale': 4, 'border': 0, 'channel': 'y', 'lpips_net': None, 'clips': 'official', 'frame_rate': None,
        'teacher': None}
    assert network['kind'] == 'network' and network['network']['type'] == 'FRNet'
    assert network['complexity']['parts'] == to_builtins(complexity(frnet, (16, 16)).parts) and network['speed']['fp32']
    text = ' '.join(output.split())
    for said in ("Vid (2 clips, 7 frames); x4; TecoGAN's official protocol; first and last 2 frames",
                 'LR made of the ground truth: Gaussian blur of sigma 1.5',
                 "bicubic: TensorFlow's", 'Means over clips in place of'):
        assert said in text
    assert max(map(len, output.splitlines())) <= 100


def test_low_resolution_in_files_gives_the_figures_of_that_which_is_made(tool, frnet):
    write_low()
    args = ('--weights', 'frnet.pth', 'bicubic', '--hr', 'Vid/GT')

    made, given = tool(*args, '--json', 'made.json'), tool(*args, '--lr', 'Vid/LR', '--json', 'out.json')

    assert made[0] == given[0] == 0
    assert written()['methods'] == written('made.json')['methods']
    assert 'LR made' in made[1] and 'LR made' not in given[1] and written()['sets'][0]['lr'] == 'Vid/LR'


def test_a_network_of_images_takes_frame_by_frame(tool):
    net = SRVGGNetCompact(3, 3, 8, 2, 4).eval()
    write_checkpoint('compact.pth', net.state_dict())
    with torch.no_grad():
        expected = {clip: [tensor2img([net(as_input(low(truth)))]) for truth in frames(clip)] for clip in FRAMES}

    assert tool('--weights', 'compact.pth', '--hr', 'Vid/GT', '--json', 'out.json')[0] == 0

    method = written()['methods'][0]
    assert method['scores']['Vid']['mean'] == pytest.approx(
        {name: mean['frames'] for name, mean in scored(expected, ['psnr', 'tof']).results().items()}, rel=1e-3)
    assert method['complexity']['parts'] == {}


def test_finished_frames_score_as_the_method_that_made_them_in_one_set_and_in_two(tool, frnet):
    shutil.copytree('Vid/GT', 'Other/GT')
    shutil.rmtree('Other/GT/walk')
    two = ('--hr', 'Vid/GT', 'Other/GT')
    assert tool('--weights', 'frnet.pth', *two, '--save-images', 'images', '--json', 'made.json')[0] == 0

    of_two = tool('--sr', 'images/frnet', *two, '--json', 'out.json')
    of_one = tool('--sr', 'images/frnet/Vid', '--hr', 'Vid/GT', '--json', 'one.json', '--names', 'Mine')

    assert of_two[0] == of_one[0] == 0
    made = written('made.json')['methods'][0]['scores']
    assert written()['methods'][0]['scores'] == made and set(made) == {'Vid', 'Other'}
    assert written('one.json')['methods'][0]['scores'] == {'Mine': made['Vid']}
    assert written()['protocol']['scale'] is None and 'LR made' not in of_two[1]
    assert 'Vid (2 clips, 7 frames), Other (1 clip, 4 frames)' in of_two[1]


def test_finished_frames_may_have_the_rows_that_low_resolution_was_rounded_up_by(tool, frnet):
    for clip in FRAMES:
        Path('finished', clip).mkdir(parents=True)
        for index, image in enumerate(frames(clip)):
            for folder, rows in (('Vid/GT', 82), ('finished', 84)):  # a network makes 80
                padded = np.pad(image, ((0, rows - 80), (0, 0), (0, 0)), 'edge')
                cv2.imwrite(f'{folder}/{clip}/{index:04d}.png', padded)

    assert tool('--weights', 'frnet.pth', '--sr', 'finished', '--hr', 'Vid/GT', '--json', 'out.json')[0] == 0

    network, finished = (method['scores']['Vid']['mean'] for method in written()['methods'])
    assert finished['psnr'] == 'inf' and finished['tof'] == 0 and network['psnr'] < 40


def test_the_protocol_in_training_takes_all_frames(tool):
    write_low()
    status, output, _ = tool('--weights', 'bicubic', '--hr', 'Vid/GT', '--lr', 'Vid/LR', '--protocol', 'training',
                             '--metrics', 'psnr', '--json', 'out.json')

    expected = {clip: [tensor2img([upsample_bd(as_input(low(truth)))]) for truth in frames(clip)] for clip in FRAMES}
    means = scored(expected, ['psnr'], 'training').results()['psnr']
    assert status == 0 and written()['protocol']['clips'] == 'training' and len(written()['sets'][0]['images']) == 15
    assert written()['methods'][0]['scores']['Vid']['mean'] == {'psnr': pytest.approx(means['frames'])}
    tables = output.split('Means over clips')
    assert f'{means["frames"]:.2f}' in tables[0] and f'{means["clips"]:.2f}' in tables[1]


@pytest.fixture
def backbones(monkeypatch, tmp_path):
    """Arguments that give random networks in the place of AlexNet and Inception."""
    accept(monkeypatch, 'alexnet', random_backbone('alexnet', tmp_path / 'alexnet.pth'))
    for module in ('metrics.set_scores', 'evaluation.scorer'):
        monkeypatch.setattr(f'basicsr_kd.{module}.inception_network', FlatInception.build)
    return '--lpips-weights', tmp_path / 'alexnet.pth'


def test_all_metrics_of_clips(tool, backbones):
    write_clip(Path('Wide/GT/hill'), 6, seed=1, side=128)
    shutil.copytree('Wide/GT', 'truth')
    shutil.copytree('Wide/GT', 'blurred')
    for path in Path('blurred/hill').iterdir():
        cv2.imwrite(str(path), cv2.GaussianBlur(cv2.imread(str(path)), (9, 9), 3))

    status, output, _ = tool('--sr', 'truth', 'blurred', '--hr', 'Wide/GT', '--json', 'out.json', '--metrics', 'psnr',
                             'lpips', 'tof', 'tlp', 'fid', 'kid', *backbones)

    truth, blurred = (method['scores']['Wide'] for method in written()['methods'])
    assert status == 0 and written()['protocol']['lpips_net'] == 'alex'
    assert truth['mean'] == {'psnr': 'inf', 'lpips': 0, 'tof': 0, 'tlp': 0}
    assert truth['clips']['psnr'] == {'hill': 'inf'}
    assert truth['fid']['value'] == pytest.approx(0, abs=1e-3) and truth['kid']['value'] == pytest.approx(0, abs=1e-6)
    assert all(blurred['mean'][name] > 0 for name in ('lpips', 'tof', 'tlp')) and blurred['mean']['psnr'] < 40
    assert blurred['fid']['value'] > 0 and blurred['fid']['samples'] == 6 and blurred['kid']['patches'] == 24
    header = next(line for line in output.splitlines() if line.startswith('| method'))
    assert [cell.strip() for cell in header.strip('|').split('|')] == [
        'method', 'PSNR', 'LPIPS', 'tOF', 'tLP x 100', 'FID', 'KID x 1000', 'its floor']
    assert 'FID over whole frames' in ' '.join(output.split())


def test_parts_are_compared_with_the_first_network(tool, frnet):
    small = complexity(saved_frnet('small.pth', 1), (16, 16))
    large = complexity(frnet, (16, 16))

    shutil.rmtree('Vid/GT/walk')

    _, output, _ = tool('--weights', 'frnet.pth', 'small.pth', '--hr', 'Vid/GT', '--lr-size', 16)

    rows = {tuple(cell.strip() for cell in line.strip('|').split('|')) for line in output.splitlines()
            if 'Net' in line or 'whole' in line}
    change = 100 * (small.parts['srnet'].params / large.parts['srnet'].params - 1)
    assert ('small', 'FNet', '1,745,506', '-', '0.03 G', '-') in rows
    assert any(row[:4] == ('small', 'SRNet', f'{small.parts["srnet"].params:,}', f'{change:+.1f} %')
               for row in rows)
    whole = next(row for row in rows if row[:2] == ('small', 'whole'))
    assert whole[5] == f'{100 * (small.macs / large.macs - 1):+.1f} %' and whole[3] != '-'


def test_frames_are_read_no_further_ahead_than_the_stream_needs(tool, frnet, monkeypatch):
    write_clip(Path('Long/sea'), 20, seed=3)
    read: list[int] = []
    own = TecoGANTestDataset.frame
    monkeypatch.setattr(TecoGANTestDataset, 'frame',
                        lambda self, clip, index: (read.append(index), own(self, clip, index))[1])
    results = _run(Network('frnet', Path('frnet.pth')), find_clip_set('Long', Path('Long'), None, {}, 4), 'sea')

    for index in range(15):
        pair, result, truth = next(results)
        assert pair.name == f'sea/{index:04d}' and result.shape == truth.shape and read[-1] == max(5, index)


def test_a_clip_too_short_is_named_and_the_others_count(tool, frnet):
    write_clip(Path('Vid/GT/blink'), 4, seed=2)

    status, output, _ = tool('--weights', 'frnet.pth', '--hr', 'Vid/GT', '--json', 'out.json')

    assert status == 0 and list(written()['methods'][0]['scores']['Vid']['clips']['psnr']) == ['city', 'walk']
    assert written()['warnings'] == ["Vid: clip blink is left out of the scores: it has 4 frames, TecoGAN's official "
                                     'protocol needs 6.']
    assert 'clip blink is left out' in ' '.join(output.split())
    assert 'Vid (2 clips, 7 frames)' in output and len(written()['sets'][0]['images']) == 7
