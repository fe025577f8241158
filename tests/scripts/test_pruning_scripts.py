"""scripts/bench_pruning.py and scripts/pruning_quality.py, on tiny networks."""
import json
from pathlib import Path

import bench_pruning
import numpy as np
import pruning_quality
import pytest
import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from common.measure import QualityError, read_set
from studies.pruning_cases import (
    Case,
    Judge,
    judge_case,
    quality_tables,
)

from basicsr_kd.checkpoint import write_checkpoint


@pytest.fixture(scope='module')
def small_file(tmp_path_factory) -> Path:
    """An RRDBNet that widths in steps of 16 leave something of."""
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp('small') / 'small.pth'
    write_checkpoint(path, RRDBNet(3, 3, num_feat=32, num_block=2, num_grow_ch=16).state_dict())
    return path


def bench(*arguments: str | Path) -> None:
    bench_pruning.main([*map(str, arguments), '--lr-size', '8', '--turns', '2'])


def test_bench_compares_every_network_with_the_unpruned_one(small_file, tmp_path, capsys):
    bench('--weights', small_file, '--layouts', 'growth', 'blocks', '--ratios', '0.3', '--round-to', '4', '16',
          '--cost-layouts', 'growth', '--output', tmp_path / 'bench')

    result = json.loads((tmp_path / 'bench/results.json').read_text())
    unpruned, *pruned = result['networks']
    assert [row['name'] for row in pruned] == ['growth 0.3, round_to 4', 'growth 0.3, round_to 16', 'blocks 0.3']
    assert unpruned['mac_ratio'] == 1 and unpruned['fp32']['time_ratio'] == [1, 1, 1]
    assert all(0 < row['mac_ratio'] < 1 and row['params'] < unpruned['params'] for row in pruned)
    assert np.shape(result['seconds']['fp32']) == (2, 4)
    assert result['pruning'][0]['layout'] == 'growth' and result['pruning'][0]['seconds'] > 0
    text = (tmp_path / 'bench/table.md').read_text()
    assert text in capsys.readouterr().out
    assert 'input 1x3x8x8, channels_last' in text and 'with round_to 16: ' in text


def test_bench_leaves_out_what_the_network_or_the_machine_cannot_do(small_file, tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(bench_pruning, 'fast_formats', lambda device: ['fp32'])

    bench('--weights', small_file, '--layouts', 'growth', '--ratios', '0.99', '--round-to', '16', '--cost-layouts',
          '--output', tmp_path)

    captured = capsys.readouterr()
    assert 'growth 0.99, round_to 16 is left out: prune: ratio 0.99' in captured.out + captured.err
    assert 'bf16 is left out: PyTorch has no fast bf16 on this CPU' in captured.out
    result = json.loads((tmp_path / 'results.json').read_text())
    assert [row['name'] for row in result['networks']] == ['unpruned'] and list(result['seconds']) == ['fp32']


def test_bench_tells_why_a_network_cannot_run_in_a_format(small_file, tmp_path, capsys, monkeypatch):
    def forward(self, image):
        if torch.is_autocast_enabled('cpu'):
            raise RuntimeError('not implemented for BFloat16')
        return FORWARD(self, image)
    FORWARD = RRDBNet.forward
    monkeypatch.setattr(RRDBNet, 'forward', forward)
    arguments = ('--weights', small_file, '--layouts', 'growth', '--ratios', '0.3', '--round-to', '16',
                 '--cost-layouts', '--output', tmp_path)

    monkeypatch.setattr(bench_pruning, 'fast_formats', lambda device: ['fp32', 'bf16'])
    bench(*arguments)
    said = 'bf16 is left out: unpruned cannot run in it: RuntimeError: not implemented for BFloat16'
    assert said in capsys.readouterr().out
    assert list(json.loads((tmp_path / 'results.json').read_text())['seconds']) == ['fp32']

    monkeypatch.setattr(bench_pruning, 'fast_formats', lambda device: ['bf16'])
    with pytest.raises(SystemExit, match='bench_pruning: nothing is left to time'):
        bench(*arguments)
    assert said in capsys.readouterr().out


def test_bench_says_where_time_does_not_follow_macs():
    rows = [{'name': f'n{i}', 'mac_ratio': 0.7, 'default': default, 'fp32': {'time_ratio': [0, ratio, 1]}}
            for i, (ratio, default) in enumerate([(0.74, True), (0.8, True), (0.9, False)])]

    assert bench_pruning.claim(rows, ['fp32']) == (
        'Time ratio <= MAC ratio + 0.05 with round_to 16: 1 of 2; not n1 in fp32 (+0.100).')


def test_bench_refuses_a_missing_file(tmp_path):
    with pytest.raises(SystemExit, match='bench_pruning: Checkpoint .* does not exist'):
        bench('--weights', tmp_path / 'none.pth')


@pytest.fixture
def quality(image_pairs, teacher_file, tmp_path):
    """Run the script on the tiny teacher; returns the content of results.json."""
    def run(*arguments: str | Path) -> dict:
        pruning_quality.main([
            '--sets', f'tiny={image_pairs / "HR"},{image_pairs / "LRx4"}', '--calibration', str(image_pairs / 'LRx4'),
            '--num', '2', '--size', '16', '--round-to', '1', '--teacher', str(teacher_file),
            '--output', str(tmp_path / 'quality'), '--layouts', 'growth', 'blocks', 'unstructured',
            '--importances', 'l2', 'fpgm', 'random', *map(str, arguments)])
        return json.loads((tmp_path / 'quality/results.json').read_text())
    return run


def test_quality_measures_every_case_and_shows_refused_ones_as_dashes(quality, tmp_path):
    result = quality('--ratios', '0.3')

    rows = result['rows']
    assert len(rows) == 2 * (3 + 2 + 3)
    assert len(rows['teacher: growth random 0.3']['psnr_by_seed']) == 3
    assert len({row['tiny'] for row in rows['teacher: unstructured random 0.3']['psnr_by_seed']}) == 3
    assert rows['teacher: growth l2 0.3']['params_left'] == pytest.approx(0.7, abs=0.02)
    assert rows['teacher: blocks least 0.3']['macs_left'] < 1
    assert all('refused' in rows[f'teacher: {case}']
               for case in ('unstructured fpgm 0.3', 'unstructured l2 0.3 reconstruct'))
    assert rows['teacher: blocks last 0.3 reconstruct']['psnr']['tiny'] > 0
    text = (tmp_path / 'quality/table.md').read_text()
    assert f'teacher on tiny, PSNR (dB); unpruned {result["unpruned"]["teacher"]["tiny"]:.2f} dB' in text
    line = next(line for line in text.splitlines() if line.startswith('| unstructured, fpgm'))
    assert [cell.strip() for cell in line.split('|')[2:5]] == ['-', '-', '-']
    assert '- l2: above random in ' in text and 'importance fpgm ranks whole channels' in text


def test_quality_goes_on_where_it_was_and_takes_more_in(quality, tmp_path, monkeypatch):
    before = quality('--ratios', '0.3', '--layouts', 'growth')['rows']
    measured = []
    monkeypatch.setattr(pruning_quality, 'judge_case',
                        lambda case, *rest: measured.append(case.key) or judge_case(case, *rest))
    torch.manual_seed(1)
    write_checkpoint(tmp_path / 'other.pth',
                     SRVGGNetCompact(3, 3, num_feat=8, num_conv=2, upscale=4, act_type='prelu').state_dict())

    result = quality('--ratios', '0.3', '0.4', '--layouts', 'growth', '--importances', 'l2',
                     '--weights', tmp_path / 'other.pth')

    assert {key: result['rows'][key] for key in before} == before
    assert measured == ['teacher: growth l2 0.4', 'teacher: growth l2 0.4 reconstruct'] + [
        f'other: growth l2 {ratio}{end}' for ratio in (0.3, 0.4) for end in ('', ' reconstruct')]
    assert 'other on tiny, PSNR (dB); against its own unpruned output' in (tmp_path / 'quality/table.md').read_text()
    with pytest.raises(SystemExit, match='holds results of other settings .num: 2 before, 3 now'):
        quality('--num', '3')


def test_a_network_is_perfect_by_its_own_output(image_pairs):
    pairs = read_set(image_pairs / 'HR', image_pairs / 'LRx4')
    net = RRDBNet(3, 3, num_feat=8, num_block=1, num_grow_ch=4)

    judge = Judge({'tiny': pairs}, net, 'cpu')

    assert judge.psnr(net) == {'tiny': float('inf')}
    assert judge_case(Case('x', 'growth', 'l1', 1.5, False), net, torch.rand(1, 3, 8, 8), 1, judge)['refused']


@pytest.mark.parametrize(('hr', 'lr', 'message'), [
    ('HR', 'none', 'are no pairs of images'), ('HR', 'HR', 'Expected HR of 4 times the size')])
def test_folders_that_are_no_pairs_are_refused(image_pairs, hr, lr, message):
    with pytest.raises(QualityError, match=message):
        read_set(image_pairs / hr, image_pairs / lr)


def test_quality_explains_what_sets_look_like(quality):
    with pytest.raises(SystemExit, match='pruning_quality: --sets Set5 is not of the form NAME=HRDIR,LRDIR'):
        quality('--sets', 'Set5')


def test_the_table_has_a_line_a_way_and_columns_a_ratio():
    rows = [{'network': 'n', 'layout': layout, 'choice': choice, 'ratio': ratio, 'reconstruct': reconstruct,
             'psnr': {'S': psnr}, 'params_left': 1 - ratio}
            for layout, choice, ratio, reconstruct, psnr in [
                ('growth', 'l2', 0.5, False, 20), ('growth', 'l2', 0.1, False, 30), ('growth', 'l2', 0.1, True, 31),
                ('blocks', 'last', 0.1, False, 25), ('growth', 'random', 0.1, False, 29)]]

    assert quality_tables(rows, {'n': {'S': 33}}) == """n on S, PSNR (dB); unpruned 33.00 dB

| layout, importance | 0.1: left | plain | refitted | 0.5: left | plain | refitted |
| ------------------ | --------: | ----: | -------: | --------: | ----: | -------: |
| growth, l2         |    90.0 % | 30.00 |    31.00 |    50.0 % | 20.00 |        - |
| growth, random     |    90.0 % | 29.00 |        - |         - |     - |        - |
| blocks, last       |    90.0 % | 25.00 |        - |         - |     - |        - |

- l2: above random in 1 of 1 cases, median +1.00 dB, least +1.00 dB"""
