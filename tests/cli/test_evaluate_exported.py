"""`basicsr-kd evaluate` of files that were written for a runtime."""
from __future__ import annotations

from pathlib import Path

import pytest
from helpers.evaluate import SETS, written

from basicsr_kd.deploy.export.graph import graph_of
from basicsr_kd.deploy.export.onnx_file import write_onnx
from basicsr_kd.deploy.network import TorchNetwork


@pytest.fixture
def onnx_file(folder, teacher_file) -> Path:
    """What ONNX holds of the teacher."""
    pytest.importorskip('onnx')
    pytest.importorskip('onnxruntime')
    network = TorchNetwork('teacher', teacher_file)
    write_onnx(graph_of(network.net, network.scale, network.multiple), Path('teacher.onnx'), 'fp32')
    return Path('teacher.onnx')


def test_a_file_of_onnx_runtime_scores_as_its_checkpoint_and_is_timed_along(tool, teacher_file, onnx_file):
    status, output, errors = tool('--weights', teacher_file, onnx_file, *SETS, '--lr-size', 16, '--json', 'out.json',
                                  speed=True)

    assert (status, errors) == (0, '')
    teacher, exported = written()['methods']
    assert (teacher['name'], exported['name']) == ('teacher', 'teacher.onnx')
    assert teacher['runtime'] is None and exported['runtime'].startswith('ONNX Runtime ')
    psnr, expected = (method['scores']['Set']['mean']['psnr'] for method in (exported, teacher))
    assert psnr == pytest.approx(expected, abs=0.02)
    assert exported['complexity'] is None and exported['speed']['fp32']['peak_bytes'] is None
    assert len(exported['speed']['fp32']['seconds']) == 3 and 'teacher.onnx ran in ONNX Runtime ' in output


def test_a_file_that_is_cut_short_is_refused(tool, onnx_file):
    onnx_file.write_bytes(onnx_file.read_bytes()[:1000])
    status, _, errors = tool('--weights', onnx_file, *SETS)
    assert status == 2 and 'cannot open teacher.onnx' in errors
