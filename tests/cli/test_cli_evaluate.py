"""`basicsr-kd evaluate`: figures against independent ones, and what is written."""
import os
import re
import shutil
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from helpers.backbones import accept, random_backbone
from helpers.evaluate import SETS, SIZES, B, rewrite, small_inception, written
from msgspec.structs import replace
from skimage.metrics import peak_signal_noise_ratio

from basicsr_kd.archs.from_file import build_from_file
from basicsr_kd.checkpoint import read_state_dict, write_checkpoint
from basicsr_kd.evaluation.methods import Bicubic
from basicsr_kd.evaluation.schema import Evaluation
from basicsr_kd.metrics.complexity import complexity
from basicsr_kd.report.text import evaluation_text


def luma(image: np.ndarray) -> np.ndarray:
    """Y of BT.601 in 16 to 235, from BGR uint8."""
    return 16 + image.astype(np.float64) @ [24.966, 128.553, 65.481] / 255


def test_what_is_written_is_what_the_images_say(tool, teacher_file):
    status, output, errors = tool('--weights', teacher_file, 'bicubic', *SETS, '--json', 'new/out.json',
                                  '--save-images', 'images', '--lr-size', 16, speed=True)
    assert (status, errors) == (0, '')
    result = written('new/out.json')
    teacher, bicubic = result['methods']

    net = build_from_file(str(teacher_file)).eval()
    for name in SIZES:
        hr, lr = (cv2.imread(f'Set/{kind}/{name}.png') for kind in ('HR', 'LR'))
        with torch.no_grad():
            image = net(torch.from_numpy(lr[:, :, ::-1].transpose(2, 0, 1)[None] / np.float32(255)))[0]
        expected = (image.clamp(0, 1).permute(1, 2, 0).numpy()[:, :, ::-1] * 255).round().astype(np.uint8)
        saved = cv2.imread(f'images/teacher/Set/{name}.png')
        assert np.abs(saved.astype(int) - expected).max() <= 1
        for method in (teacher, bicubic):
            saved = cv2.imread(f'images/{method["name"]}/Set/{name}.png')
            truth, found = (luma(image)[4:-4, 4:-4] for image in (hr, saved))
            assert method['scores']['Set']['images']['psnr'][name] == pytest.approx(
                peak_signal_noise_ratio(truth, found, data_range=255), abs=1e-3)
    for method in (teacher, bicubic):
        scores = method['scores']['Set']
        assert list(scores['images']) == ['psnr', 'ssim'] and list(scores['images']['ssim']) == list('abc')
        assert scores['mean'] == {metric: pytest.approx(np.mean(list(values.values())))
                                  for metric, values in scores['images'].items()}
        assert f'{scores["mean"]["psnr"]:.2f}' in output and f'{scores["mean"]["ssim"]:.4f}' in output

    assert bicubic == {'name': 'bicubic', 'kind': 'bicubic', 'file': None, 'network': None, 'runtime': None,
                       'about': {}, 'complexity': None, 'speed': {}, 'scores': bicubic['scores']}
    assert teacher['kind'] == 'network' and teacher['file'] == str(teacher_file)
    assert teacher['network']['type'] == 'RRDBNet' and teacher['network']['num_feat'] == 8
    cost = complexity(net, (16, 16))
    assert teacher['complexity'] == {
        'params': cost.params, 'params_nonzero': cost.params, 'macs': cost.macs, 'activations': cost.activations,
        'lr_size': [16, 16], 'file_bytes': teacher_file.stat().st_size, 'counter': 'mmengine', 'parts': {}}
    low, median, high = teacher['speed']['fp32']['seconds']
    assert 0 < low <= median <= high and teacher['speed']['fp32']['lr_size'] == [16, 16]
    assert f'{cost.params:,}' in output and f'{1000 * median:.1f} (' in output

    assert result['format'] == 'basicsr-kd evaluation 1' and result['device']['type'] == 'cpu'
    assert {key: result['protocol'][key] for key in ('scale', 'border', 'channel', 'lpips_net')} == {
        'scale': 4, 'border': 4, 'channel': 'y', 'lpips_net': None}
    assert result['sets'] == [{'name': 'Set', 'images': ['a', 'b', 'c'], 'hr': 'Set/HR', 'lr': 'Set/LR', 'clips': []}]
    assert (result['left_out'], result['skipped'], result['warnings']) == ({}, {}, [])
    assert output.startswith('Set (3 images); x4; PSNR (dB) and SSIM on Y of YCbCr')
    assert '4 border pixels left out' in ' '.join(output.split())


def test_a_network_with_many_zeros_shows_how_many_are_none(tool, teacher_file):
    state = read_state_dict(teacher_file)
    half = {key: tensor.where(torch.rand_like(tensor) < 0.5, 0) for key, tensor in state.items()}
    write_checkpoint('sparse.pth', half)

    _, output, _ = tool('--weights', teacher_file, *SETS)
    _, sparse, _ = tool('--weights', 'sparse.pth', *SETS, '--json', 'out.json')

    cost = written()['methods'][0]['complexity']
    assert cost['params_nonzero'] == pytest.approx(cost['params'] / 2, rel=0.05)
    assert 'not zero' in sparse and f'{cost["params_nonzero"]:,}' in sparse and 'not zero' not in output


def test_a_network_whose_operations_cannot_be_counted_is_evaluated_all_the_same(tool, teacher_file, monkeypatch):
    def fails(net, lr_size, in_ch):
        raise NotImplementedError('an operation that cannot be traced')
    monkeypatch.setattr('basicsr_kd.evaluation.costs.complexity', fails)

    status, output, _ = tool('--weights', teacher_file, *SETS, '--json', 'out.json')

    assert status == 0 and written()['methods'][0]['complexity'] is None and 'MACs' not in output
    assert written()['warnings'] == ['teacher: its operations cannot be counted: an operation that cannot be traced']
    assert written()['warnings'][0] in ' '.join(output.split())


@pytest.mark.parametrize('error', [ValueError, MemoryError])
def test_what_cannot_be_timed_is_told_and_the_scores_are_kept(tool, teacher_file, monkeypatch, error):
    def fails(self, image):
        if image.shape[2:] == (40, 40):
            raise error('not this size')
        return forward(self, image)
    forward = RRDBNet.forward
    monkeypatch.setattr(RRDBNet, 'forward', fails)

    status, output, _ = tool('--weights', teacher_file, *SETS, '--json', 'out.json', '--lr-size', 40, speed=True)

    assert status == 0 and 'ms fp32' not in output
    method = written()['methods'][0]
    assert method['speed'] == {} and method['complexity'] is None and method['scores']['Set']['mean']['psnr'] > 0
    said = f'teacher: it cannot be timed in fp32 at 40x40: {error.__name__}: not this size'
    assert said in written()['warnings'] and said in ' '.join(output.split())


def test_an_image_for_timing_that_no_memory_holds_is_told_and_the_scores_are_kept(tool, teacher_file):
    status, output, _ = tool('--weights', teacher_file, *SETS, '--json', 'out.json', '--lr-size', 10**8, speed=True)

    assert status == 0 and written()['methods'][0]['scores']['Set']['mean']['psnr'] > 0
    assert any(text.startswith('Nothing can be timed at 100000000x100000000: ') for text in written()['warnings'])


def test_figures_that_cannot_be_written_are_printed_before_the_refusal(tool, monkeypatch):
    def fails(*args):
        raise OSError(28, 'No space left on device')
    monkeypatch.setattr(os, 'replace', fails)

    status, output, errors = tool(*B, *SETS, '--json', 'out.json')

    assert status == 2 and '| bicubic |' in output and 'Written' not in output
    assert errors.startswith('basicsr-kd evaluate: out.json cannot be written: ') and 'No space left' in errors
    assert errors.count('\n') == 1 and not Path('out.json').exists()


def test_quality_is_of_full_fp32_and_speed_is_as_pytorch_has_it(tool, teacher_file, monkeypatch):
    seen = {}

    def forward(self, image):
        seen[tuple(image.shape[2:])] = torch.backends.cudnn.allow_tf32
        return own_forward(self, image)
    own_forward = RRDBNet.forward
    monkeypatch.setattr(RRDBNet, 'forward', forward)
    assert torch.backends.cudnn.allow_tf32  # PyTorch's default

    assert tool('--weights', teacher_file, *SETS, '--lr-size', 40, speed=True)[0] == 0

    assert not seen[35, 37] and seen[40, 40] and torch.backends.cudnn.allow_tf32


def test_a_result_that_cannot_be_compared_is_told_with_image_and_method(tool, monkeypatch):
    monkeypatch.setattr(Bicubic, 'run', lambda self, pair, lr: lr)
    status, _, errors = tool(*B, *SETS)
    assert status == 2 and 'Set/HR/a.png, bicubic: the result is 37x35 pixels and the ground truth 148x140' in errors


def test_images_on_which_niqe_is_not_defined_are_told_by_method(tool, recwarn):
    for kind, scale in (('HR', 4), ('LR', 1)):
        for name in SIZES:
            rewrite(f'Set/{kind}/{name}.png', lambda image, scale=scale: cv2.resize(image, (60 * scale, 60 * scale)))
    shutil.copytree('Set/HR', 'flat')
    rewrite('flat/b.png', lambda image: np.full_like(image, 9))
    args = ('--sr', 'flat', *B, *SETS, '--json', 'out.json', '--force', '--metrics', 'niqe')

    assert tool(*args)[0] == 0
    said = 'NIQE is not defined on 1 of 3 images (flat, or of less than two blocks of 96x96 pixels inside the ' \
           'border), which its mean leaves out: b.'
    assert written()['warnings'] == [f'Set: flat: {said}']
    assert {method['name']: method['scores']['Set']['images']['niqe']['b'] is None
            for method in written()['methods']} == {'flat': True, 'bicubic': False}

    rewrite('Set/LR/b.png', lambda image: np.full_like(image, 9))
    assert tool(*args)[0] == 0
    assert written()['warnings'] == [f'Set: {said}']
    assert not [warning for warning in recwarn if warning.category is RuntimeWarning]


def test_finished_images_score_as_the_method_that_made_them_and_the_truth_is_perfect(tool):
    assert tool('--weights', 'bicubic', *SETS, '--save-images', 'images', '--json', 'made.json')[0] == 0
    shutil.copytree('Set/HR', 'truth')

    status, output, _ = tool('--sr', 'images/bicubic', 'truth', '--hr', 'Set/HR', '--border', 4, '--json', 'out.json')

    assert status == 0
    finished, truth = written()['methods']
    assert finished['scores'] == written('made.json')['methods'][0]['scores']
    assert finished['kind'] == 'images' and finished['file'] == 'images/bicubic' and finished['complexity'] is None
    scores = truth['scores']['Set']
    assert scores['images']['psnr'] == dict.fromkeys('abc', 'inf') and scores['mean'] == {'psnr': 'inf', 'ssim': 1.0}
    assert re.search(r'\| truth +\| +inf \| +1\.0000 \|', output)
    assert written()['protocol']['scale'] is None and written()['sets'][0]['lr'] is None


def test_channel_and_border_change_the_figures_and_are_named(tool):
    tool('--weights', 'bicubic', *SETS, '--json', 'y.json')
    status, output, _ = tool('--weights', 'bicubic', *SETS, '--json', 'out.json', '--channel', 'rgb', '--border', 0,
                             '--save-images', 'images')
    hr, sr = (cv2.imread(name) for name in ('Set/HR/a.png', 'images/bicubic/Set/a.png'))

    found = written()['methods'][0]['scores']['Set']['images']['psnr']['a']

    assert found == pytest.approx(peak_signal_noise_ratio(hr, sr), abs=1e-6)
    assert found != written('y.json')['methods'][0]['scores']['Set']['images']['psnr']['a']
    assert 'SSIM on RGB' in output and '0 border pixels' in output and written()['protocol']['channel'] == 'rgb'


def test_several_sets_have_their_own_rows_and_names(tool):
    shutil.copytree('Set', 'Other')
    Path('Other/HR/a.png').unlink()
    Path('Other/LR/a.png').unlink()

    status, output, _ = tool('--weights', 'bicubic', '--hr', 'Set/HR', 'Other/HR', '--lr', 'Set/LR', 'Other/LR',
                             '--json', 'out.json', '--save-images', 'images')
    again = tool('--sr', 'images/bicubic', '--hr', 'Set/HR', 'Other/HR', '--border', 4, '--json', 'again.json')
    named = tool('--weights', 'bicubic', *SETS, '--names', 'Mine')

    assert status == again[0] == 0
    assert [one['name'] for one in written()['sets']] == ['Set', 'Other']
    assert output.startswith('Set (3 images), Other (2 images)')
    scores = written()['methods'][0]['scores']
    assert list(scores['Other']['images']['psnr']) == ['b', 'c']
    assert written('again.json')['methods'][0]['scores'] == scores
    assert named[1].startswith('Mine (3 images)')
    assert [line.split('|')[2].strip() for line in output.splitlines() if line.startswith('| bicubic')] == [
        'Set', 'Other']


def test_metrics_on_pretrained_networks_are_measured_with_their_weights(tool, monkeypatch):
    accept(monkeypatch, 'alexnet', random_backbone('alexnet', Path('alexnet.pth')))
    Path('inception.pth').touch()
    for module in ('metrics.set_scores', 'evaluation.scorer'):
        monkeypatch.setattr(f'basicsr_kd.{module}.inception_network', small_inception)
    shutil.copytree('Set/HR', 'truth')

    status, output, errors = tool('--weights', 'bicubic', '--sr', 'truth', *SETS, '--json', 'out.json', '--metrics',
                                  'psnr', 'lpips', 'fid', 'kid', 'niqe', '--lpips-weights', 'alexnet.pth',
                                  '--inception-weights', 'inception.pth')

    assert (status, errors) == (0, '')
    bicubic, truth = (method['scores']['Set'] for method in written()['methods'])
    assert bicubic['mean']['lpips'] > 0 and truth['mean']['lpips'] == 0
    assert bicubic['fid']['value'] > 0 and bicubic['fid']['samples'] == 3
    assert truth['fid']['value'] == pytest.approx(0, abs=1e-3) and truth['kid']['value'] == pytest.approx(0, abs=1e-3)
    assert {'value', 'low', 'high', 'floor', 'floor_low', 'floor_high', 'patches'} == set(bicubic['kid'])
    assert bicubic['images']['niqe'] == dict.fromkeys('abc')  # too small
    assert bicubic['mean']['niqe'] is None and written()['protocol']['lpips_net'] == 'alex'
    fid_warnings = [text for text in written()['warnings'] if 'FID on 3 images' in text]
    assert len(fid_warnings) == 1 and fid_warnings[0].startswith('Set: ')  # once, not once a method
    header = next(line for line in output.splitlines() if line.startswith('| method'))
    assert [cell.strip() for cell in header.strip('|').split('|')] == [
        'method', 'PSNR', 'LPIPS', 'NIQE', 'FID', 'KID x 1000', 'its floor']
    assert fid_warnings[0] in ' '.join(output.split()) and 'LPIPS (alex) on RGB' in ' '.join(output.split())


def test_a_metric_without_its_weights_is_left_out_and_the_others_go_on(tool):
    status, output, errors = tool('--weights', 'bicubic', *SETS, '--json', 'out.json', '--metrics', 'psnr', 'lpips',
                                  'fid', 'kid')

    assert status == 0
    assert errors.count('LPIPS left out: ') == errors.count('FID and KID left out: ') == 1
    for way_out in ('https://download.pytorch.org/models/alexnet', '--lpips-weights PATH', '--inception-weights PATH'):
        assert way_out in errors and way_out in ' '.join(output.split())
    assert sorted(written()['left_out']) == ['fid', 'kid', 'lpips']
    assert list(written()['methods'][0]['scores']['Set']['mean']) == ['psnr']
    assert written()['protocol']['lpips_net'] is None and 'LPIPS |' not in output


def test_tiles_give_nearly_the_same_figures(tool, teacher_file):
    tool('--weights', teacher_file, *SETS, '--json', 'whole.json')
    assert tool('--weights', teacher_file, *SETS, '--json', 'out.json', '--tile', 8)[0] == 0

    whole, tiled = (written(name)['methods'][0]['scores']['Set']['mean']['psnr'] for name in ('whole.json', 'out.json'))

    assert tiled == pytest.approx(whole, abs=0.01)


def test_checkpoints_of_one_name_are_told_apart(tool, teacher_file):
    for run in ('s16', 's32'):
        Path(run, 'models').mkdir(parents=True)
        shutil.copy(teacher_file, f'{run}/models/net_g_latest.pth')

    tool('--weights', 's16/models/net_g_latest.pth', 's32/models/net_g_latest.pth', *SETS, '--json', 'out.json',
         '--save-images', 'images')

    assert [method['name'] for method in written()['methods']] == ['s16/net_g_latest', 's32/net_g_latest']
    assert sorted(os.listdir('images')) == ['s16_net_g_latest', 's32_net_g_latest']


def test_what_fp32_is_on_a_gpu_is_said_beside_its_time(tool, teacher_file):
    assert tool('--weights', teacher_file, *SETS, '--lr-size', 16, '--json', 'out.json', speed=True)[0] == 0
    found = msgspec.convert(written(), Evaluation)
    on_cpu = evaluation_text(found)
    on_gpu = evaluation_text(replace(found, device=replace(found.device, type='cuda')))

    assert 'Quality is that of fp32.' in ' '.join(on_cpu.split()) and 'TF32' not in on_cpu
    assert 'on NVIDIA GPUs TF32 convolutions; quality is that of full fp32.' in ' '.join(on_gpu.split())


def test_the_help_fits_80_columns_and_shows_an_example(tool, monkeypatch):
    monkeypatch.setenv('COLUMNS', '80')
    status, output, _ = tool('--help')
    text, _, example = output.partition('example: ')
    assert status == 0 and max(map(len, text.splitlines())) <= 85 and 'basicsr-kd evaluate --weights' in example


@pytest.mark.parametrize(('name', 'psnr'), [('Set5', 28.43), ('Set14', 26.09)])
def test_bicubic_has_its_published_psnr(tool, data_root, name, psnr):
    status, _, errors = tool(*B, '--hr', data_root / name / 'HR', '--lr', data_root / name / 'LR', '--metrics', 'psnr',
                             '--json', 'out.json')
    assert (status, errors) == (0, '')
    assert written()['methods'][0]['scores'][name]['mean']['psnr'] == pytest.approx(psnr, abs=0.02)
