"""`basicsr-kd report`: what it writes, and everything it refuses."""
from __future__ import annotations

import csv
import subprocess
import sys
from pathlib import Path

import cv2
import pytest
from helpers.report import evaluation, method, protocol, write, write_pictures

from basicsr_kd.cli.main import main

TABLES = [f'{name}.{suffix}' for name in ('overview', 'cost', 'table1', 'table2') for suffix in ('csv', 'md', 'tex')]


@pytest.fixture
def tool(tmp_path, monkeypatch, capsys):
    """Runs the command in an empty folder with a.json: exit status, stdout, stderr."""
    monkeypatch.chdir(tmp_path)
    write(Path('a.json'), evaluation())

    def run(*args):
        try:
            status = main(['report', *map(str, args)])
        except SystemExit as error:  # argparse
            status = error.code
        return status, *capsys.readouterr()

    return run


def names(folder: str = '.') -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def test_a_report_is_tables_a_plot_and_pages(tool):
    status, output, errors = tool('--runs', 'a.json', '--out', 'new/report')

    assert (status, errors) == (0, '')
    assert names('new/report') == sorted([*TABLES, 'report.md', 'index.html', 'pareto.png'])
    assert names('new') == ['report']  # nothing it worked with is left
    assert '| Student_16 ' in output and 'No pictures: say --images' in output
    assert 'new/report/index.html' in output
    assert Path('new/report/report.md').read_text('utf-8').count('\n## ') == 4 + 2
    rows = list(csv.reader(Path('new/report/table2.csv').open(encoding='utf-8-sig', newline='')))
    assert rows[0][:3] == ['method', 'metric', 'Set14'] and {len(row) for row in rows} == {len(rows[0])}
    assert (cv2.imread('new/report/pareto.png') is not None) and 'x4. PSNR and SSIM on RGB' in Path(
        'new/report/table1.tex').read_text('utf-8')


def test_pictures_make_a_comparison_of_crops(tool, tmp_path):
    write(Path('toy.json'), write_pictures(tmp_path, ('bicubic', 'a')))
    status, _, errors = tool('--runs', 'toy.json', '--images', 'pictures', '--out', 'report')

    assert (status, errors) == (0, '')
    assert 'comparison.png' in names('report') and 'table1.md' not in names('report')
    assert cv2.imread('report/comparison.png').shape[1] > 4 * 192
    assert '![The same crops of every method](comparison.png)' in Path('report/report.md').read_text('utf-8')
    assert Path('report/index.html').read_text('utf-8').count('<figure>') == 2 * 4


def test_tags_come_from_a_file(tool):
    write(Path('plain.json'), evaluation([method('net', 25.0, 16)]))
    Path('about.yml').write_text('net: {role: student, pruned: 0.3, group: Student_16, iterations: 5000}')
    status, output, _ = tool('--runs', 'plain.json', '--out', 'report', '--about', 'about.yml')
    assert status == 0 and '| Student_16 | student of teacher pruned by 0.3 |' in output and '5,000' in output


def test_what_is_evaluated_can_be_reported(tool, image_pairs, teacher_file):
    status = main(['evaluate', '--weights', str(teacher_file), 'bicubic', '--hr', str(image_pairs / 'HR'), '--lr',
                   str(image_pairs / 'LRx4'), '--names', 'Pairs', '--metrics', 'psnr', 'ssim', '--no-speed',
                   '--json', 'real.json', '--save-images', 'pictures'])
    assert status == 0
    status, output, errors = tool('--runs', 'real.json', '--images', 'pictures', '--out', 'report')

    assert (status, errors) == (0, '')
    assert 'comparison.png' in names('report') and 'Not among the pictures' not in output
    assert '| bicubic ' in output and '| teacher ' in output


def test_a_folder_that_is_not_empty_is_written_into_by_force_only(tool):
    assert tool('--runs', 'a.json', '--out', 'report')[0] == 0
    Path('report/mine.txt').write_text('mine')
    write(Path('plain.json'), evaluation([method('net', 25.0, 16)]))
    args = ('--runs', 'plain.json', '--out', 'report')
    before = Path('report/report.md').read_bytes()

    status, output, errors = tool(*args)
    assert (status, output) == (2, '') and 'report is not empty' in errors and '--force' in errors
    assert Path('report/report.md').read_bytes() == before

    assert tool(*args, '--force')[0] == 0
    assert Path('report/report.md').read_bytes() != before
    assert 'table1.md' not in names('report') and 'pareto.png' not in names('report')  # of the report before
    assert Path('report/mine.txt').read_text() == 'mine'


def test_an_empty_folder_is_written_into(tool):
    Path('report').mkdir()
    assert tool('--runs', 'a.json', '--out', 'report')[0] == 0


@pytest.mark.parametrize('args, said', [
    (('--runs', 'none.json'), 'none.json cannot be read'),
    (('--runs', 'a.json', 'text.json'), 'text.json is no JSON'),
    (('--runs', 'other.json'), 'other.json is no evaluation. Expected a file that `basicsr-kd evaluate --json'),
    (('--runs', 'newer.json'), "has the format 'basicsr-kd evaluation 9'"),
    (('--runs', 'a.json', 'y.json'), 'do not compare: channel is rgb in a.json and y in y.json'),
    (('--runs', 'a.json', '--about', 'none.yml'), '--about: none.yml cannot be read'),
    (('--runs', 'a.json', '--images', 'none'), '--images: none is no folder'),
    (('--runs', 'a.json', '--images', 'empty'), '--images: empty does not have all images of any method'),
    (('--runs', 'a.json', '--out', 'text.json'), 'text.json is a file'),
    (('--runs', 'a.json', '--out', 'text.json/report'), 'text.json is a file'),
])
def test_a_refusal_is_one_line_and_nothing_is_written(tool, args, said):
    Path('text.json').write_text('PSNR 25 dB')
    write(Path('other.json'), {'psnr': 25})
    write(Path('newer.json'), evaluation(format='basicsr-kd evaluation 9'))
    write(Path('y.json'), evaluation([method('b', 25.0, 16)], protocol=protocol(channel='y')))
    Path('empty').mkdir()
    before = names()

    status, output, errors = tool(*(args if '--out' in args else (*args, '--out', 'report')))

    assert (status, output) == (2, '')
    assert errors.startswith('basicsr-kd report: ') and errors.count('\n') == 1 and said in errors
    assert names() == before


def test_what_fails_on_the_way_leaves_nothing(tool, monkeypatch):
    def full(*_):
        raise OSError(28, 'No space left on device')

    monkeypatch.setattr('basicsr_kd.report.write.html_page', full)  # the last to be made
    status, output, errors = tool('--runs', 'a.json', '--out', 'report')
    assert (status, output) == (2, '') and 'No space left' in errors
    assert names() == ['a.json']


def test_needed_arguments_are_said(tool):
    assert 'the following arguments are required: --runs, --out' in tool()[2]


def test_a_report_needs_neither_torch_nor_basicsr(tool, tmp_path):
    write(Path('toy.json'), write_pictures(tmp_path, ('bicubic', 'a')))
    code = ('import sys\nfrom basicsr_kd.cli.main import main\n'
            'assert main(["report", "--runs", "toy.json", "--images", "pictures", "--out", "report"]) == 0\n'
            'assert not {"torch", "torchvision", "basicsr"} & set(sys.modules)')
    result = subprocess.run([sys.executable, '-c', code], capture_output=True, text=True, timeout=60)
    assert result.returncode == 0, result.stderr
