"""bench/plan.py: which runtimes and precisions go together."""
from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from basicsr_kd.bench import plan
from basicsr_kd.bench.plan import Entry, entries, installed
from basicsr_kd.deploy.network import TorchNetwork
from basicsr_kd.errors import MissingExtraError


@pytest.fixture(autouse=True)
def _a_cpu_with_bf16(monkeypatch):
    monkeypatch.setattr(plan, 'fast_formats', lambda device: ['fp32', 'bf16'])
    monkeypatch.setattr(plan, 'openvino_formats', lambda: {'fp32': 'f32', 'bf16': 'bf16'})


def network(file: str, precision: str = 'fp32') -> Any:
    """One as it is opened, without its weights."""
    found = object.__new__(TorchNetwork) if file.endswith('.pth') else SimpleNamespace()
    found.file, found.run_net = Path(file), SimpleNamespace(precision=precision)
    return found


def test_a_checkpoint_runs_in_all_runtimes_and_pytorch_also_as_in_scripts():
    found, left_out = entries({'a': network('a.pth')}, ['torch', 'onnxruntime', 'ncnn'], ['fp32'], [1, 2])

    assert found == [Entry('a', runtime, 'fp32', threads)
                     for runtime in ('torch-nchw', 'torch', 'onnxruntime', 'ncnn') for threads in (1, 2)]
    assert left_out == []


def test_what_does_not_go_together_is_left_out_with_a_reason_each():
    found, left_out = entries({'a': network('a.pth'), 'b': network('b.pth')},
                              ['torch', 'onnxruntime', 'openvino', 'ncnn'], ['bf16', 'int8'], [1])

    assert [entry[1:3] for entry in found if entry.network == 'a'] == [
        ('torch', 'bf16'), ('onnxruntime', 'int8'), ('openvino', 'bf16'), ('openvino', 'int8')]
    assert left_out == ['int8 in torch is left out: it runs fp32, bf16 here.',
                        'bf16 in onnxruntime is left out: it runs fp32, int8 here.',
                        'bf16 in ncnn is left out: it runs fp32 here.', 'int8 in ncnn is left out: it runs fp32 here.']


@pytest.mark.parametrize(('file', 'precision', 'expected'), [
    ('a-int8.xml', 'int8', [('openvino', 'int8')]),
    ('a.xml', 'fp32', [('openvino', 'fp32'), ('openvino', 'bf16')]),
    ('a.onnx', 'fp16', [('onnxruntime', 'fp16')]),
])
def test_a_file_of_a_runtime_runs_there_alone_and_as_it_is(file, precision, expected):
    found, left_out = entries({'a': network(file, precision)}, ['torch', 'onnxruntime', 'openvino'], ['fp32', 'bf16'],
                              [1])

    assert [entry[1:3] for entry in found] == expected and left_out == []


def test_a_file_of_a_runtime_that_was_not_asked_for_is_left_out():
    found, left_out = entries({'a': network('a.pth'), 'b': network('b.param')}, ['torch'], ['fp32'], [1])

    assert {entry.network for entry in found} == {'a'}
    assert left_out == ['b is left out: it is for ncnn, which is not among the runtimes.']


def test_a_runtime_that_is_not_installed_is_left_out_unless_it_was_asked_for(monkeypatch):
    monkeypatch.setitem(sys.modules, 'pnnx', None)

    found, left_out = installed(None, int8=False)

    assert 'torch' in found and 'ncnn' not in found
    assert any('ncnn needs pnnx, which is not installed' in text for text in left_out)
    with pytest.raises(MissingExtraError, match=r'basicsr-kd\[ncnn\]'):
        installed(['torch', 'ncnn'], int8=False)
