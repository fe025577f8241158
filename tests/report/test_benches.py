"""Benchmarks in a report: joined with evaluations by the networks' names, and what is left out."""
from __future__ import annotations

from pathlib import Path
from typing import Any

import cv2
import pytest
from helpers.report import evaluation, method, write

from basicsr_kd.errors import ReportError
from basicsr_kd.report.cells import Table
from basicsr_kd.report.report import Report, build_report
from basicsr_kd.report.write import markdown_page, write_report

DEVICE = {'name': 'AMD EPYC 7B13', 'type': 'cpu', 'threads': 2, 'torch': '2.9.0'}


def row(network: str, milliseconds: float, runtime: str = 'openvino', precision: str = 'fp32', threads: int = 1,
        **changes: Any) -> dict[str, Any]:
    seconds = milliseconds / 1000
    return {'network': network, 'file': f'{network}.pth', 'runtime': runtime, 'program': runtime.capitalize() + ' 1.0',
            'precision': precision, 'threads': threads, 'time_ratio': 0.5, 'network_ratio': 0.5, 'macs_ratio': 0.25,
            'speed': {'seconds': [0.9 * seconds, seconds, 1.2 * seconds], 'lr_size': [128, 128], 'turns': 10,
                      'peak_bytes': 50_000_000}, **changes}


def bench(*rows: dict[str, Any], **changes: Any) -> dict[str, Any]:
    return {'format': 'basicsr-kd bench 1', 'device': DEVICE, 'lr_size': [128, 128], 'rows': list(rows), **changes}


@pytest.fixture
def build(tmp_path):
    """A report of a teacher, a student and bicubic, and of benchmarks."""
    def build(*benches: dict[str, Any], methods: list[dict[str, Any]] | None = None) -> Report:
        rows = methods or [method('bicubic', 24.0), method('teacher', 26.0, 'teacher'), method('student', 25.5, 16)]
        files = [write(tmp_path / f'{index}.json', content) for index, content in enumerate(benches)]
        return build_report([*files, write(tmp_path / 'run.json', evaluation(rows))])
    return build


def runtimes(report: Report) -> Table | None:
    return next((found for found in report.tables if found.name == 'runtimes'), None)


def test_times_stand_beside_the_quality_of_the_same_network(build):
    report = build(bench(row('teacher', 80), row('student', 40.04)))

    found = runtimes(report)
    assert found and found.header == ('method', 'runs in', 'threads', 'milliseconds', 'share of time', 'share of MACs',
                                      'peak memory (MB)', 'PSNR ↑', 'LPIPS ↓')
    assert [cell.text for cell in found.blocks[1][0]][:8] == ['student', 'Openvino 1.0, fp32', '1', '40.0 [36.0, 48.0]',
                                                              '50 %', '25 %', '50', '25.35']
    assert any('AMD EPYC 7B13, one LR image of 128x128' in note for note in report.notes(found))


def test_the_plot_has_each_runtime_as_it_is_fastest(build, tmp_path):
    report = build(bench(*(row(name, factor * milliseconds, runtime, precision, threads)
                           for name, factor in (('teacher', 2), ('student', 1))
                           for runtime, precision, threads, milliseconds in (
                               ('torch', 'fp32', 1, 100), ('torch', 'fp32', 2, 60), ('openvino', 'bf16', 1, 20)))))

    panels = report.runtimes
    assert [(panel.x_title, panel.y_title) for panel in panels] == [
        ('milliseconds in the runtime', 'PSNR (dB)'), ('milliseconds in the runtime', 'LPIPS')]
    assert [(point.label, point.x) for point in panels[0].points] == [
        ('teacher: Torch 1.0, channels last, fp32, 2 threads', pytest.approx(120)),
        ('teacher: Openvino 1.0, bf16', pytest.approx(40)),
        ('student: Torch 1.0, channels last, fp32, 2 threads', pytest.approx(60)),
        ('student: Openvino 1.0, bf16', pytest.approx(20))]
    assert 'Quality beside bf16 is that of fp32.' in report.all_notes()
    written = write_report(report, tmp_path / 'out')
    assert {'runtimes.png', 'runtimes.md', 'runtimes.csv'} <= set(written)
    assert cv2.imread(str(tmp_path / 'out' / 'runtimes.png')) is not None
    assert '(runtimes.png)' in markdown_page(report)
    assert '<h2>Quality against time in the runtime</h2>' in (tmp_path / 'out' / 'index.html').read_text('utf-8')


def test_8_bits_have_the_quality_of_their_own_file_alone(build):
    own = {**method('student-int8.xml', 25.1, 16), 'runtime': 'OpenVINO 2026, int8'}
    report = build(bench(row('student', 40), row('student', 20, precision='int8'),
                         row('student-int8.xml', 21, precision='int8')), methods=[method('student', 25.5, 16), own])

    found = runtimes(report)
    assert found and [rows[0][7].text for rows in found.blocks] == ['25.35', '-', '24.95']
    assert [point.label.partition(':')[0] for point in report.runtimes[0].points] == ['student', 'student-int8.xml']
    assert any('Without quality stands what was made 8 bits' in note for note in report.all_notes())


def test_what_does_not_compare_or_was_not_evaluated_is_left_out_with_a_note(build):
    report = build(bench(row('teacher', 80), row('other', 10)),
                   bench(row('student', 40), device={**DEVICE, 'name': 'Another CPU'}))

    found = runtimes(report)
    assert found and [rows[0][0].text for rows in found.blocks] == ['teacher']
    notes = ' '.join(report.all_notes())
    assert 'other' in notes and 'there is no evaluation of it under this name' in notes
    assert 'Another CPU, one LR image of 128x128 does not compare with AMD EPYC 7B13' in notes


def test_without_benchmarks_nothing_of_them_is_there(build):
    report = build()
    assert runtimes(report) is None and not report.runtimes and 'Milliseconds in' not in ' '.join(report.all_notes())


@pytest.mark.parametrize(('content', 'found'), [
    (bench(row('student', 40), format='basicsr-kd bench 9'), 'reads .basicsr-kd bench 1'),
    (bench({'network': 'student'}), 'is a benchmark with a fault'),
])
def test_a_file_with_a_fault_is_refused(build, content, found):
    with pytest.raises(ReportError, match=found):
        build(content)


def test_a_benchmark_alone_is_no_report(tmp_path):
    with pytest.raises(ReportError, match='Expected an evaluation beside it'):
        build_report([write(Path(tmp_path, 'bench.json'), bench(row('student', 40)))])
