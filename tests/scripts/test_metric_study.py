"""scripts/metric_study.py: what it calls worse, and its tables on small networks."""
from __future__ import annotations

import re

import cv2
import metric_study
import pytest
import torch
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from metric_study import is_worse, ladder, main

from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.utils.images import sample_photo


@pytest.mark.parametrize(('name', 'first', 'second', 'expected'), [
    ('psnr', 30, 29, True), ('psnr', 29, 30, False), ('mdsi', 0.1, 0.2, True), ('gmsd', 0.2, 0.1, False),
    ('texture', 0.9, 1.2, True), ('texture', 1.3, 0.9, False), ('psnr', 30, 30, False)])
def test_which_figure_is_the_worse_one(name, first, second, expected):
    assert is_worse(name, first, second) is expected


def test_a_table_counts_photos_that_get_worse_at_each_step():
    steps = {'1': {'psnr': [30, 40.0]}, '2': {'psnr': [29, 41]}, '3': {'psnr': [28, 20]}}
    assert [cell.strip() for cell in ladder('blur', steps).splitlines()[-1].strip('|').split('|')] == [
        'PSNR', '35.00', '35.00', '24.00', '1 of 2']


def test_all_tables_are_made(tmp_path, monkeypatch, capsys):
    torch.manual_seed(0)
    write_checkpoint(tmp_path / 'net.pth', SRVGGNetCompact(num_feat=64, num_conv=4).state_dict())
    photos = tmp_path / 'in'
    photos.mkdir()
    for name, sigma in (('a', 0.5), ('b', 1)):
        cv2.imwrite(str(photos / f'{name}.png'), cv2.GaussianBlur(sample_photo()[:212, :220], (0, 0), sigma))
    monkeypatch.setattr(metric_study, 'RATIOS', (0.2, 0.5))
    monkeypatch.setattr(metric_study, 'NAMES', ('psnr', 'texture'))
    main(['--weights', str(tmp_path / 'net.pth'), '--photos', str(photos), '--output', str(tmp_path / 'out'),
          '--num', '2'])
    output = capsys.readouterr().out
    heads = re.findall(r'^\| (blur of|JPEG of|noise of|pruned by|degraded)', output, re.MULTILINE)
    assert heads == ['blur of', 'JPEG of', 'noise of', 'pruned by', 'degraded'] and 'nan' not in output
    blur = next(line for line in output.splitlines() if line.startswith('| PSNR'))
    assert blur.rstrip(' |').endswith('2 of 2')
