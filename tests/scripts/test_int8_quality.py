"""scripts/int8_quality.py on two tiny networks."""
import json

import cv2
import int8_quality
import numpy as np
import pytest
from helpers.networks import varied_rrdbnet

from basicsr_kd.checkpoint import write_checkpoint

for package in ('nncf', 'onnx', 'onnxruntime', 'openvino'):
    pytest.importorskip(package)


@pytest.fixture
def arguments(tmp_path):
    for name, features in (('whole', 16), ('half', 8)):
        net = varied_rrdbnet(num_feat=features, num_block=1, num_grow_ch=8)
        write_checkpoint(tmp_path / f'{name}.pth', net.state_dict())
    (tmp_path / 'LR').mkdir()
    for index, image in enumerate(np.random.default_rng(0).integers(0, 256, (3, 8, 8, 3), np.uint8)):
        cv2.imwrite(str(tmp_path / f'LR/{index}.png'), cv2.resize(image, (40, 40), interpolation=cv2.INTER_CUBIC))
    return ['--weights', str(tmp_path / 'whole.pth'), str(tmp_path / 'half.pth'), '--calibration',
            str(tmp_path / 'LR'), '--sets', f'photos={tmp_path / "LR"}', '--num', '3', '--size', '40', '--side', '32',
            '--turns', '3', '--output', str(tmp_path / 'study')]


def test_ways_are_compared_with_the_first_network(arguments, tmp_path, capsys):
    int8_quality.main([*arguments, '--runtimes', 'openvino', 'onnxruntime'])
    rows = json.loads((tmp_path / 'study/results.json').read_text())
    found = {(row['runtime'], row['network'], row['way']): row for row in rows}
    assert len(found) == 12
    for runtime in ('openvino', 'onnxruntime'):
        psnr = {way: float(found[runtime, 'whole', way]['scores']['photos']['psnr']) for way in ('fp32', 'int8')}
        assert psnr['fp32'] > psnr['int8'] > 40
        assert found[runtime, 'half', 'fp32']['scores']['photos']['psnr'] < 40  # another network
        assert found[runtime, 'whole', 'fp32']['time'] == [1, 1, 1]
        assert all(found[runtime, 'whole', way]['bytes'] > 50_000 for way in ('fp32', 'nncf', 'int8'))  # and .bin
    assert (tmp_path / 'study/table.md').read_text() in capsys.readouterr().out
    assert not list((tmp_path / 'study').glob('*unfinished*'))

    files = {path: path.stat().st_mtime_ns for path in (tmp_path / 'study').glob('*.xml')}
    int8_quality.main(arguments)  # files that are there are not written again
    assert {path: path.stat().st_mtime_ns for path in files} == files


def test_what_cannot_be_read_is_one_line(arguments, tmp_path, capsys):
    with pytest.raises(SystemExit):
        int8_quality.main([*arguments, '--sets', 'photos'])
    assert '--sets photos is not of the form NAME=LRDIR' in capsys.readouterr().err
    arguments[1] = str(tmp_path / 'none.pth')
    with pytest.raises(SystemExit, match='int8_quality: .*none.pth'):
        int8_quality.main(arguments)
