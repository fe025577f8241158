"""scripts/inheritance_quality.py on the demo's teacher and a tiny network."""
import cv2
import inheritance_quality
import numpy as np
import pytest
import torch
from basicsr.archs.srvgg_arch import SRVGGNetCompact

from basicsr_kd.checkpoint import write_checkpoint


@pytest.fixture
def images(tmp_path) -> list[str]:
    rng = np.random.default_rng(0)
    for folder, size in (('HR', 128), ('LR', 32)):
        (tmp_path / folder).mkdir()
        for index in range(2):
            photo = cv2.resize(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8), (size, size))
            cv2.imwrite(str(tmp_path / folder / f'{index}.png'), photo)
    return ['--sets', f'Set={tmp_path}/HR,{tmp_path}/LR', '--calibration', f'{tmp_path}/LR', '--num', '2', '--size',
            '32']


def figures(text: str) -> dict[tuple[str, str], float]:
    rows = [[cell.strip() for cell in line.strip('|').split('|')] for line in text.splitlines()[2:]]
    return {(row[0], row[2]): float(row[3]) for row in rows}


def test_a_refitted_student_is_nearest_to_the_teacher(images, capsys):
    inheritance_quality.main([*images, '--student', 'num_feat=16', 'num_block=1'])
    found = figures(capsys.readouterr().out)
    name = 'num_feat=16 num_block=1'
    assert found[name, 'l2'] < found[name, 'taylor, refitted'] <= found['the teacher itself', '-'] + 1


def test_another_network_is_judged_by_its_own_output(images, tmp_path, capsys):
    torch.manual_seed(0)
    write_checkpoint(tmp_path / 'net.pth', SRVGGNetCompact(3, 3, 8, 4).state_dict())
    inheritance_quality.main([*images, '--weights', str(tmp_path / 'net.pth'), '--student', 'num_feat=8'])
    assert set(figures(capsys.readouterr().out).values()) == {float('inf')}  # the same size: the teacher itself


@pytest.mark.parametrize(('student', 'message'), [
    (['num_feat'], '--student num_feat is not of the form name=number'),
    (['num_feat=64'], 'student.init: teacher'),
    (['num_feet=16'], 'num_feet'),
])
def test_what_cannot_be_is_told(images, student, message):
    with pytest.raises(SystemExit, match=message):
        inheritance_quality.main([*images, '--student', *student])
