"""The tables of a report: what stands in them, beside the paper's, and how they are written."""
from __future__ import annotations

import csv
import io
import math
import re
from typing import Any

import pytest
from helpers.report import BSD100, SET14, evaluation, method, protocol, student, write

from basicsr_kd.report.cells import Cell, Table, amount, score, seconds, table, to_csv, to_latex, to_markdown
from basicsr_kd.report.paper import SETS, TABLE_1, TABLE_2
from basicsr_kd.report.report import Report, build_report

SIX = {name: {'BSD100': BSD100, 'Set14': SET14, 'Urban100': BSD100}.get(name, ['a', 'b']) for name in SETS}


@pytest.fixture
def build(tmp_path):
    def build(content: dict[str, Any] | None = None) -> Report:
        return build_report([write(tmp_path / 'run.json', content or evaluation())])
    return build


def of(sets: dict[str, list[str]], methods: list[dict[str, Any]], **changes: Any) -> dict[str, Any]:
    """An evaluation of other sets; the methods must have them."""
    return evaluation(methods, sets=[{'name': name, 'images': images, 'hr': 'x', 'lr': None}
                                     for name, images in sets.items()], **changes)


def named(report: Report, name: str) -> Table:
    return next(found for found in report.tables if found.name == name)


def text_of(found: Table) -> list[list[str]]:
    return [[cell.text for cell in row] for block in found.blocks for row in block]


def cell_of(found: Table, row: str, column: str, metric: str = '') -> str:
    rows = [texts for texts in text_of(found) if texts[0] == row and (not metric or texts[1].startswith(metric))]
    assert len(rows) == 1
    return rows[0][found.header.index(column)]


@pytest.mark.parametrize('cell, text, figures', [
    (score([], 2), '-', {}),
    (score([25.126], 2), '25.13', {'': 25.126}),
    (score([1.0, 2.0, 4.5], 2), '2.50 ± 1.80', {'': 2.5, ' sd': 1.8027756377319946}),
    (score([25.0], 2, paper=25.345), '25.00 (paper 25.34)', {'': 25.0, ' paper': 25.34}),
    (score([-0.001], 4, interval=(-0.002, 0.0)), '-0.0010 [-0.0020, 0.0000]', {'': -0.001, ' low': -0.002, ' high': 0}),
    (score([math.inf, 30.0], 2), '∞', {'': math.inf}),
    (amount([6_538_115]), '6,538,115', {'': 6_538_115}),
    (amount([6_000_000, 7_000_000], 13e6), '6,500,000 (50 %)', {'': 6.5e6, ' share': 0.5}),
    (amount([24.9e9], 49.8e9, 1e9, 2), '24.90 (50 %)', {'': 24.9, ' share': 0.5}),
    (seconds((0.01, 0.02, 0.04), 0.08), '0.0200 [0.0100, 0.0400] (25 %)',
     {'': 0.02, ' low': 0.01, ' high': 0.04, ' share': 0.25}),
    (seconds((0.5, 1.5, 2.0)), '1.50 [0.50, 2.00]', {'': 1.5, ' low': 0.5, ' high': 2.0}),
])
def test_a_cell_has_a_text_and_its_figures(cell, text, figures):
    assert cell.text == text and cell.figures == pytest.approx(figures)


def test_the_overview_says_how_much_smaller_and_faster_than_the_unpruned_teacher(build):
    overview = named(build(), 'overview')

    assert [row[0] for row in text_of(overview)] == [
        'bicubic', 'ESRGAN', 'Teacher_0.3', 'L1_16', 'Twin_16', 'Student_16 from 0', 'Student_16',
        'Student_16 from 0.5', 'Student_16 from 0.8', 'Student_32', 'Student_48']
    assert cell_of(overview, 'Student_16', 'parameters') == '6,538,115 (39 %)'
    assert cell_of(overview, 'Student_16', 'seconds (fp32)') == '2.49 [2.42, 2.64] (36 %)'
    assert cell_of(overview, 'ESRGAN', 'parameters') == '16,697,987'
    assert cell_of(overview, 'bicubic', 'parameters') == '-'
    assert [cell_of(overview, 'Student_16', column) for column in ('iterations', 'seeds')] == ['100,000', '3']
    assert cell_of(overview, 'L1_16', 'PSNR ↑') == '25.82 ± 0.02'
    assert [cell_of(overview, name, 'what it is') for name in ('L1_16', 'Teacher_0.3', 'Student_16')] == [
        'L1 alone', 'teacher pruned by 0.3', 'student of teacher pruned by 0.3']


def test_costs_are_those_of_networks(build):
    cost = named(build(), 'cost')
    assert 'bicubic' not in [row[0] for row in text_of(cost)]
    assert text_of(cost)[0] == ['ESRGAN', '16,697,987', '68.40', '16,697,980', '1,710.0', '66.8', '6.84 [6.63, 7.25]',
                                '900']


def test_table_2_has_a_block_a_method_with_metrics_down_and_sets_across(build):
    found = named(build(), 'table2')

    assert found.header == ('method', 'metric', 'Set14', 'BSD100', 'average', 'iterations', 'seeds', 'seconds (fp32)')
    assert [[row[1].text for row in block] for block in found.blocks[:-1]] == [
        ['PSNR ↑', 'SSIM ↑', 'LPIPS ↓', 'FID ↓', 'KID x 1000 ↓']] * 11
    assert cell_of(found, 'Student_48 (13 M)', 'average', 'KID x 1000') == '8.56'
    assert cell_of(found, 'Student_48 (13 M)', 'Set14', 'KID x 1000') == '8.56 [6.56, 10.56]'
    assert cell_of(found, 'two halves of the ground truth', 'Set14') == '0.30 [-0.80, 1.40]'
    assert cell_of(found, 'Twin_16 (6.54 M)', 'Set14', 'PSNR') == '25.60 ± 0.02'
    assert [found.header[index] for index in sorted(found.once)] == ['method', 'iterations', 'seeds', 'seconds (fp32)']


def test_one_set_has_no_average(build):
    report = build(of({'Set14': SET14}, [method('a', 25.0, 16, {'Set14': SET14})]))
    assert 'average' not in named(report, 'table2').header
    assert named(report, 'overview').title.endswith('(Set14)')


def test_table_1_has_a_column_a_pruning_and_the_controls_before(build):
    found = named(build(), 'table1')

    assert found.header == ('figure', 'bicubic', 'ESRGAN', 'L1_16', 'Twin_16', 'Student_16 from 0', 'Student_16',
                            'Student_16 from 0.5', 'Student_16 from 0.8')
    assert [row[0] for row in text_of(found)] == [
        'teacher pruned by', 'parameters', 'iterations', 'seeds', 'seconds (fp32)', 'PSNR ↑', 'SSIM ↑', 'LPIPS ↓',
        'FID ↓', 'KID x 1000 ↓']
    assert text_of(found)[0][1:] == ['-', '-', '-', '-', '0', '0.3', '0.5', '0.8']
    assert cell_of(found, 'PSNR ↑', 'Student_16 from 0.8') == '25.15'


@pytest.mark.parametrize('methods', [
    [student(16, 0.3, 0, 25.0), student(32, 0.3, 0, 25.0)],  # of one pruning
    [student(16, 0.3, 0, 25.0), student(32, 0.5, 0, 25.0)],  # of different widths
    [method('a', 25.0, 16), method('b', 25.0, 16)],  # not tagged
])
def test_without_several_prunings_there_is_no_table_1_and_it_is_said(build, methods):
    report = build(evaluation(methods))
    assert 'table1' not in [found.name for found in report.tables]
    assert any(note.startswith('No table1: it takes') for note in report.all_notes())


def test_without_quality_or_costs_their_tables_are_left_out_and_it_is_said(build):
    bare = method('a', 25.0, 16)
    bare['scores'] = {}
    report = build(evaluation([bare]))
    assert [found.name for found in report.tables] == ['overview', 'cost']
    assert any(note.startswith('No table2') for note in report.left_out)
    assert any(note.startswith('No Pareto plot') for note in report.left_out)
    assert any(note.startswith('No table of costs') for note in build(evaluation([method('bicubic', 24.0)])).left_out)


def test_missing_controls_are_said(build):
    notes = build(evaluation([student(16, 0.3, 0, 25.0), method('bicubic', 24.0)])).all_notes()
    assert [note for note in notes if note.startswith('Not among the runs')] == [
        'Not among the runs: the unpruned teacher, a student trained with L1 alone, a student trained without '
        'distillation. Without them the figures do not tell what distillation is worth.']
    assert not any(note.startswith('Not among') for note in build().all_notes())


def test_the_papers_data_are_consistent():
    averages = {'Teacher_0.3': (24.87, 0.74, 90.97, 0.12), 'Student_16': (25.98, 0.78, 104.99, 0.23),
                'Student_32': (25.97, 0.77, 128.53, 0.23), 'Student_48': (26.02, 0.78, 102.28, 0.23)}
    for model, expected in averages.items():
        found = [sum(TABLE_2[model][metric]) / 6 for metric in ('psnr', 'ssim', 'fid', 'lpips')]
        assert found == pytest.approx(expected, abs=0.0051)
    assert TABLE_1[0.3]['fid'] == averages['Student_16'][2]


def test_the_papers_figures_stand_beside_ours_where_they_compare(build):
    report = build()
    found = named(report, 'table2')

    assert cell_of(found, 'Student_16 (6.54 M)', 'BSD100', 'PSNR') == '25.32 ± 0.02 (paper 25.34)'
    assert cell_of(found, 'Student_32 (9.59 M)', 'Set14', 'SSIM').endswith('(paper 0.74)')
    assert cell_of(found, 'Teacher_0.3 (11.7 M)', 'Set14', 'LPIPS').endswith('(paper 0.12)')
    assert cell_of(found, 'Student_48 (13 M)', 'average', 'PSNR') == '25.57 (paper 25.51)'  # (25.34 + 25.67) / 2
    for row in text_of(found):
        if row[1] == 'FID ↓' or not re.match(r'Teacher_0.3|Student_\d\d \(', row[0]):
            assert 'paper' not in ''.join(row)
    assert any(note.startswith("In parentheses the paper's figures") for note in report.notes(found))


@pytest.mark.parametrize('changes, metrics_left', [
    ({'protocol': protocol(channel='y')}, {'LPIPS'}),
    ({'protocol': protocol(lpips_net='vgg')}, {'PSNR', 'SSIM'}),
    ({'protocol': protocol(border=0)}, set()),
    ({'protocol': protocol(scale=2)}, set()),
])
def test_another_protocol_has_no_figures_of_the_paper(build, changes, metrics_left):
    found = named(build(evaluation(**changes)), 'table2')
    assert {row[1].split()[0] for row in text_of(found) if 'paper' in ''.join(row)} == metrics_left


@pytest.mark.parametrize('changed', ['images', 'size', 'name', 'pruning', 'role'])
def test_other_images_or_models_have_no_figures_of_the_paper(build, changed):
    images = SET14[:13] if changed == 'images' else SET14
    sets = {'Set5' if changed == 'name' else 'Set14': images}
    row = method('s', 25.0, 16, sets, role='student_l1' if changed == 'role' else 'student', features=16,
                 pruned=0.5 if changed == 'pruning' else 0.3)
    row['complexity']['params'] //= 10 if changed == 'size' else 1
    row['complexity']['params_nonzero'] = row['complexity']['params']
    report = build(of(sets, [row]))
    assert 'paper' not in str(text_of(named(report, 'table2')))
    assert any(note.startswith("None of the paper's figures") for note in report.all_notes())


def test_zeroed_weights_may_be_the_papers_pruned_teacher(build):
    row = method('t', 25.0, 'teacher', {'Set14': SET14}, role='pruned_teacher', pruned=0.3)
    row['complexity']['params_nonzero'] = 11_688_591
    assert 'paper 24.81' in str(text_of(named(build(of({'Set14': SET14}, [row])), 'table2')))


def test_all_six_sets_bring_the_averages_of_the_papers_table_1(build):
    rows = [method(f's{pruned}', 25.0, 16, SIX, role='student', features=16, pruned=pruned)
            for pruned in (0.0, 0.3, 0.5, 0.8)]
    found = named(build(of(SIX, rows)), 'table1')

    assert [text.split('(')[-1] for text in text_of(found)[4]] == [
        'SSIM ↑', 'paper 0.78)', 'paper 0.78)', 'paper 0.78)', 'paper 0.77)']
    assert 'paper' in cell_of(found, 'PSNR ↑', 's0.3') and 'paper' not in cell_of(found, 'PSNR ↑', 's0.5')
    assert 'paper' not in ''.join(text_of(found)[6])  # FID of 100 images


def test_fid_of_enough_images_would_stand_beside_the_papers(build):
    row = student(16, 0.3, 0, 25.0)
    row['scores']['BSD100']['fid']['samples'] = 2048
    found = named(build(evaluation([row])), 'table2')
    assert 'paper 64.71' in cell_of(found, 'Student_16 (6.54 M)', 'BSD100', 'FID')
    assert 'paper' not in cell_of(found, 'Student_16 (6.54 M)', 'average', 'FID')


def test_nothing_is_ranked(build):
    report = build()
    for found in report.tables:
        assert '**' not in to_markdown(found) and 'textbf' not in to_latex(found, '')
    assert any('FID' in note and 'ranks nothing' in note for note in report.all_notes())


NASTY = ['a_b%c', 'x & y #1', '~tilde^hat', 'back\\slash{brace}', '<b>|pipe', '[bracket] first', '$5$ ±']


@pytest.fixture
def nasty():
    return table('nasty', 'Nasty 100 % of_names', ['method', 'PSNR ↑', 'seconds'],
                 [[[Cell(name), score([25.0, 26.0], 2), seconds((0.1, 0.2, 0.3))] for name in NASTY]])


def test_latex_is_a_booktabs_table_with_everything_escaped(nasty):
    text = to_latex(nasty, 'a_note with 95 %')

    body = text[text.index('\\toprule'):text.index('\\bottomrule')]
    rows = [line for line in body.splitlines() if line.endswith(r'\\')]
    assert len(rows) == 1 + len(NASTY)
    assert all(len(re.findall(r'(?<!\\)&', row)) == 2 for row in rows)  # three columns
    unescaped = re.sub(r'\\[%&#_{}$]|\\\\$|\$\\(pm|uparrow)\$', '', '\n'.join(rows), flags=re.MULTILINE)
    assert not re.search(r'[%#_$~^<>|]', unescaped)
    bare = re.sub(r'\\[{}]', '', text)
    assert bare.count('{') == bare.count('}')
    assert rows[6].startswith('{[bracket] first}')  # not an argument of the \\ above it
    for part in ('\\begin{tabular}{lrr}', '\\midrule', '\\caption{Nasty 100 \\% of\\_names}', 'a\\_note with 95 \\%'):
        assert part in text


def test_blocks_are_apart_in_latex(build):
    text = to_latex(named(build(), 'table2'), '')
    assert text.count('\\midrule') == 1 + 11  # below the header, and between twelve blocks
    assert text.count('ESRGAN') == 1


def test_csv_has_one_header_row_and_figures_in_columns_of_their_own(nasty):
    rows = list(csv.reader(io.StringIO(to_csv(nasty))))

    assert rows[0] == ['method', 'PSNR', 'PSNR sd', 'seconds', 'seconds low', 'seconds high']
    assert [row[0] for row in rows[1:]] == NASTY
    assert [float(value) for value in rows[1][1:]] == pytest.approx([25.5, 0.5 ** 0.5, 0.2, 0.1, 0.3])


def test_csv_repeats_what_a_block_is_about_and_leaves_empty_what_is_not_there(build):
    rows = list(csv.DictReader(io.StringIO(to_csv(named(build(), 'table2')))))

    assert len(rows) == 11 * 5 + 1 and all(row['method'] and row['metric'] for row in rows)
    student_16 = [row for row in rows if row['method'] == 'Student_16 (6.54 M)']
    assert [row['metric'] for row in student_16] == ['PSNR', 'SSIM', 'LPIPS', 'FID', 'KID x 1000']
    assert (student_16[0]['BSD100 paper'], student_16[3]['BSD100 paper'], rows[0]['iterations']) == ('25.34', '', '')
    assert student_16[0]['iterations'] == '100000'


def test_markdown_is_one_table_whatever_the_names(nasty):
    lines = to_markdown(nasty).splitlines()
    assert len(lines) == 2 + len(NASTY)
    assert {len(re.findall(r'(?<!\\)\|', line)) for line in lines} == {4}
    assert '<b>' not in '\n'.join(lines)
