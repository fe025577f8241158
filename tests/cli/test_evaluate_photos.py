"""`basicsr-kd evaluate` and `report` on photos without ground truth, and against what a teacher makes of them."""
from __future__ import annotations

import json
import shutil
import sys
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest
import torch
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from basicsr.metrics import calculate_niqe

from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.cli.main import main
from basicsr_kd.errors import EvaluationError, ReportError
from basicsr_kd.evaluation.checks import check_sets
from basicsr_kd.evaluation.sets import ImageSet, pair_folders
from basicsr_kd.report.page import html_page
from basicsr_kd.report.report import build_report

SIZES = {'a': (60, 64), 'b': (56, 72)}
NETS = ('--weights', 'teacher.pth', 'student.pth', 'bicubic')


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The working directory with two photos, `photos/`, and two networks that enlarge four times."""
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    for name, (height, width) in SIZES.items():
        Path('photos').mkdir(exist_ok=True)
        photo = cv2.resize(rng.integers(0, 256, (30, 30, 3), dtype=np.uint8), (width, height))
        photo[:24] = photo[:24].mean()  # flat, so that the part to show lies below
        cv2.imwrite(f'photos/{name}.jpg', photo)
    for seed, name in enumerate(('teacher', 'student')):
        torch.manual_seed(seed)
        write_checkpoint(f'{name}.pth', SRVGGNetCompact(3, 3, 4, 1, 4).state_dict())
    return tmp_path


@pytest.fixture
def tool(folder, capsys):
    """Runs the command: exit status, stdout, stderr."""
    def run(command: str, *args: Any) -> tuple[int, str, str]:
        return main([command, *map(str, args)]), *capsys.readouterr()
    return run


def written(name: str = 'out.json') -> dict[str, Any]:
    return json.loads(Path(name).read_text(), parse_constant=pytest.fail)


def evaluated(tool: Any, *args: Any) -> dict[str, Any]:
    status, _, errors = tool('evaluate', *args, '--no-speed', '--json', 'out.json', '--force')
    assert (status, errors) == (0, '')
    return written()


def test_niqe_of_each_result_is_basicsrs(tool):
    status, output, errors = tool('evaluate', *NETS, '--lr', 'photos', '--no-speed', '--json', 'out.json',
                                  '--save-images', 'pictures')
    assert (status, errors) == (0, '')
    found = written()
    assert found['sets'] == [{'name': 'photos', 'images': ['a', 'b'], 'hr': None, 'lr': 'photos', 'clips': []}]
    assert found['protocol']['scale'] == found['protocol']['border'] == 4
    for method in found['methods']:
        scores = method['scores']['photos']
        assert list(scores['images']) == ['niqe'] and set(scores['images']['niqe']) == {'a', 'b'}
        for name, (height, width) in SIZES.items():
            image = cv2.imread(f'pictures/{method["name"]}/photos/{name}.png')
            assert image.shape == (4 * height, 4 * width, 3)
            assert scores['images']['niqe'][name] == pytest.approx(calculate_niqe(image, 4))
        assert scores['mean']['niqe'] == pytest.approx(np.mean(list(scores['images']['niqe'].values())))
        assert f'{scores["mean"]["niqe"]:.2f}' in output
    assert output.startswith('photos (2 images); x4; NIQE on Y: lower is better')
    assert [bool(method['complexity']) for method in found['methods']] == [True, True, False]


def test_finished_images_need_no_network(tool):
    made = evaluated(tool, *NETS, '--lr', 'photos', '--save-images', 'pictures')
    again = evaluated(tool, '--sr', 'pictures/student', '--lr', 'photos')
    assert again['methods'][0]['scores'] == made['methods'][1]['scores'] and again['protocol']['scale'] == 4
    beside = evaluated(tool, '--weights', 'teacher.pth', '--sr', 'pictures/student', '--lr', 'photos')
    assert [method['scores'] for method in beside['methods']] == [method['scores'] for method in made['methods'][:2]]


def test_a_folder_of_low_resolution_is_named_by_the_one_around_it(tool):
    shutil.copytree('photos', 'Mine/LR')
    assert evaluated(tool, *NETS, '--lr', 'Mine/LR')['sets'][0]['name'] == 'Mine'
    assert evaluated(tool, *NETS, '--lr', 'Mine/LR', '--names', 'other')['sets'][0]['name'] == 'other'


def test_against_what_the_teacher_makes_the_teacher_is_perfect(tool):
    """PSNR and SSIM of a student to its teacher."""
    assert tool('infer', '--weights', 'teacher.pth', '--input', 'photos', '--output', 'by_teacher')[0] == 0
    teacher, student, bicubic = (method['scores']['by_teacher']['mean'] for method in evaluated(
        tool, *NETS, '--hr', 'by_teacher', '--lr', 'photos')['methods'])
    assert teacher == {'psnr': 'inf', 'ssim': 1.0}
    assert all(5 < scores['psnr'] < 60 and scores['ssim'] < 1 for scores in (student, bicubic))


def test_likeness_is_measured_without_a_folder_of_what_the_teacher_makes(tool):
    assert tool('infer', '--weights', 'teacher.pth', '--input', 'photos', '--output', 'by_teacher')[0] == 0
    metrics = '--metrics', 'psnr', 'ssim', 'texture'
    through = evaluated(tool, *NETS, '--hr', 'by_teacher', '--lr', 'photos', *metrics)
    found = evaluated(tool, *NETS, '--teacher', 'teacher.pth', '--lr', 'photos', *metrics)
    for one, other in zip(found['methods'], through['methods'], strict=True):
        assert one['scores']['photos'] == other['scores']['by_teacher']
    assert found['methods'][0]['scores']['photos']['mean'] == {'psnr': 'inf', 'ssim': 1, 'texture': 1}
    assert found['protocol']['teacher'] == 'teacher.pth' and through['protocol']['teacher'] is None
    assert 'likeness: compared with what teacher makes of the same image in fp32' in found['protocol']['text']


def test_likeness_has_four_metrics_and_without_its_package_says_which_is_missing(tool, monkeypatch):
    args = '--weights', 'student.pth', '--teacher', 'teacher.pth', '--lr', 'photos'
    assert list(evaluated(tool, *args)['methods'][0]['scores']['photos']['mean']) == ['psnr', 'ssim', 'jod', 'texture']
    monkeypatch.setitem(sys.modules, 'pycvvdp', None)
    status, output, errors = tool('evaluate', *args, '--no-speed', '--json', 'without.json')
    assert status == 0 and 'texture' in output and errors.count('\n') == 1
    assert "JOD left out: JOD needs pycvvdp, which is not installed: pip install 'basicsr-kd[perceptual]'" in errors
    assert list(written('without.json')['left_out']) == ['jod']


@pytest.mark.parametrize(('args', 'said'), [
    (NETS, 'no images. Give --hr DIR and --lr DIR, or for photos without ground truth --lr DIR alone.'),
    ((*NETS, '--lr', 'photos', '--metrics', 'psnr', 'niqe', 'fid'),
     '--metrics psnr fid: photos comes without ground truth. Give --hr or --teacher, or leave --metrics '
     'out: niqe needs none.'),
    ((*NETS, '--lr', 'photos', '--hr', 'photos', '--teacher', 'teacher.pth'), 'Give --lr, and no --hr.'),
    (('--weights', 'x2.pth', '--lr', 'photos', '--teacher', 'teacher.pth'), 'Expected networks and sets of one scale.'),
    ((*NETS, '--lr', 'photos', '--teacher', 'none.pth'), 'none.pth'),
    ((*NETS, '--lr', 'photos', '--frame-rate', 24), '--frame-rate is for clips, and photos has images.'),
    ((*NETS, '--lr', 'photos', '--metrics', 'tof'), '--metrics tof: photos has images. Possible for images: '),
    (('--weights', 'bicubic', '--lr', 'photos'), '--hr is missing, and there is no network, so nothing tells how many '
     'times photos are to be enlarged. Give networks of one scale.'),
    (('--weights', 'teacher.pth', 'x2.pth', '--lr', 'photos'), '--hr is missing, and networks enlarge 2 and 4 times'),
    ((*NETS, '--lr', 'photos', 'photos', '--names', 'a'), '--names has 1 and --lr 2. Expected one for each set.'),
    ((*NETS, '--lr', 'clips'), '--hr is missing: clips has clips, and nothing is measured on clips without ground'),
    ((*NETS, '--sr', 'small', '--lr', 'photos'), 'small/a.png is 128x120. Expected 256x240, 4 times the size of'),
    (('--sr', 'tiny', '--lr', 'photos'), 'tiny/a.png is 16x15 and photos/a.jpg 64x60. Expected the first, the result'),
    ((*NETS, '--lr', 'none'), 'none does not exist'),
    ((*NETS, '--lr', 'photos', '--border', '120'), 'a.jpg is 256x240 pixels, of which 120 on each side are left out'),
])
def test_what_cannot_be_measured_is_refused(tool, args, said):
    write_checkpoint('x2.pth', SRVGGNetCompact(3, 3, 4, 1, 2).state_dict())
    shutil.copytree('photos', 'clips/one')
    for name, factor in (('small', 2), ('tiny', 0.25)):
        Path(name).mkdir()
        for photo, (height, width) in SIZES.items():
            cv2.imwrite(f'{name}/{photo}.png', np.zeros((int(factor * height), int(factor * width), 3), np.uint8))
    status, output, errors = tool('evaluate', *args, '--no-speed')
    assert (status, output) == (2, '') and said in errors and errors.count('\n') == 1


def test_a_broken_photo_is_named_or_left_out(folder):
    Path('photos/b.jpg').write_bytes(Path('photos/b.jpg').read_bytes()[:200])
    one = ImageSet('photos', None, Path('photos'), pair_folders(None, Path('photos')))
    with pytest.raises(EvaluationError, match=r'photos/b\.jpg cannot be read'):
        check_sets([one], scale=4)
    checked = check_sets([one], skip_bad=True, scale=4)
    assert [pair.name for pair in checked.sets[0].pairs] == ['a']
    assert checked.sizes == {Path('photos/a.jpg'): (240, 256)} and not checked.cropped


def test_the_report_shows_figures_and_the_same_parts_of_all(tool):
    evaluated(tool, *NETS, '--lr', 'photos', '--save-images', 'pictures')
    report = build_report([Path('out.json')], images=Path('pictures'))

    assert sorted(comparison.name for comparison in report.comparisons) == ['photos: a', 'photos: b']
    niqe = {method['name']: method['scores']['photos'] for method in written()['methods']}
    for comparison in report.comparisons:
        name = comparison.name[-1]
        assert list(comparison.images) == ['LR', 'bicubic', 'teacher', 'student']
        left, top, side = comparison.box
        assert side == 128 and top >= 64  # where low resolution is not flat
        lr = cv2.imread(f'photos/{name}.jpg')[:, :, ::-1]
        assert np.array_equal(comparison.overview[::4, ::4], lr) and comparison.overview is comparison.images['LR']
        for label, scores in niqe.items():
            assert comparison.notes[label] == f'NIQE {scores["images"]["niqe"][name]:.2f}'
            picture = cv2.imread(f'pictures/{label}/photos/{name}.png')[:, :, ::-1]
            assert np.array_equal(comparison.part(label), picture[top:top + side, left:left + side])
    assert [table.name for table in report.tables] == ['overview', 'cost', 'table2']
    notes = ' '.join(report.all_notes())
    assert 'NIQE knows no ground truth' in notes and 'paper' not in notes and 'table1' not in notes
    page = html_page(report)
    assert 'Crops where low resolution has most detail' in page and 'NIQE ↓' in page and 'ground truth"' not in page


def test_the_report_shows_likeness(tool):
    evaluated(tool, *NETS, '--teacher', 'teacher.pth', '--lr', 'photos', '--metrics', 'psnr', 'texture',
              '--save-images', 'pictures')
    shutil.copy('out.json', 'likeness.json')
    report = build_report([Path('likeness.json')], images=Path('pictures'))
    page = html_page(report)
    assert 'texture → 1' in page and 'PSNR ↑' in page and 'NIQE' not in page
    assert 'PSNR and SSIM are likeness of the whole photo' in page
    student = written()['methods'][1]['scores']['photos']['images']['psnr']['a']
    evaluated(tool, *NETS, '--lr', 'photos')
    with pytest.raises(ReportError, match='these evaluations do not compare: teacher is'):
        build_report([Path('out.json'), Path('likeness.json')])
    comparison, = (one for one in report.comparisons if one.name == 'photos: a')
    assert comparison.notes['student'] == f'{student:.2f} dB'


def test_the_report_is_written(tool):
    evaluated(tool, *NETS, '--lr', 'photos', '--save-images', 'pictures')
    status, output, _ = tool('report', '--runs', 'out.json', '--images', 'pictures', '--out', 'report')
    assert status == 0 and 'comparison.png' in output and 'pareto.png' not in output
    assert cv2.imread('report/comparison.png').shape[1] > 4 * 256  # 128 pixels twice as large, of LR and three methods
