"""Table and picture of the results."""
import re

import numpy as np
import pytest
from PIL import Image

from basicsr_kd.report import Comparison, busiest_box, comparison_figure, markdown_table
from basicsr_kd.report import figure as figure_module


def test_a_table_is_aligned_markdown():
    text = markdown_table(['method', 'PSNR'], [['bicubic', '28.43'], ['student', '9.1']])

    assert text.splitlines() == [
        '| method  |  PSNR |',
        '| ------- | ----: |',
        '| bicubic | 28.43 |',
        '| student |   9.1 |',
    ]


def test_a_row_with_a_missing_cell_is_named():
    with pytest.raises(ValueError, match=re.escape("Expected 2 cells a row, as in the header ['a', 'b'], got ['x']")):
        markdown_table(['a', 'b'], [['x']])


def test_the_busiest_box_is_where_the_baseline_is_wrong():
    truth = np.zeros((40, 60, 3), np.uint8)
    baseline = truth.copy()
    baseline[24:32, 44:52] = 255

    left, top, side = busiest_box(truth, baseline, 8)

    assert (left, top, side) == (44, 24, 8)


def test_the_busiest_box_stays_inside_the_image():
    truth = np.zeros((16, 16, 3), np.uint8)
    baseline = truth.copy()
    baseline[-1, -1] = 255

    left, top, side = busiest_box(truth, baseline, 8)

    assert 0 <= left <= 16 - side and 0 <= top <= 16 - side


@pytest.mark.parametrize('border, expected', [(0, (0, 0, 8)), (4, (4, 4, 8)), (5, (0, 0, 8))])
def test_the_busiest_box_keeps_out_of_the_border_where_the_image_allows(border, expected):
    truth = np.zeros((17, 20, 3), np.uint8)
    baseline = truth.copy()
    baseline[:6, :6] = 255

    assert busiest_box(truth, baseline, 8, border) == expected  # 17 pixels have room for 8 + 2 * 4


@pytest.mark.parametrize('label, lines', [
    ('student_8_without_distillation', ['student_8_without_', 'distillation']),
    ('networks/kd-esrgan-s16-first-run', ['networks/kd-esrgan-s16-', 'first-run']),
    ('Student of 16 features_seed0', ['Student of 16 features_', 'seed0']),
    ('one_line of 26/characters_', ['one_line of 26/characters_']),
    ('a_word_longerthanallthatfitsintoaline', ['a_word_longerthanallthatfi', 'tsintoaline']),
    ('student_of_a_name_that_takes_up_more_than_two_lines', ['student_of_a_name_that_', 'takes_up_more_than_two_…']),
])
def test_names_break_between_their_words(label, lines):
    assert figure_module._fit(label, 192) == lines


def row(**changes) -> Comparison:
    """Methods painted in one colour each, so that the picture can be searched for them."""
    images = {label: np.full((32, 48, 3), colour, np.uint8)
              for label, colour in [('bicubic', (200, 10, 10)), ('student', (10, 200, 10)), ('truth', (10, 10, 200))]}
    return Comparison(**{'images': images, 'box': (4, 8, 16), 'notes': {'bicubic': '28.43 dB'}} | changes)


def test_the_picture_shows_every_method_pixel_by_pixel(tmp_path):
    checkers = (np.indices((32, 48)).sum(axis=0) % 2 * 255).astype(np.uint8)[..., None].repeat(3, axis=2)
    picture = tmp_path / 'comparison.png'

    comparison_figure(picture, [row(images={'bicubic': checkers, 'truth': checkers})], 'title', panel=64)

    shown = np.asarray(Image.open(picture).convert('RGB'))
    wanted = checkers[8:24, 4:20].repeat(4, axis=0).repeat(4, axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(shown[..., 0], (64, 64))
    found = (windows == wanted[..., 0]).all(axis=(2, 3)).sum()
    assert found == 2  # once for each method


def test_the_picture_has_one_panel_a_method_and_the_whole_photo(tmp_path):
    picture = tmp_path / 'comparison.png'

    comparison_figure(picture, [row(), row()], 'title', panel=64)

    shown = np.asarray(Image.open(picture).convert('RGB'))
    for colour, panels in [((200, 10, 10), 2), ((10, 200, 10), 2)]:
        assert (shown == colour).all(axis=2).sum() == panels * 64 * 64
    assert (shown == (10, 10, 200)).all(axis=2).sum() > 2 * 64 * 64  # the truth, enlarged and whole


@pytest.mark.parametrize('changes, message', [
    ({'box': (40, 8, 16)}, 'Expected a box inside the image'),
    ({'images': {'a': np.zeros((8, 8, 3), np.uint8), 'b': np.zeros((8, 4, 3), np.uint8)}}, 'Expected images of one'),
])
def test_a_row_that_does_not_fit_is_refused(tmp_path, changes, message):
    with pytest.raises(ValueError, match=message):
        comparison_figure(tmp_path / 'comparison.png', [row(**changes)], 'title')


def test_a_picture_of_nothing_is_refused(tmp_path):
    with pytest.raises(ValueError, match='at least one row'):
        comparison_figure(tmp_path / 'comparison.png', [], 'title')
