"""scripts/int8_layers.py on a tiny network."""
import json

import cv2
import int8_layers
import numpy as np
import pytest
from helpers.networks import varied_rrdbnet

from basicsr_kd.checkpoint import write_checkpoint

pytest.importorskip('openvino')


@pytest.fixture
def arguments(tmp_path):
    net = varied_rrdbnet(num_feat=16, num_block=2, num_grow_ch=16)
    write_checkpoint(tmp_path / 'small.pth', net.state_dict())
    smooth = np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)
    (tmp_path / 'LR').mkdir()
    for index, image in enumerate(smooth):
        cv2.imwrite(str(tmp_path / f'LR/{index}.png'), cv2.resize(image, (40, 40), interpolation=cv2.INTER_CUBIC))
    return ['--weights', str(tmp_path / 'small.pth'), '--calibration', str(tmp_path / 'LR'), '--images',
            str(tmp_path / 'LR'), '--num', '3', '--judge', '2', '--size', '40', '--turns', '3', '--keep', '0', '2',
            '--output', str(tmp_path / 'study')]


def test_stages_and_curve(arguments, tmp_path, capsys):
    int8_layers.main(arguments)
    found = json.loads((tmp_path / 'study/results.json').read_text())
    stages = found['stages']
    assert {'body.0', 'body.1', 'conv_last', ''} <= set(stages)
    for name, its in stages.items():
        if name:  # less is rounded with it in floating point, and only it when it is alone
            assert its['rest'] > stages['']['rest'] - 0.5 and its['alone'] > stages['']['rest'] - 0.5
    nothing, two = found['curve']
    assert nothing['kept'] == [] and len(two['kept']) == 2 and two['psnr'] > nothing['psnr']
    assert nothing['time'] == [1, 1, 1] and all(share > 0 for share in two['time'])
    table = (tmp_path / 'study/table.md').read_text()
    assert table in capsys.readouterr().out and '| body.0' in table and '| nothing' in table


def test_what_cannot_be_read_is_one_line(arguments, tmp_path):
    arguments[1] = str(tmp_path / 'none.pth')
    with pytest.raises(SystemExit, match='int8_layers: .*none.pth'):
        int8_layers.main(arguments)
    assert not (tmp_path / 'study').exists()
