"""The demo's parts: its data, its progress bar and its report (the whole demo is run by hand: it takes minutes)."""
import json
import sys
from pathlib import Path

import cv2
import msgspec
import numpy as np
import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from common.demo_photos import CUTS, GAP, SCALE, Box, make_demo_data, photo_folder
from common.measure import (
    QualityError,
    measure,
    report_of,
    sets_of,
)
from common.trainings import RunError, iteration, run_logged, total_iterations
from PIL import Image

from basicsr_kd.archs.frnet_arch import FRNet
from basicsr_kd.evaluation.schema import Evaluation

ROOT = Path(__file__).parents[2]



@pytest.fixture(scope='module')
def data(tmp_path_factory) -> Path:
    root = tmp_path_factory.mktemp('demo')
    make_demo_data(root)
    return root


def apart(a: Box, b: Box, gap: int) -> bool:
    return (a.x + a.width + gap <= b.x or b.x + b.width + gap <= a.x
            or a.y + a.height + gap <= b.y or b.y + b.height + gap <= a.y)


@pytest.mark.parametrize('cut', CUTS, ids=lambda cut: cut.photo)
def test_held_out_parts_lie_apart_from_training_parts_and_all_inside_the_photo(cut):
    width, height = Image.open(photo_folder() / cut.photo).size
    for box in (cut.held_out, *cut.train):
        assert min(box.x, box.y) >= 0 and box.x + box.width <= width and box.y + box.height <= height
    assert all(apart(cut.held_out, box, GAP) for box in cut.train)


def test_demo_data_is_large_enough_for_the_crops_and_divides_by_the_scale(data):
    for part in ('train', 'val'):
        files = sorted((data / part / 'HR').iterdir())
        assert [file.name for file in files] == sorted(file.name for file in (data / part / 'LRx4').iterdir())
        for file in files:
            hr, lr = Image.open(file), Image.open(data / part / 'LRx4' / file.name)
            assert hr.size == (lr.width * SCALE, lr.height * SCALE)
            assert min(hr.size) >= 128
    assert len(list((data / 'val/HR').iterdir())) == 5
    assert {Image.open(file).size for file in (data / 'val/HR').iterdir()} == {(192, 192)}


def test_the_iteration_is_read_off_basicsr_training_lines_only():
    line = 'INFO: [demo_..][epoch:  3, iter:   1,200, lr:(1.000e-04,)] [eta: 0:00:10, time (data): 0.1] l_g_pix: 1'

    assert iteration(line) == 1200
    assert iteration('INFO: Start training from epoch: 0, iter: 0') is None
    assert iteration('INFO: Network [RRDBNet] is created.') is None


def test_total_iterations_come_from_the_yaml(tmp_path):
    options = tmp_path / 'options.yml'
    for written, expected in [('600', 600), ('1e3', 1000), ('!!float 4e2', 400)]:
        options.write_text(f'train:\n  total_iter: {written}\n')
        assert total_iterations(options) == expected


def test_a_run_moves_its_bar_and_keeps_its_output_in_the_log(tmp_path, capsys):
    lines = ''.join(f'[x][epoch:  0, iter: {i:8,d}, lr:(1e-4,)]\n' for i in (500, 1000))

    run_logged([sys.executable, '-c', f'print({lines!r})'], tmp_path / 'logs/run.log', 'train', total=1000)

    assert lines in (tmp_path / 'logs/run.log').read_text()
    assert '1000/1000' in capsys.readouterr().err


def test_a_failed_run_shows_the_end_of_its_log_and_where_it_is(tmp_path):
    code = 'import sys; print("first"); [print("line", i) for i in range(40)]; sys.exit("out of luck")'

    with pytest.raises(RunError) as error:
        run_logged([sys.executable, '-c', code], tmp_path / 'run.log', 'train')

    message = str(error.value)
    assert 'ended with code 1' in message and str(tmp_path / 'run.log') in message
    assert 'out of luck' in message and 'line 39' in message and 'first' not in message.split('\n\n', 1)[1]


def test_the_demo_ends_with_figures_and_a_report_of_every_method(data, tmp_path):
    torch.manual_seed(0)
    net = RRDBNet(3, 3, num_feat=8, num_block=1, num_grow_ch=4)
    torch.save({'params': net.state_dict()}, tmp_path / 'student.pth')
    folder = tmp_path / 'results'

    found = measure({'student': tmp_path / 'student.pth'}, sets_of([f'parts={data}/val/HR,{data}/val/LRx4']), folder,
                     about={'student': {'role': 'student', 'features': 8}}, metrics=['psnr', 'ssim'], channel='y',
                     lr_size=48)
    report_of(folder, folder / 'report')

    result = json.loads((folder / 'evaluation.json').read_text())
    assert msgspec.convert(result, Evaluation) == found
    bicubic, student = result['methods']
    assert 26 < bicubic['scores']['parts']['mean']['psnr'] < 28
    assert student['complexity']['params'] == sum(p.numel() for p in net.parameters())
    assert student['complexity']['lr_size'] == [48, 48] and student['about']['features'] == 8
    low, middle, high = student['speed']['fp32']['seconds']
    assert 0 < low <= middle <= high
    assert len(list(folder.glob('images/student/parts/*.png'))) == 5
    page = (folder / 'report/index.html').read_text()
    assert 'bicubic' in page and 'student' in page and 'Y of YCbCr' in page
    assert Image.open(folder / 'report/comparison.png').width > 600


def test_clips_end_in_a_report_with_parts_and_pictures_over_time(tmp_path):
    generator = np.random.default_rng(0)
    base = cv2.resize(generator.integers(0, 256, (12, 14, 3), dtype=np.uint8), (112, 96))
    for index in range(7):
        (tmp_path / 'clips/walk').mkdir(parents=True, exist_ok=True)
        cv2.imwrite(str(tmp_path / f'clips/walk/{index}.png'), np.roll(base, index, axis=1))
    networks = {}
    for blocks in (2, 1):
        networks[f'b{blocks}'] = tmp_path / f'b{blocks}.pth'
        torch.save(FRNet(nf=8, nb=blocks).state_dict(), networks[f'b{blocks}'])

    result = measure(networks, sets_of([f'mine={tmp_path}/clips']), tmp_path / 'out', metrics=['psnr', 'tof'],
                     about={'b2': {'role': 'teacher'}, 'b1': {'role': 'pruned_teacher'}}, channel='y', lr_size=16)
    report = report_of(tmp_path / 'out', tmp_path / 'out/report')

    assert result.protocol.clips == 'official' and 'LR made of the ground truth' in result.protocol.text
    assert result.sets[0].images == ['walk/2', 'walk/3', 'walk/4']  # without two at each end
    assert [(one.label, one.about.blocks) for one in report.methods] == [('bicubic', None), ('b2', 2), ('b1', 1)]
    assert 'parts' in [table.name for table in report.tables]
    assert [one.name for one in report.comparisons] == ['mine: walk/3', 'mine: walk, one row over time']
    assert report.comparisons[1].rows['b1'].shape == (3, 64, 3)
    assert report.comparisons[1].notes['b1'].startswith('tOF ') and ' dB' in report.comparisons[0].notes['b1']


@pytest.mark.parametrize('option', ['Set5', 'Set5=HR', '=HR,LR'])
def test_sets_are_named_folders_of_pairs(option):
    with pytest.raises(QualityError, match='NAME=HRDIR,LRDIR'):
        sets_of([option])
