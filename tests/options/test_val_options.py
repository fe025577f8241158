"""The section `val:`: what is refused before a run creates anything, and what is filled in."""
from __future__ import annotations

import pytest
from helpers.entry import run_python, write_options
from helpers.validation import check, without_teacher

from basicsr_kd.errors import OptionsError

LPIPS = {'type': 'calculate_lpips', 'crop_border': 4}


@pytest.fixture
def opt(kd_opt):
    return without_teacher(kd_opt)


def test_defaults_are_filled_in(opt):
    opt['val'] = {'val_freq': 2, 'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 4}, 'lpips': dict(LPIPS),
                                             'fid': {'type': 'calculate_fid'}, 'kid': {'type': 'calculate_kid'},
                                             'niqe': {'type': 'calculate_niqe', 'crop_border': 4}}}
    assert check(opt) == []
    ours = {'better': 'lower', 'weights': None}
    assert opt['val'] == {
        'val_freq': 2, 'tile': 0, 'tile_overlap': 16, 'pictures': 0, 'amp': 'fp32', 'suffix': None, 'save_img': False,
        'pbar': False,
        'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 4, 'input_order': 'HWC', 'test_y_channel': False,
                             'better': 'higher'}, 'lpips': LPIPS | ours | {'net': 'alex'},
                    'fid': ours | {'type': 'calculate_fid'}, 'kid': ours | {'type': 'calculate_kid', 'patch': 64},
                    'niqe': {'type': 'calculate_niqe', 'crop_border': 4, 'input_order': 'HWC', 'convert_to': 'y',
                             'better': 'lower'}}}


@pytest.mark.parametrize(('changes', 'words'), [
    ({'tile': '192'}, ['val.tile', "'192'", 'a whole number']),
    ({'tile': -1}, ['val.tile', '-1', '>= 0']),
    ({'tile_overlap': 1.5}, ['val.tile_overlap', '1.5']),
    ({'pictures': True}, ['val.pictures', 'True']),
    ({'metrics': {'n': {'type': 'calculate_niqe', 'crop_border': 4, 'better': 'higher'}}},
     ['val.metrics.n.better', "'higher'", 'lower']),
    ({'tiles': 192}, ['val.tiles', "'tile'"]),
    ({'metric': {}}, ['val.metric', "'metrics'"]),
    ({'metrics': ['calculate_psnr']}, ['val.metrics', 'a section']),
    ({'metrics': {'lpips': {'type': 'calculate_lpips'}}}, ['val.metrics.lpips.crop_border is missing']),
    ({'metrics': {'lpips': LPIPS | {'net': 'alexnet'}}}, ['val.metrics.lpips.net', "'alexnet'", 'alex, vgg, squeeze']),
    ({'metrics': {'lpips': LPIPS | {'weigths': 'a.pth'}}}, ['val.metrics.lpips.weigths', "'weights'"]),
    ({'metrics': {'lpips': LPIPS | {'better': 'higher'}}}, ['val.metrics.lpips.better', "'higher'", 'lower']),
    ({'metrics': {'lpips': LPIPS | {'weights': 'no/a.pth'}}}, ['val.metrics.lpips.weights', 'does not exist']),
    ({'metrics': {'d': {'type': 'calculate_fid', 'crop_border': 4}}}, ['val.metrics.d.crop_border', 'unknown key']),
    ({'metrics': {'d': {'type': 'calculate_kid', 'patch': 0}}}, ['val.metrics.d.patch', '0']),
    ({'metrics': {'p': {'type': 'calculate_psnr', 'crop_border': 4, 'better': 'hihger'}}},
     ['val.metrics.p.better', "'hihger'", 'Possible: higher, lower']),
    ({'metrics': {'d': {'type': 'calculate_lpip'}}}, ['val.metrics.d.type', "'calculate_lpip'", "'calculate_lpips'"]),
    ({'metrics': {'d': {'type': 'Calculate_FID'}}}, ['val.metrics.d.type', "'calculate_fid'"]),
    ({'metrics': {'d': {'type': 'sharpness'}}}, ['val.metrics.d.type', 'possible: ', 'calculate_kid']),
])
def test_a_mistake_is_one_error_that_names_key_and_possibilities(opt, changes, words):
    opt['val'].update(changes)
    with pytest.raises(OptionsError) as caught:
        check(opt)
    for word in words:
        assert word in str(caught.value), str(caught.value)


def test_a_metric_nobody_knows_ends_the_run_with_status_2_before_anything_is_created(kd_opt, tmp_path):
    opt = without_teacher(kd_opt)
    opt['val']['metrics'] = {'lpips': {'type': 'calculate_lpisp', 'crop_border': 4}}
    file = write_options(tmp_path / 'kd.yml', opt)
    result = run_python('-m', 'basicsr_kd.train', '-opt', file, cwd=tmp_path)
    assert result.returncode == 2
    assert result.stderr.strip() == ("basicsr_kd: val.metrics.lpips.type: found 'calculate_lpisp'; did you mean "
                                     "'calculate_lpips'?")
    assert [path.name for path in tmp_path.iterdir()] == ['kd.yml']
