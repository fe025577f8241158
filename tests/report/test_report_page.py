"""The pictures of a report and its page: what they show, that nothing hides anything, that the page needs nothing."""
from __future__ import annotations

import base64
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.report import evaluation, method, student, write, write_pictures
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.text import Text

from basicsr_kd.errors import ReportError
from basicsr_kd.report import figure as figure_module
from basicsr_kd.report.figure import comparison_figure
from basicsr_kd.report.page import html_page
from basicsr_kd.report.pareto import Panel, Point, label_beside, pareto_panels, pareto_plot, spread
from basicsr_kd.report.report import build_report
from basicsr_kd.report.write import markdown_page, write_report

VOID = {'meta', 'img', 'br', 'wbr'}


class Page(HTMLParser):
    """All elements, each with the names of those around it; fails on tags that do not close."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[tuple[str, dict]] = []
        self.elements: list[tuple[str, dict, list[str]]] = []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        around = [f'{name}.{attributes.get("class", "")}' for name, attributes in self.open]
        self.elements.append((tag, dict(attrs), around))
        if tag not in VOID:
            self.open.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop()[0] == tag

    def all(self, tag: str) -> list[tuple[dict, list[str]]]:
        return [(attributes, around) for name, attributes, around in self.elements if name == tag]


def toy(folder: Path, names=('bicubic', 'a/s16', 'b'), **changes):
    """A report with pictures."""
    content = write_pictures(folder, names, **changes)
    return build_report([write(folder / 'run.json', content)], images=folder / 'pictures')


@pytest.fixture
def report(tmp_path):
    return build_report([write(tmp_path / 'run.json', evaluation())])


def test_the_page_needs_nothing_besides_itself(tmp_path):
    report = toy(tmp_path)
    written = write_report(report, tmp_path / 'out')
    text = (tmp_path / 'out' / 'index.html').read_text('utf-8')
    page = Page(text)

    assert written[:3] == ['report.md', 'index.html', 'index_files']
    assert not {'link', 'iframe', 'object', 'base'} & {name for name, _, _ in page.elements}
    assert not re.search(r'(?i)@import|url\(|@font-face|\bon\w+=|https?:', text)
    for _, attributes, _ in page.elements:
        assert not {'srcset', 'background'} & set(attributes)
        assert attributes.get('href', '#photos') == '#photos' or is_picture(tmp_path / 'out' / attributes['href'])
    assert not any('src' in attributes for attributes, _ in page.all('script'))
    images = [attributes for attributes, _ in page.all('img') if attributes.get('src')]
    # the plot; of two photos a small one, the whole, LR, three methods, ground truth
    assert len(images) == 1 + 2 * (1 + 1 + 5)
    for attributes in images:
        kind, _, content = attributes['src'].partition(';base64,')
        assert attributes['alt']
        if attributes.get('loading') == 'lazy':
            assert is_picture(tmp_path / 'out' / attributes['src'])
        else:
            assert kind in ('data:image/png', 'data:image/jpeg')
            assert cv2.imdecode(np.frombuffer(base64.b64decode(content), np.uint8), cv2.IMREAD_COLOR) is not None


def is_picture(path: Path) -> bool:
    return cv2.imread(str(path)) is not None


def test_pictures_of_the_page_are_those_that_were_measured(tmp_path):
    write_report(toy(tmp_path), tmp_path / 'out')
    text = (tmp_path / 'out' / 'index.html').read_text('utf-8')
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', text)[1])

    photo = data['photos'][1]
    assert (photo['name'], photo['width'], photo['height']) == ('Toy: two', 128, 96)
    originals = {'LR': 'LR/twox4.png', 'bicubic': 'pictures/bicubic/Toy/two.png', 'a/s16': 'pictures/a_s16/Toy/two.png',
                 'b': 'pictures/b/Toy/two.png', 'ground truth': 'HR/two.png'}
    assert list(photo['pictures']) == list(originals)
    for label, file in photo['pictures'].items():
        assert np.array_equal(cv2.imread(str(tmp_path / 'out' / file)), cv2.imread(str(tmp_path / originals[label])))
    assert [metric['title'] for metric in data['metrics']] == ['PSNR', 'SSIM', 'LPIPS']
    assert photo['figures']['b'] == ['27.05', '0.7900', '0.1833']
    assert data['costs'] == dict.fromkeys(['a/s16', 'b'], {'parameters': '6,538,115', 'time': '2,490.0 ms (fp32)'}) | {
        'bicubic': {}}


def test_a_report_takes_the_place_of_an_earlier_one_and_touches_nothing_else(tmp_path):
    out = tmp_path / 'out'
    write_report(toy(tmp_path), out)
    (out / 'index_files' / '999').mkdir()
    (out / 'mine.txt').write_text('mine')
    write_report(build_report([tmp_path / 'run.json']), out)
    assert not (out / 'index_files').exists() and not (out / 'comparison.png').exists()
    assert (out / 'mine.txt').exists() and list(tmp_path.glob('.out-*')) == []


def test_points_lie_where_the_plot_has_them(report, tmp_path):
    spots = pareto_plot(tmp_path / 'pareto.png', report.runs, report.panels[:1])
    picture = cv2.imread(str(tmp_path / 'pareto.png'))
    height, width = picture.shape[:2]
    dots = [spot for spot in spots if spot.method != 'bicubic']
    assert len(dots) == 10
    for spot in dots:
        pixel = picture[round(spot.top * height), round(spot.left * width)]
        assert pixel.min() < 200, spot  # in the middle of its mark
    assert dots[0].text.startswith('ESRGAN: PSNR (dB) 24.45, parameters (millions) 16.7')


def test_seconds_in_pytorch_give_way_to_those_of_a_runtime(report):
    methods = [method.label for method in report.methods]
    titles = [panel.x_title for panel in pareto_panels(report.runs, report.methods, methods)]
    assert set(titles) == {'parameters (millions)'}
    assert pareto_panels(report.runs, report.methods, methods[2:]) == report.panels  # some have no other time


def test_the_page_fits_a_telephone(report):
    text = html_page(report)
    page = Page(text)

    viewport = {'name': 'viewport', 'content': 'width=device-width, initial-scale=1'}
    assert viewport in [meta for meta, _ in page.all('meta')]
    assert len(page.all('table')) == 4
    assert all(around[-1] == 'div.scroll' for _, around in page.all('table'))
    style = text[text.index('<style>'):text.index('</style>')]
    assert '.scroll { overflow-x: auto; }' in style and 'max-width: 100%' in style
    assert 'prefers-color-scheme: dark' in style


def test_rows_of_the_page_are_as_long_as_its_headers(report):
    text = html_page(report)
    for table in re.findall(r'<table>.*?</table>', text, re.DOTALL):
        columns = table[:table.index('</thead>')].count('<th scope')
        for block in re.findall(r'<tbody>.*?</tbody>', table, re.DOTALL):
            rows = re.findall(r'<tr>.*?</tr>', block, re.DOTALL)
            spans = re.findall(r'rowspan="(\d+)"', rows[0])
            assert all(int(span) == len(rows) for span in spans)
            for index, row in enumerate(rows):
                assert len(re.findall('<t[hd]', row)) + (len(spans) if index else 0) == columns


def test_names_are_text_and_never_markup(tmp_path):
    name = '<script>alert("x")</script>&amp;'
    text = html_page(build_report([write(tmp_path / 'run.json', evaluation([method(name, 25.0, 16)]))]))
    text = text.replace('<wbr>', '')
    assert '<script>alert' not in text and '&lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt;&amp;amp;' in text


def test_both_pages_have_all_tables_and_notes(report):
    markdown, page = markdown_page(report), html_page(report)
    for found in report.tables:
        assert f'## {found.title}' in markdown and f'<h2>{found.title}</h2>' in page
    for note in report.all_notes():
        assert f'- {note}' in markdown
    assert page.count('<li>') == len(report.all_notes()) and 'No pictures: say --images' in page
    assert 'comparison.png' not in markdown and '<h2>Comparison</h2>' not in page


def test_the_photo_and_the_part_with_most_detail_are_shown(tmp_path, monkeypatch):
    monkeypatch.setattr('basicsr_kd.report.crops._PHOTOS', 1)
    comparison, = toy(tmp_path).comparisons

    assert comparison.name == 'Toy: two' and comparison.box == (56, 24, 64)
    assert list(comparison.images) == ['LR', 'bicubic', 'a/s16', 'b', 'ground truth']
    truth = cv2.imread(str(tmp_path / 'HR' / 'two.png'))[:, :, ::-1]
    assert np.array_equal(comparison.images['ground truth'], truth)
    assert np.array_equal(comparison.part('ground truth'), truth[24:88, 56:120])
    assert (comparison.images['b'] == 20).all()
    lr = comparison.images['LR'][::4, ::4]  # every pixel of it four times, as it is
    assert np.array_equal(lr[:, :, ::-1], cv2.imread(str(tmp_path / 'LR' / 'twox4.png')))
    assert comparison.notes['b'] == '27.05 dB / 0.7900' and 'LR' not in comparison.notes


def test_the_part_keeps_out_of_the_border_that_the_figures_leave_out(tmp_path):
    content = write_pictures(tmp_path, ('a',))
    content['protocol']['border'] = 12
    report = build_report([write(tmp_path / 'run.json', content)], images=tmp_path / 'pictures')
    assert [found.box for found in report.comparisons] == [(52, 20, 64)] * 2  # (56, 24) has most, of 128x96 pixels


def test_a_long_name_may_break_after_what_joins_its_words(tmp_path):
    text = html_page(toy(tmp_path, ['net_a/s-16<x>']))
    assert '<figcaption>net_<wbr>a/<wbr>s-<wbr>16&lt;x&gt;<br>25.05 dB' in text


def test_of_several_seeds_the_first_is_shown(tmp_path):
    names = ('second', 'first')
    content = write_pictures(tmp_path, names)
    for index, row in enumerate(content['methods']):
        row['about'] = {'group': 'g', 'seed': 1 - index}
    found = build_report([write(tmp_path / 'run.json', content)], images=tmp_path / 'pictures').comparisons[0]
    assert list(found.images) == ['LR', 'g', 'ground truth'] and (found.images['g'] == 10).all()


def test_ground_truth_is_cut_to_what_was_measured(tmp_path):
    content = write_pictures(tmp_path, ('a',))
    path = tmp_path / 'HR' / 'two.png'
    cv2.imwrite(str(path), cv2.copyMakeBorder(cv2.imread(str(path)), 0, 3, 0, 2, cv2.BORDER_REPLICATE))
    report = build_report([write(tmp_path / 'run.json', content)], images=tmp_path / 'pictures')
    assert report.comparisons[0].images['ground truth'].shape == (96, 128, 3)


def test_a_method_without_pictures_is_left_out_and_said(tmp_path):
    content = write_pictures(tmp_path, ('a', 'b'))
    (tmp_path / 'pictures' / 'b' / 'Toy' / 'one.png').unlink()
    report = build_report([write(tmp_path / 'run.json', content)], images=tmp_path / 'pictures')
    assert 'b' not in report.comparisons[0].images
    assert any(note.startswith('Not among the pictures') and note.endswith(': b.') for note in report.left_out)


@pytest.mark.parametrize('fault, said', [
    ('no folder', 'is no folder. Expected the one that'),
    ('empty', 'does not have all images of any method, such as .*pictures/a/Toy/one.png'),
    ('no HR', 'HR does not exist. .* or leave out --images'),
    ('other HR', 'has no image one, which is in the set Toy'),
    ('size', 'two is 64x32 in a, and its ground truth 128x96'),
    ('broken', 'two.png cannot be read as an image'),
])
def test_pictures_that_do_not_fit_are_refused(tmp_path, fault, said):
    content = write_pictures(tmp_path, ('a',))
    pictures, two = tmp_path / 'pictures', tmp_path / 'pictures' / 'a' / 'Toy' / 'two.png'
    if fault == 'no folder':
        pictures = tmp_path / 'none'
    elif fault == 'empty':
        (pictures / 'a').rename(tmp_path / 'elsewhere')
    elif fault == 'no HR':
        (tmp_path / 'HR').rename(tmp_path / 'elsewhere')
    elif fault == 'other HR':
        (tmp_path / 'HR' / 'one.png').rename(tmp_path / 'HR' / 'ones.png')
        (tmp_path / 'LR' / 'onex4.png').rename(tmp_path / 'LR' / 'onesx4.png')
    elif fault == 'size':
        cv2.imwrite(str(two), np.zeros((32, 64, 3), np.uint8))
    else:
        two.write_bytes(two.read_bytes()[:60])
    with pytest.raises(ReportError, match=f'--images: .*{said}'):
        build_report([write(tmp_path / 'run.json', content)], images=pictures)


def test_the_comparison_wraps_and_its_labels_neither_meet_nor_leave(tmp_path, monkeypatch):
    names = ['bicubic', *(f'student_with_a_rather_long_name_of_its_own_{index}' for index in range(7))]
    comparisons = toy(tmp_path, names).comparisons
    drawn: list[Figure] = []

    class Canvas(FigureCanvasAgg):
        def print_png(self, *args, **kwargs):
            drawn.append(self.figure)
            super().print_png(*args, **kwargs)

    monkeypatch.setattr(figure_module, 'FigureCanvasAgg', Canvas)
    comparison_figure(tmp_path / 'out.png', comparisons, 'a title ' * 40, most=4)

    found, = drawn
    height, width = cv2.imread(str(tmp_path / 'out.png')).shape[:2]
    renderer = FigureCanvasAgg(found).get_renderer()
    axes = [one.get_window_extent(renderer) for one in found.axes]
    texts = [text.get_window_extent(renderer) for text in found.texts]
    texts += [text.get_window_extent(renderer) for one in found.axes for text in one.texts]
    assert len(axes) == 2 * (1 + 10)
    assert len({round(box.y0) for box in axes[1:11]}) == 3  # lines of 4, 4 and 2
    boxes = [*axes, *texts]
    for index, box in enumerate(boxes):
        assert 0 <= box.x0 and box.x1 <= width and 0 <= box.y0 and box.y1 <= height
        assert not any(box.overlaps(other) for other in boxes[index + 1:])


def test_what_nothing_beats_is_the_front():
    points = tuple(Point(name, name, x, y) for name, x, y in [
        ('dear', 9.0, 25.0), ('cheap', 1.0, 20.0), ('beaten', 5.0, 19.0), ('twin', 1.0, 18.0), ('middle', 4.0, 24.0),
        ('no better', 6.0, 24.0), ('bicubic', None, 30.0)])
    assert Panel('x', 'y', True, points).front() == [(1.0, 20.0), (4.0, 24.0), (9.0, 25.0)]
    assert Panel('x', 'y', False, points).front() == [(1.0, 18.0)]


def test_every_cost_meets_every_metric(report):
    assert [(panel.x_title, panel.y_title, panel.higher_is_better) for panel in report.panels] == [
        ('parameters (millions)', 'PSNR (dB)', True), ('measured seconds (fp32)', 'PSNR (dB)', True),
        ('parameters (millions)', 'LPIPS', False), ('measured seconds (fp32)', 'LPIPS', False)]
    points = {point.label: point for point in report.panels[1].points}
    assert points['bicubic'].x is None and points['bicubic'].y == pytest.approx(24.49)
    assert points['Student_16'].x == pytest.approx(2.49) and points['Student_16'].y_spread == pytest.approx(0.02)
    assert points['Student_16'].x_spread == pytest.approx((0.0747, 0.1494))


def test_without_lpips_or_seconds_their_panels_are_left_out(tmp_path):
    rows = [student(16, 0.3, 0, 25.0), student(32, 0.3, 0, 26.0)]
    for row in rows:
        row['speed'] = {}
        for found in row['scores'].values():
            del found['mean']['lpips']
    found = build_report([write(tmp_path / 'run.json', evaluation(rows))])
    assert [(panel.x_title, panel.y_title) for panel in found.panels] == [('parameters (millions)', 'PSNR (dB)')]


def test_the_plot_is_drawn(report, tmp_path):
    pareto_plot(tmp_path / 'pareto.png', report.runs, report.panels)
    assert np.ptp(cv2.imread(str(tmp_path / 'pareto.png'))) == 255


@pytest.mark.parametrize('wanted, expected', [
    ([0.9, 0.5, 0.1], [0.9, 0.5, 0.1]),
    ([0.5, 0.5], [0.55, 0.45]),
    ([0.9, 0.52, 0.5, 0.48, 0.1], [0.9, 0.6, 0.5, 0.4, 0.1]),
    ([1.0, 1.0], [1.0, 0.9]),
    ([0.0, 0.0, 0.0], [0.2, 0.1, 0.0]),
])
def test_names_move_apart_as_little_as_possible(wanted, expected):
    assert spread(wanted, 0.1) == pytest.approx(expected)


@pytest.mark.parametrize('upside_down', [False, True])
def test_names_beside_a_plot_do_not_hide_one_another(upside_down):
    figure = Figure(figsize=(6, 3))
    canvas, axes = FigureCanvasAgg(figure), figure.add_axes((0.1, 0.1, 0.5, 0.8))
    axes.set_ylim((30, 20) if upside_down else (20, 30))
    label_beside(axes, [(f'method {index}', 'black', 0.5, 25 + index / 100) for index in range(9)], gap=0.07)
    canvas.draw()

    boxes = [Text.get_window_extent(text, canvas.get_renderer()) for text in axes.texts]  # without their lines
    assert len(boxes) == 9
    assert not any(box.overlaps(other) for index, box in enumerate(boxes) for other in boxes[index + 1:])
    top = max(axes.texts, key=lambda text: Text.get_window_extent(text, canvas.get_renderer()).y0)
    assert top.get_text() == ('method 0' if upside_down else 'method 8')
