"""Reports of clips: both averages, parts of the generator, what the paper claims, crops and time slices."""
from __future__ import annotations

import csv
import io

import cv2
import numpy as np
import pytest
from helpers.report import evaluation, method, write
from helpers.report_video import PROTOCOL, VID4, bicubic, network, video_evaluation, write_frames

from basicsr_kd.errors import ReportError
from basicsr_kd.report.cells import to_csv, to_latex, to_markdown
from basicsr_kd.report.crops import caption
from basicsr_kd.report.evaluations import read_runs
from basicsr_kd.report.figure import comparison_figure
from basicsr_kd.report.methods import group_methods
from basicsr_kd.report.page import html_page
from basicsr_kd.report.report import build_report
from basicsr_kd.report.write import write_report


@pytest.fixture
def build(tmp_path):
    def build(*contents):
        files = [write(tmp_path / f'{index}.json', content) for index, content in enumerate(contents)]
        return build_report(files or [write(tmp_path / 'run.json', video_evaluation())])
    return build


def named(report, name):
    return next(found for found in report.tables if found.name == name)


def cells(table):
    return [dict(zip(table.header, row, strict=True)) for block in table.blocks for row in block]


def test_a_set_of_clips_has_means_over_frames_and_over_clips(build):
    report = build()
    rows = cells(named(report, 'table2'))
    found = {(row['method'].text.split()[0], row['metric'].text): row for row in rows}

    over_frames = 24.5 + sum(index * count for index, count in enumerate(VID4.values())) / 155
    assert found['whole', 'PSNR ↑']['Vid4 (frames)'].figures[''] == pytest.approx(over_frames)
    assert found['whole', 'PSNR ↑']['Vid4 (clips)'].figures[''] == pytest.approx(26.0)
    assert [metric for name, metric in found if name == 'whole'] == ['PSNR ↑', 'LPIPS ↓', 'tOF ↓', 'tLP x 100 ↓']
    assert report.subject() == '4 methods on Vid4 (4 clips, 155 frames).'
    assert named(report, 'overview').title.endswith('(Vid4, means over frames)')
    notes = report.all_notes()
    assert any(note.startswith("x4; TecoGAN's official protocol") for note in notes)
    assert any("mean of its clips' means" in note for note in notes)


def test_one_clip_has_one_mean(build):
    table = named(build(video_evaluation(clips={'calendar': 37})), 'table2')
    assert [title for title in table.header if 'Vid4' in title] == ['Vid4']


def test_kid_of_clips_has_its_floor_over_frames_alone(build):
    content = video_evaluation()
    content['methods'][0]['scores']['Vid4']['kid'] = {
        'value': 0.01, 'low': 0.0, 'high': 0.02, 'floor': 0.001, 'floor_low': 0.0, 'floor_high': 0.002, 'patches': 99}
    floor = cells(named(build(content), 'table2'))[-1]
    assert floor['Vid4 (frames)'].text.startswith('1.00 [') and floor['Vid4 (clips)'].text == '-'


def test_methods_are_called_and_ordered_by_their_blocks(tmp_path):
    rows = [network('narrow', 5, 24.0, role='pruned_teacher'), network('wide', 10, 24.0, role='pruned_teacher'),
            network('whole', 10, 24.5, role='teacher')]
    rows[0]['network'] = {'type': 'PrunedNet', 'base': rows[0]['network'], 'like': 'narrow.pth'}
    methods = group_methods(read_runs([write(tmp_path / 'run.json', video_evaluation(rows))]).methods)

    assert [(one.label, one.about.blocks, one.role) for one in methods] == [
        ('whole', 10, 'unpruned teacher'), ('wide', 10, 'teacher pruned to 10 blocks'),
        ('narrow', 5, 'teacher pruned to 5 blocks')]


def test_seeds_have_one_number_of_blocks(tmp_path):
    rows = [network('a', 10, 24.0, group='g', seed=0), network('b', 5, 24.0, group='g', seed=1)]
    with pytest.raises(ReportError, match='the group g is no one method: blocks is 10 of a and 5 of b'):
        group_methods(read_runs([write(tmp_path / 'run.json', video_evaluation(rows))]).methods)


def test_parts_and_whole_stand_beside_quality_with_their_changes(build):
    table = named(build(), 'parts')
    rows = {(row['method'].text, row['part'].text): row for row in cells(table)}

    assert [key for key in rows if key[0] == 'pruned'] == [('pruned', 'FNet'), ('pruned', 'SRNet'), ('pruned', 'whole')]
    assert rows['whole', 'whole']['parameters'].text == '2,589,093'
    assert rows['pruned', 'whole']['parameters'].text == '2,219,813 (-14.3 %)'
    assert rows['pruned', 'whole']['MACs (G)'].text == '31.40 (-33.5 %)'
    assert rows['pruned', 'SRNet']['parameters'].text == '474,307 (-43.8 %)'
    assert rows['pruned', 'FNet']['parameters'].text == '1,745,506 (+0.0 %)'
    assert rows['pruned', 'whole']['blocks'].text == '5'
    assert 'bicubic' not in {name for name, _ in rows}
    assert [title for title in table.header if 'Vid4' in title] == ['PSNR ↑ (Vid4)', 'LPIPS ↓ (Vid4)', 'tOF ↓ (Vid4)']


def test_without_a_teacher_parts_have_no_changes(build):
    table = named(build(video_evaluation([network('a', 10, 24.5), network('b', 5, 24.0)])), 'parts')
    assert not any('%' in cell.text or ' change' in cell.figures for row in cells(table) for cell in row.values())


def test_networks_without_parts_have_no_such_table(build):
    assert 'parts' not in [table.name for table in build(evaluation()).tables]


def test_the_papers_changes_stand_beside_those_of_its_own_models(build):
    report = build()
    rows = {(row['method'].text, row['part'].text): row for row in cells(named(report, 'parts'))}
    pruned = rows['pruned', 'whole']

    assert pruned['PSNR ↑ (Vid4)'].text.endswith('(-0.60, paper -1)')
    assert pruned['LPIPS ↓ (Vid4)'].text.endswith('(+0.0150, paper +0.0119)')
    assert pruned['tOF ↓ (Vid4)'].figures[' paper change'] == 0.0757
    assert 'paper' not in rows['distilled', 'whole']['PSNR ↑ (Vid4)'].text
    notes = report.notes(named(report, 'parts'))
    assert any('48 % fewer' in note and 'SRNet counted alone' in note and '-14.3 %' in note for note in notes)
    assert any(note.startswith("After 'paper'") for note in notes)
    assert not any('J. Broadcast' in note or 'table1' in note for note in report.all_notes())


@pytest.mark.parametrize('changed', ['protocol', 'scale', 'name', 'clips', 'size', 'role'])
def test_other_networks_or_protocols_have_none_of_them(build, changed):
    content = video_evaluation(clips={'calendar': 37} if changed == 'clips' else VID4)
    if changed in ('protocol', 'scale'):
        content['protocol'] = PROTOCOL | {'protocol': {'clips': 'training'}, 'scale': {'scale': 2}}[changed]
    for row in content['methods']:
        if changed == 'name':
            row['scores'] = {'mine': row['scores']['Vid4']}
        if changed == 'size' and row['complexity']:
            row['complexity']['params'] -= 1
        if changed == 'role' and row['name'] == 'pruned':
            row['about']['role'] = 'student'
    content['sets'][0]['name'] = 'mine' if changed == 'name' else 'Vid4'
    report = build(content)

    assert not any('paper' in cell.text for row in cells(named(report, 'parts')) for cell in row.values())
    assert any(note.startswith("The paper's changes of quality compare with none") for note in report.all_notes())


def test_networks_of_one_number_of_blocks_have_nothing_to_do_with_the_papers_claim(build):
    report = build(video_evaluation([network('a', 10, 24.0, role='teacher'), network('b', 10, 24.1, role='student')]))
    assert not any('48 %' in note or 'paper' in note for note in report.all_notes())


def test_the_control_of_distillation_on_clips_is_the_pruned_teacher(build):
    alone = [row for row in video_evaluation()['methods'] if row['name'] != 'pruned']
    missing = [note for note in build(video_evaluation(alone)).all_notes() if note.startswith('Not among')]
    assert missing and 'the pruned teacher, fine-tuned without distillation' in missing[0] and 'L1' not in missing[0]
    assert not any(note.startswith('Not among') for note in build(video_evaluation()).all_notes())


def test_parts_are_written_in_all_forms(build):
    table = named(build(), 'parts')
    rows = list(csv.DictReader(io.StringIO(to_csv(table))))

    assert [row['part'] for row in rows[:3]] == ['FNet', 'SRNet', 'whole']
    pruned = next(row for row in rows if row['method'] == 'pruned' and row['part'] == 'whole')
    assert float(pruned['parameters change']) == pytest.approx(-0.1426, abs=1e-4)
    assert pruned['PSNR ↑ (Vid4) paper change'] == '-1'
    assert '| pruned ' in to_markdown(table) and '2,219,813 (-14.3 \\%)' in to_latex(table, '')


def test_pages_have_the_table_of_parts(build, tmp_path):
    report = build()
    written = write_report(report, tmp_path / 'report')
    assert {'parts.md', 'parts.tex', 'parts.csv'} <= set(written)
    assert '<h2>Parameters and operations by part</h2>' in html_page(report)
    assert 'tOF' in [panel.y_title for panel in report.panels]


def test_means_are_over_all_frames(build):
    content = video_evaluation([bicubic()])
    del content['methods'][0]['scores']['Vid4']['images']['tof']['city/0007']
    with pytest.raises(ReportError, match='tof of bicubic is not over the images of Vid4; it differs in city/0007'):
        build(content)


def test_protocols_of_clips_that_differ_are_refused(build):
    other = video_evaluation([network('other', 10, 24.0)], protocol=PROTOCOL | {'clips': 'training'})
    with pytest.raises(ReportError, match='clips is official in .*0.json and training in .*1.json'):
        build(video_evaluation(), other)


def test_clips_and_images_do_not_go_together(build):
    with pytest.raises(ReportError, match='do not compare'):
        build(video_evaluation(), evaluation([method('a', 25.0, 16)]))


def test_metrics_of_one_method_come_from_several_files(tmp_path):
    contents = []
    for kept in (('psnr', 'lpips'), ('tof', 'tlp')):
        content = video_evaluation()
        for row in content['methods']:
            row['scores']['Vid4'] = {kind: {metric: values[metric] for metric in kept}
                                     for kind, values in row['scores']['Vid4'].items()}
        contents.append(content)
    files = [write(tmp_path / f'{index}.json', content) for index, content in enumerate(contents)]
    assert read_runs(files).methods == read_runs([write(tmp_path / 'whole.json', video_evaluation())]).methods


def test_operations_of_another_frame_size_are_left_out_of_the_parts(build):
    other = network('other', 5, 24.0, role='student')
    other['complexity'] |= {'lr_size': [64, 64]}
    report = build(video_evaluation([network('whole', 10, 24.5, role='teacher'), other]))
    rows = [row for row in cells(named(report, 'parts')) if row['method'].text == 'other']
    assert [row['MACs (G)'].text for row in rows] == ['-'] * 3
    assert rows[2]['parameters'].text == '2,219,813 (-14.3 %)'


def test_the_middle_frame_and_its_row_over_time_are_shown(tmp_path):
    content = write_frames(tmp_path)
    report = build_report([write(tmp_path / 'run.json', content)], images=tmp_path / 'pictures')
    crops = {one.name: one for one in report.comparisons}

    assert sorted(crops) == ['Vid4: one, one row over time', 'Vid4: one/0005', 'Vid4: two, one row over time',
                             'Vid4: two/0006']
    assert list(crops)[1].endswith('one row over time')  # below the crop
    crop, over_time = crops['Vid4: two/0006'], crops['Vid4: two, one row over time']
    assert list(crop.images) == list(over_time.images) == ['bicubic', 'whole', 'pruned', 'distilled', 'ground truth']
    assert (crop.part('whole') == 30).all() and (over_time.part('whole') == 30).all()  # the last that was written
    left, top, side = crop.box
    assert over_time.mark == (left, top + side // 2, side, 1)
    orange = (over_time.part('ground truth') == (255, 128, 0)).all(axis=2)  # RGB
    assert orange.shape == (side, side) and (orange.sum(axis=1) == 1).all()
    assert list(np.argmax(orange, axis=1)) == [32 + line * 8 // side - left for line in range(side)]  # 8 frames
    assert over_time.notes['whole'] == 'tOF 0.2577' and crop.notes['whole'] == '25.50 dB / LPIPS 0.2875'


def test_a_long_clip_shows_as_many_frames_as_the_crop_has_rows(tmp_path, monkeypatch):
    monkeypatch.setattr('basicsr_kd.report.crops._SIDE', 8)
    content = write_frames(tmp_path, {'long': 14})
    over_time = build_report([write(tmp_path / 'run.json', content)], images=tmp_path / 'pictures').comparisons[1]
    assert over_time.rows['ground truth'].shape == (8, 8, 3)
    seen = [int(np.argmax((row == (255, 128, 0)).all(axis=1))) for row in over_time.part('ground truth')
            if (row == (255, 128, 0)).all(axis=1).any()]
    assert seen == sorted(seen) and len(set(seen)) == len(seen)  # every frame once, the column moves on


def test_results_may_have_the_rows_that_low_resolution_begins(tmp_path):
    content = write_frames(tmp_path, excess=2)
    report = build_report([write(tmp_path / 'run.json', content)], images=tmp_path / 'pictures')
    assert {image.shape for one in report.comparisons for image in one.images.values()} == {(70, 90, 3)}


@pytest.mark.parametrize('fault, said', [
    ('size', r'(one/0005|two/0006) is 90x80 in \w+, and its ground truth 90x70'),
    ('a small frame', '0003.png is 8x8, too small for row'),
    ('no frame', 'GT has no image two/0004, which is in the set Vid4'),
])
def test_frames_that_do_not_fit_are_refused(tmp_path, fault, said):
    content = write_frames(tmp_path, excess=10 if fault == 'size' else 0)
    if fault == 'a small frame':
        cv2.imwrite(str(tmp_path / 'pictures' / 'whole' / 'Vid4' / 'one' / '0003.png'), np.zeros((8, 8, 3), np.uint8))
    elif fault == 'no frame':
        (tmp_path / 'GT' / 'two' / '0004.png').unlink()
    with pytest.raises(ReportError, match=f'--images: .*{said}'):
        build_report([write(tmp_path / 'run.json', content)], images=tmp_path / 'pictures')


def test_pictures_of_clips_are_drawn_and_explained(tmp_path):
    report = build_report([write(tmp_path / 'run.json', write_frames(tmp_path))], images=tmp_path / 'pictures')
    comparison_figure(tmp_path / 'comparison.png', report.comparisons, caption(report.runs))

    picture = cv2.imread(str(tmp_path / 'comparison.png'))
    assert (picture == (0, 128, 255)).all(axis=2).sum() == 4 * 3 * 192  # the column, enlarged, in four crops
    page = html_page(report)
    assert 'over time, downwards' in page and page.count('<figure>') == 4 * 5
