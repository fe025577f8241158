"""evaluation/sets.py and checks.py: which files belong together, and whether their contents and sizes do."""
from pathlib import Path

import cv2
import numpy as np
import pytest

from basicsr_kd.errors import BadImageError, EvaluationError
from basicsr_kd.evaluation.checks import check_measurable, check_sets
from basicsr_kd.evaluation.sets import ImageSet, pair_folders, read_pair


@pytest.fixture
def folder(tmp_path):
    """Makes a folder of images from their names and (height, width)."""
    def make(name: str, images: dict[str, tuple[int, int]] | list[str]) -> Path:
        (tmp_path / name).mkdir()
        for file in images:
            size = images[file] if isinstance(images, dict) else (4, 4)
            cv2.imwrite(str(tmp_path / name / file), np.full((*size, 3), len(file), np.uint8))
        return tmp_path / name
    return make


def paired(pairs) -> dict[str, str]:
    return {pair.name: pair.lr.name for pair in pairs}


@pytest.mark.parametrize(('hr', 'lr'), [
    pytest.param(['baby.png', 'bird.png'], ['baby.png', 'bird.png'], id='the same'),
    pytest.param(['baby.png', 'bird.bmp'], ['baby.jpg', 'bird.png'], id='other file types'),
    pytest.param(['baby.png', 'bird.png'], ['babyx4.png', 'birdx4.png'], id='DIV2K'),
    pytest.param(['baby.png', 'bird.png'], ['baby_LRBI_x4.png', 'bird_LRBI_x4.png'], id='with words'),
    pytest.param(['img_1_SRF_4_HR.png', 'img_2_SRF_4_HR.png'], ['img_1_SRF_4_LR.png', 'img_2_SRF_4_LR.png'],
                 id='SelfExSR'),
    pytest.param(['baby_GT.png', 'bird_GT.png'], ['baby.png', 'bird.png'], id='GT marked'),
    pytest.param(['baby_GT.png', 'bird_GT.png'], ['baby_GT.png', 'bird_GT.png'], id='both marked'),
    pytest.param(['1.png', '10.png', '100.png'], ['1x4.png', '10x4.png', '100x4.png'], id='numbers'),
    pytest.param(['a.png', 'a_b.png'], ['a_x4.png', 'a_b_x4.png'], id='one begins like the other'),
    pytest.param(['baby.png'], ['baby_kd_esrgan.png'], id='a single one'),
])
def test_names_pair(folder, hr, lr):
    pairs = pair_folders(folder('HR', hr), folder('LR', lr))

    assert [pair.hr.name for pair in pairs] == sorted(hr)
    assert paired(pairs) == {Path(name).stem: partner for name, partner in zip(hr, lr, strict=True)}


def test_many_names_pair_by_the_ending_that_all_share(folder):
    hr = [f'{index}.png' for index in range(300)]
    pairs = pair_folders(folder('HR', hr), folder('LR', [f'{index}_2x.png' for index in range(300)]))

    assert paired(pairs) == {str(index): f'{index}_2x.png' for index in range(300)}


def test_results_pair_each_by_their_own_ending(folder):
    hr, plain = folder('HR', ['a.png', 'b.png']), folder('plain', ['a.png', 'b.png'])
    marked = folder('marked', ['a_s16.png', 'b_s16.png'])

    pairs = pair_folders(hr, None, {'plain': plain, 's16': marked})

    assert [pair.lr for pair in pairs] == [None, None]
    assert [dict(pair.results) for pair in pairs] == [
        {'plain': plain / f'{name}.png', 's16': marked / f'{name}_s16.png'} for name in 'ab']


@pytest.mark.parametrize(('hr', 'lr', 'said'), [
    pytest.param(['a.png', 'b.png', 'c.png'], ['a.png', 'b.png'], "nothing in .*/LR for 'c'. Expected", id='missing'),
    pytest.param(['a.png', 'b.png'], ['ax4.png', 'bx4.png', 'cx4.png'], "nothing in .*/HR for 'cx4'. Expected",
                 id='one more'),
    pytest.param(['1.png'], ['10.png'], "for '1'; nothing in .*/HR for '10'", id='another number'),
    pytest.param(['cat.png'], ['cats.png'], "for 'cat'; nothing", id='another word'),
    pytest.param([f'{name}.png' for name in 'abcde'], [f'{name}.png' for name in 'vwxyz'],
                 "do not pair: nothing in .*/LR for 'a', 'b', 'c' and 2 more; nothing in .*/HR for 'v', 'w', 'x' and 2",
                 id='all'),
    pytest.param(['a.png', 'b.png'], ['a_x2.png', 'b_x4.png'], "for 'b'; nothing in .*/HR for 'b_x4'",
                 id='two endings'),
    pytest.param(['a.png', 'a.jpg'], ['a.png'], r'a\.jpg and a\.png have one name', id='twice'),
    pytest.param(['a.png'], [], 'There is no image in', id='empty'),
])
def test_names_that_do_not_pair_are_told_first_ones_first(folder, hr, lr, said):
    with pytest.raises(EvaluationError, match=said):
        pair_folders(folder('HR', hr), folder('LR', lr))


@pytest.fixture
def image_set(folder):
    """Makes a set from sizes (height, width) by name: of HR, of LR and of results."""
    def make(hr, lr=None, **results) -> ImageSet:
        folders = {name: folder(name, {f'{image}.png': size for image, size in sizes.items()})
                   for name, sizes in {'HR': hr, 'LR': lr, **results}.items() if sizes}
        finished = {name: folders[name] for name in results}
        pairs = pair_folders(folders['HR'], folders.get('LR'), finished)
        return ImageSet('some', folders['HR'], folders.get('LR'), pairs)
    return make


def test_the_scale_is_read_off_the_sizes_and_nothing_is_cut_that_fits(image_set):
    checked = check_sets([image_set({'a': (12, 24), 'b': (9, 9)}, {'a': (4, 8), 'b': (3, 3)})])

    assert checked.scale == 3 and not checked.cropped and not checked.skipped


def test_ground_truth_that_the_scale_does_not_divide_is_cut_at_its_end(image_set):
    one = image_set({'a': (43, 41), 'b': (40, 40)}, {'a': (10, 10), 'b': (10, 10)}, net={'a': (40, 40), 'b': (40, 40)})
    truth = np.arange(43 * 41 * 3, dtype=np.uint32).reshape(43, 41, 3).astype(np.uint8)
    cv2.imwrite(str(one.pairs[0].hr), truth)

    checked = check_sets([one])
    lr, hr = read_pair(checked.sets[0].pairs[0], checked.scale)

    assert checked.scale == 4 and checked.cropped == ['a']
    assert lr is not None and lr.shape == (10, 10, 3) and np.array_equal(hr, truth[:40, :40])


def test_a_small_image_is_cut_by_the_scale_of_the_set_and_not_by_its_own(image_set):
    one = image_set({'a': (40, 40), 'b': (19, 19), 'c': (7, 40)}, {'a': (10, 10), 'b': (4, 4), 'c': (1, 10)})

    checked = check_sets([one])

    assert checked.scale == 4 and checked.cropped == ['b', 'c']
    assert [read_pair(pair, checked.scale)[1].shape for pair in one.pairs] == [(40, 40, 3), (16, 16, 3), (4, 40, 3)]
    assert list(checked.sizes.values()) == [(40, 40), (16, 16), (4, 40)]


def test_a_single_image_tells_the_scale_by_whole_times(image_set):
    assert check_sets([image_set({'a': (19, 19)}, {'a': (4, 4)})]).scale == 4


@pytest.mark.parametrize(('metrics', 'needed'), [
    (['psnr'], 1), (['niqe', 'psnr'], 1), (['psnr', 'ssim'], 11), (['lpips', 'ssim', 'kid'], 32)])
def test_an_image_too_small_for_a_metric_is_named_before_anything_runs(image_set, metrics, needed):
    side = needed + 2 * 3
    sizes = {'a': (99, 99), 'b': (side, 50), 'c': (99, 50)}
    fits = check_sets([image_set(sizes)])
    sizes['b'] = (side - 1, 50)
    cv2.imwrite(str(fits.sets[0].pairs[1].hr), np.zeros((side - 1, 50, 3), np.uint8))

    check_measurable(fits, metrics, border=3)
    with pytest.raises(EvaluationError, match=rf'HR/b\.png is 50x{side - 1} pixels, of which 3 on each side are left '
                                              rf'out. Expected at least {needed}x{needed} to be left for'):
        check_measurable(check_sets(fits.sets), metrics, border=3)


def test_what_is_left_of_a_cut_image_counts(image_set):
    checked = check_sets([image_set({'a': (11, 11)}, {'a': (5, 5)})])
    assert checked.sizes[checked.sets[0].pairs[0].hr] == (10, 10)
    with pytest.raises(EvaluationError, match='is 10x10 pixels'):
        check_measurable(checked, ['ssim'], border=0)


@pytest.mark.parametrize(('metrics', 'sizes', 'said'), [
    (['fid'], [(70, 130)], 'FID needs at least 2 images, found 1'),
    (['fid'], [(70, 130)] * 2, None),
    (['kid'], [(70, 130)] * 2, 'KID needs at least 3 images of two patches of 64x64 pixels, found 2'),
    (['kid'], [(70, 130)] * 3, None),
    (['kid'], [(70, 130), (70, 130), (70, 127)], 'KID needs at least 3 images .*, found 2'),
    (['kid', 'fid'], [(70, 130)], 'FID needs .* found 1; KID needs .* found 1'),
    (['kid', 'fid'], [(70, 130)] * 2, None),
    (['kid', 'psnr'], [(70, 130)], None),
])
def test_sets_too_small_for_all_that_is_asked_for_are_refused(image_set, metrics, sizes, said):
    checked = check_sets([image_set({str(number): size for number, size in enumerate(sizes)})])
    if said is None:
        check_measurable(checked, metrics, border=4)
        return
    with pytest.raises(EvaluationError, match=f'There is nothing to measure: {said}'):
        check_measurable(checked, metrics, border=4)


@pytest.mark.parametrize(('sizes', 'said'), [
    pytest.param([{'a': (40, 40), 'b': (40, 40), 'c': (40, 40)}, {'a': (20, 20), 'b': (10, 10), 'c': (10, 10)}],
                 r'a\.png is 40x40 and .*a\.png 20x20. Expected the first to be 4 times', id='the first is odd'),
    pytest.param([{'a': (40, 40), 'b': (40, 48)}, {'a': (10, 10), 'b': (10, 10)}],
                 r'b\.png is 48x40 and .*b\.png 10x10', id='width'),
    pytest.param([{'a': (43, 43)}, {'a': (11, 11)}], r'is 43x43 and .* 11x11', id='rounded up'),
    pytest.param([{'a': (10, 10)}, {'a': (40, 40)}], 'the ground truth, to be the larger one', id='swapped'),
    pytest.param([{'a': (40, 40)}, {'a': (10, 10)}, {'a': (40, 44)}],
                 r'net/a\.png is 44x40. Expected 40x40, 4 times the size of .*LR/a\.png', id='result'),
    pytest.param([{'a': (43, 43)}, {'a': (10, 10)}, {'a': (43, 43)}], r'43x43. Expected 40x40', id='result not cut'),
    pytest.param([{'a': (43, 43)}, None, {'a': (40, 40)}],
                 r'40x40. Expected 43x43, the size of .*HR/a\.png; with --lr', id='result without LR'),
])
def test_sizes_that_do_not_fit_are_told_with_file_and_sizes(image_set, sizes, said):
    with pytest.raises(EvaluationError, match=said):
        check_sets([image_set(*sizes[:2], **({'net': sizes[2]} if len(sizes) > 2 else {}))])


@pytest.mark.parametrize('bad', ['HR', 'LR', 'net'])
def test_an_image_with_a_bad_file_ends_the_check_or_is_left_out_for_all(image_set, tmp_path, bad):
    sizes = {'a': (40, 40), 'b': (40, 40)}
    one = image_set(sizes, {'a': (10, 10), 'b': (10, 10)}, net=sizes)
    file = tmp_path / bad / 'b.png'
    file.write_bytes(file.read_bytes()[:40])

    with pytest.raises(BadImageError, match=f'{bad}/b.png cannot be read'):
        check_sets([one])
    checked = check_sets([one], skip_bad=True)

    assert [pair.name for pair in checked.sets[0].pairs] == ['a'] and checked.scale == 4
    assert list(checked.skipped) == [str(file)] and 'cannot be read' in checked.skipped[str(file)]


def test_a_set_of_which_nothing_is_left_is_refused(image_set, tmp_path):
    one = image_set({'a': (8, 8)}, {'a': (4, 4)})
    (tmp_path / 'LR/a.png').write_text('nothing')

    with pytest.raises(EvaluationError, match=r'No image of .*HR is left. .*LR/a\.png cannot be read'):
        check_sets([one], skip_bad=True)
