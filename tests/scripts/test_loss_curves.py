"""scripts/loss_curves.py, without its trainings."""
from pathlib import Path

import loss_curves
import pytest
import yaml

ROOT = Path(__file__).parents[2]

LINE = ('2026-01-01 00:00:00,000 INFO: [loss_..][epoch:  0, iter:   1,{at:03d}, lr:(5.000e-04,)] [eta: 0:00:01, '
        'time (data): 0.1 (0.0)] l_g_pix: {pix:.4e} l_g_distill: 2.0e-03 l_g_gan: -1.0e-04 l_d_real: 1.0e-01 ')


def log(pixels: list[float], psnr: float) -> str:
    lines = [LINE.format(at=at, pix=pix) for at, pix in enumerate(pixels)]
    return '\n'.join(['INFO: Start training from epoch: 0, iter: 0', *lines,
                      f'Validation held_out\n\t # psnr_y: 20.0\n\t # psnr_y: {psnr}\tBest: 1.0 @ 3 iter'])


def test_runs_differ_in_format_and_seed_alone():
    runs = loss_curves.format_runs(yaml.safe_load((ROOT / loss_curves.OPTIONS).read_text()), 50)
    told = {run.name: (run.options['train'].pop('amp'), run.options['teacher'].pop('amp'),
                       run.options.pop('manual_seed')) for run in runs}
    assert told == loss_curves.FORMATS
    assert len({run.options.pop('name') for run in runs}) == len(runs)
    assert all(run.options == runs[0].options for run in runs)
    assert runs[0].iterations == 50 and runs[0].options['logger']['print_freq'] == 1
    assert (ROOT / runs[0].options['teacher']['path']).is_file()
    assert (ROOT / runs[0].options['path']['pretrain_network_d']).is_file()


def test_the_log_of_a_training_is_read():
    curves, psnr = loss_curves.read_log(log([0.5, 0.25], 21.5))
    assert curves == {'l_g_pix': {1000: 0.5, 1001: 0.25}, 'l_g_distill': {1000: 2e-3, 1001: 2e-3},
                      'l_g_gan': {1000: -1e-4, 1001: -1e-4}, 'l_d_real': {1000: 0.1, 1001: 0.1}}
    assert psnr == 21.5
    assert loss_curves.read_log('nothing') == ({}, None)


def test_means_are_of_the_last_half_and_curves_of_all(tmp_path):
    reference, other = [0.5] * 40, [0.7] * 20 + [0.55] * 20
    found = {'fp32': loss_curves.read_log(log(reference, 21.5)), 'bf16': loss_curves.read_log(log(other, 21.25))}

    first, second = loss_curves.rows(found)

    assert first['change']['l_g_pix'] == first['distance']['l_g_pix'] == 0
    assert second['mean']['l_g_pix'] == pytest.approx(0.55) and second['change']['l_g_pix'] == pytest.approx(0.1)
    assert second['distance']['l_g_pix'] == pytest.approx(0.125 / 0.5)  # from 0.2 to 0.05, over one mean of 20
    assert ' 0.55 (+10.00%; 25.00%) |' in loss_curves.table([first, second])
    loss_curves.plot(tmp_path / 'curves.png', found)
    assert (tmp_path / 'curves.png').stat().st_size > 10_000
