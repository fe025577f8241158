"""The report's page in a real browser, from a file: divider, keys, tables, plots, and that nothing scrolls sideways."""
from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest
from helpers.report import SIZES, evaluation, method, student, write, write_pictures

from basicsr_kd.report.report import build_report
from basicsr_kd.report.write import write_report
from basicsr_kd.utils.metric_names import METRICS

api = pytest.importorskip('playwright.sync_api', reason='playwright is missing: pip install "basicsr-kd[browser]"')
CHROMIUM = next(filter(None, map(shutil.which, ('chromium', 'chromium-browser', 'google-chrome'))), None)
pytestmark = pytest.mark.skipif(not CHROMIUM, reason='no Chromium or Chrome here: apt-get install chromium')
DESK, TELEPHONE = {'width': 1200, 'height': 900}, {'width': 390, 'height': 844}


@pytest.fixture(scope='module')
def browser():
    with api.sync_playwright() as playwright:
        # as root, which CI is, Chromium has no sandbox
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=['--no-sandbox'])
        yield browser
        browser.close()


@pytest.fixture
def look(browser):
    """Opens a page; at the end nothing may have been written to its console, asked of a network or gone wrong."""
    pages, said = [], []

    def open_page(folder: Path, size=DESK, **options):
        page = browser.new_page(viewport=size, **options)
        page.on('console', lambda message: said.append(message.text))
        page.on('pageerror', lambda error: said.append(str(error)))
        page.on('request', lambda request: said.append(request.url) if request.url.startswith('http') else None)
        page.on('requestfailed', lambda request: said.append(f'not there: {request.url}'))
        page.goto((folder / 'index.html').as_uri())
        pages.append(page)
        return page

    yield open_page
    for page in pages:
        page.close()
    assert not said


def report_in(folder: Path, content) -> Path:
    pictures = folder / 'pictures'
    report = build_report([write(folder / 'run.json', content)], images=pictures if pictures.is_dir() else None)
    write_report(report, folder / 'out')
    return folder / 'out'


@pytest.fixture(scope='module')
def toy(tmp_path_factory):
    folder = tmp_path_factory.mktemp('toy')
    content = write_pictures(folder, ('bicubic', 'teacher', 'a student'), size=(480, 640))
    content['methods'][1] |= {key: method('teacher', 26.0, 'teacher')[key] for key in ('complexity', 'speed')}
    content['methods'][2]['scores']['Toy']['images']['psnr']['two'] = 31.25
    return report_in(folder, content)


def shown(page):
    """The pictures under the divider, as they lie in the page: left and right."""
    page.wait_for_function('document.querySelectorAll(".layer img").length === 2')
    return page.evaluate("""['left', 'right'].map((side) => {
        const image = document.querySelector(`.layer.${side} img`);
        const {x, y, width, height} = image.getBoundingClientRect();
        return {alt: image.alt, src: image.src.split('/').slice(-2).join('/'), x, y, width, height};
    })""")


def wait_for(page, left, right):
    page.wait_for_function("""([left, right]) => document.querySelector('.layer.left img')?.alt === left
        && document.querySelector('.layer.right img')?.alt === right""", arg=[left, right])


def test_two_methods_lie_under_one_divider_at_full_size(look, toy):
    page = look(toy)
    left, right = shown(page)
    assert (left['alt'], right['alt']) == ('Toy: one: bicubic', 'Toy: one: a student')
    assert (left['width'], left['height']) == (right['width'], right['height']) == (640, 480)
    assert (left['x'], left['y']) == (right['x'], right['y'])


def test_the_divider_follows_the_pointer_and_the_keys(look, toy):
    page = look(toy)
    shown(page)
    page.locator('#photos').scroll_into_view_if_needed()
    stage, handle = page.locator('.stage').bounding_box(), page.locator('.divider')
    box = handle.bounding_box()
    page.mouse.move(box['x'] + box['width'] / 2, box['y'] + 30)
    page.mouse.down()
    page.mouse.move(stage['x'] + 0.25 * stage['width'], stage['y'] + 60, steps=4)
    page.mouse.up()
    assert handle.get_attribute('aria-valuenow') == '25'
    moved = handle.bounding_box()
    assert moved['x'] + moved['width'] / 2 == pytest.approx(stage['x'] + 0.25 * stage['width'], abs=1)
    assert edge(page) == pytest.approx(0.25 * stage['width'], abs=3)
    handle.focus()
    page.keyboard.press('ArrowRight')
    assert handle.get_attribute('aria-valuenow') == '27'


def edge(page) -> int:
    """Where in a screenshot the left method's shade (0) gives way to that of the right one (20)."""
    picture = cv2.imdecode(np.frombuffer(page.locator('.stage').screenshot(), np.uint8), cv2.IMREAD_COLOR)
    row = picture[picture.shape[0] // 4, :, 0]
    left, right = np.flatnonzero(row == 0), np.flatnonzero(row == 20)
    assert 10 < len(left) and 10 < len(right) and left.max() < right.min()
    return int(left.max() + right.min()) // 2


def test_zoom_and_pan_move_both_together(look, toy):
    page = look(toy, TELEPHONE)
    before, _ = shown(page)
    page.locator('#in').click()
    page.locator('.stage').scroll_into_view_if_needed()
    left, right = shown(page)
    assert left['width'] == right['width'] == pytest.approx(1.5 * 640)
    box = page.locator('.stage').bounding_box()
    page.mouse.move(box['x'] + 60, box['y'] + 60)
    page.mouse.down()
    page.mouse.move(box['x'] + 90, box['y'] + 60, steps=3)
    page.mouse.up()
    moved, other = shown(page)
    assert moved['x'] == other['x'] == pytest.approx(left['x'] + 30, abs=0.5)
    page.locator('#fit').click()
    assert shown(page)[0]['width'] == pytest.approx(box['width'], abs=1)
    page.keyboard.press('0')
    assert shown(page)[0]['width'] == before['width'] == 640


def test_keys_step_through_photos_and_methods(look, toy):
    page = look(toy)
    shown(page)
    for key, left, right in [('ArrowRight', 'two: bicubic', 'two: a student'), ('3', 'two: teacher', 'two: a student'),
                             ('Shift+Digit1', 'two: teacher', 'two: LR'), (']', 'two: teacher', 'two: bicubic'),
                             ('s', 'two: bicubic', 'two: teacher'), ('[', 'two: teacher', 'two: teacher'),
                             ('ArrowRight', 'one: teacher', 'one: teacher')]:
        page.keyboard.press(key)
        wait_for(page, f'Toy: {left}', f'Toy: {right}')
    page.select_option('#right', 'ground truth')
    wait_for(page, 'Toy: one: teacher', 'Toy: one: ground truth')
    page.locator('.strip a').nth(1).click()
    wait_for(page, 'Toy: two: teacher', 'Toy: two: ground truth')


def test_figures_of_both_stand_beside_with_the_better_one_bold(look, toy):
    page = look(toy)
    page.keyboard.press('ArrowRight')
    wait_for(page, 'Toy: two: bicubic', 'Toy: two: a student')
    psnr = page.locator('#figures tr', has_text='PSNR')
    assert psnr.inner_text().split() == ['PSNR', '↑', '25.05', '31.25']
    assert psnr.locator('.best').inner_text() == '31.25'
    page.select_option('#left', 'teacher')
    assert f'{SIZES["teacher"][0]:,}' in page.inner_text('#figures') and 'ms (fp32)' in page.inner_text('#figures')


def test_points_of_the_plot_tell_and_jump(look, toy):
    page = look(toy)
    shown(page)
    spot = page.locator('.plot a[data-method=teacher]').first
    spot.locator('i').hover()
    assert spot.get_attribute('aria-label').startswith('teacher: PSNR (dB) 26, parameters (millions) 16.7')
    assert page.evaluate('getComputedStyle(document.querySelector(".plot a[data-method=teacher]"), "::after").display'
                         ) == 'block'
    spot.locator('i').click()
    wait_for(page, 'Toy: one: teacher', 'Toy: one: a student')
    assert abs(page.locator('#photos').bounding_box()['y']) < 60


def test_tables_sort_with_what_is_missing_last(look, toy):
    page = look(toy)
    table = page.locator('table.sortable').first

    def names():
        return table.locator('tbody th').all_inner_texts()

    first = names()
    table.locator('thead button', has_text='PSNR').click()
    assert names() == ['a student', 'teacher', 'bicubic']
    table.locator('thead button', has_text='PSNR').click()
    assert names() == ['bicubic', 'teacher', 'a student'] and table.locator('[aria-sort=ascending]').count() == 1
    for _ in range(2):
        table.locator('thead button', has_text='parameters').click()
        assert names()[-1] == 'bicubic'
    table.locator('thead button', has_text='method').click()
    assert names() == sorted(first)


def crowded():
    """A report with all metrics, seeds, the paper's figures, many students and two sets."""
    rows = evaluation()['methods'] + [student(width, pruned, 0, 25.3) for width in (16, 32, 48)
                                      for pruned in (0.1, 0.2, 0.4, 0.6, 0.7) if (width, pruned) != (16, 0.5)]
    for row in rows:
        for scores in row['scores'].values():
            scores['mean'] |= {name: 12.3456 for name in METRICS if name not in ('fid', 'kid', 'tof', 'tlp')}
            scores['images'] |= {name: dict.fromkeys(scores['images']['psnr'], 12.3456) for name in scores['mean']}
    return evaluation(rows)


def sideways(page):
    return page.evaluate("""[document.documentElement, ...document.querySelectorAll('.scroll')]
        .filter((part) => part.scrollWidth > part.clientWidth).map((part) => part.innerText.slice(0, 40))""")


@pytest.mark.parametrize('javascript', [True, False])
def test_no_table_scrolls_sideways_on_a_desk(look, toy, tmp_path, javascript):
    for folder in (toy, report_in(tmp_path, crowded())):
        page = look(folder, java_script_enabled=javascript)
        assert page.locator('table').count() > 2 and not sideways(page)


@pytest.mark.parametrize('javascript', [True, False])
def test_the_page_does_not_scroll_sideways_on_a_telephone(look, toy, tmp_path, javascript):
    names = ['a_student_with_a_rather_long_name_of_its_own', 'Anotheronewithoutanythingbetween' * 2]
    for folder in (toy, report_in(tmp_path, write_pictures(tmp_path, names)), report_in(tmp_path / 'out', crowded())):
        page = look(folder, TELEPHONE, java_script_enabled=javascript)
        assert page.evaluate('document.documentElement.scrollWidth') == 390


def test_without_javascript_tables_plots_and_crops_are_there(look, toy):
    page = look(toy, java_script_enabled=False)
    assert not page.locator('#photos').is_visible()
    for selector in ('table', '.plot img', '.crops img', 'li'):
        assert page.locator(selector).first.is_visible()


def test_of_200_photos_only_what_is_looked_at_is_loaded(look, tmp_path):
    content = write_pictures(tmp_path, ('bicubic', 'a'), [f'photo{index}' for index in range(200)], size=(72, 80))
    page = look(report_in(tmp_path, content))
    shown(page)
    page.locator('#photos').scroll_into_view_if_needed()
    page.wait_for_timeout(300)
    loaded = page.evaluate('performance.getEntriesByType("resource").length')
    small = page.evaluate('[...document.querySelectorAll(".strip img")].filter((image) => image.complete).length')
    assert page.locator('.strip img').count() == 200 and 5 < small < 60 and loaded < 70
    page.keyboard.press('ArrowLeft')
    wait_for(page, 'Toy: photo199: bicubic', 'Toy: photo199: a')
    page.wait_for_function('document.querySelectorAll(".strip img")[199].complete')


def test_a_picture_that_is_gone_is_named(browser, toy, tmp_path):
    shutil.copytree(toy, tmp_path / 'copy')
    (tmp_path / 'copy' / 'index_files' / '000' / '1.png').unlink()
    page = browser.new_page()
    page.goto((tmp_path / 'copy' / 'index.html').as_uri())
    page.wait_for_selector('.fault:not([hidden])')
    assert '000/1.png' in page.inner_text('.fault')
    page.close()
