"""Images that do not decode, in training and in validation."""
from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest
import torch
from basicsr.data import build_dataloader, build_dataset
from helpers.entry import run_python, write_options
from helpers.models import batch, start

from basicsr_kd.errors import TrainingError
from basicsr_kd.runs import signals


def write_pairs(folder: Path, count: int, broken: tuple[int, ...] = (), side: int = 32) -> dict[str, str]:
    """Pairs, of which some have ground truth with a header alone: what a header says they pass."""
    rng = np.random.default_rng(0)
    for kind, factor in (('HR', 4), ('LR', 1)):
        (folder / kind).mkdir(parents=True)
        for index in range(count):
            image = rng.integers(0, 255, (factor * side, factor * side, 3), np.uint8)
            content = cv2.imencode('.png', image)[1].tobytes()
            if kind == 'HR' and index in broken:
                content = content[:60] + bytes(len(content) - 60)
            (folder / kind / f'{index}.png').write_bytes(content)
    return {'dataroot_gt': str(folder / 'HR'), 'dataroot_lq': str(folder / 'LR')}


@pytest.fixture(autouse=True)
def no_signal(monkeypatch):
    monkeypatch.setattr(signals, '_asked', None)


def test_another_image_comes_in_its_place_and_it_is_named_once(kd_opt, tmp_path, log):
    kd_opt['datasets']['train'].update(write_pairs(tmp_path / 'data', 4, broken=(1, 2)), max_bad_images=2)
    model = start(kd_opt)
    dataset = build_dataset({**kd_opt['datasets']['train'], 'type': 'NamedPairedImageDataset'})
    named = [dataset[index]['broken'].splitlines() for index in range(4)]
    at = {Path(pair['gt_path']).stem: number for number, pair in enumerate(dataset.paths)}
    assert sorted(path for lines in named for path in set(lines)) and not named[at['0']] and not named[at['3']]
    for number in range(4):
        model.feed_data({**batch(number), 'broken': [dataset[number]['broken'], '']})
        model.optimize_parameters(number + 1)
    said = [line for line in log if 'cannot be read as an image; another takes its place' in line]
    assert sorted(Path(line.split()[0]).name for line in said) == ['1.png', '2.png']


def test_one_more_than_may_pass_and_the_run_saves_and_ends(kd_opt, tmp_path):
    kd_opt['datasets']['train']['max_bad_images'] = 1
    model = start(kd_opt)
    for iteration, broken in enumerate(['a.png', 'a.png'], start=1):
        model.feed_data({**batch(iteration), 'broken': [broken, '']})
        model.optimize_parameters(iteration)
    model.feed_data({**batch(3), 'broken': ['', 'b.png\na.png']})
    with pytest.raises(TrainingError, match=r'b.png cannot be read, like 1 before it.* is 1. .*Iteration 3 is saved'):
        model.optimize_parameters(3)
    assert Path(kd_opt['path']['models'], 'net_g_3.pth').is_file()
    assert Path(kd_opt['path']['training_states'], '3.state').is_file()


def test_other_errors_of_a_data_set_go_on(kd_opt, tmp_path, monkeypatch):
    kd_opt['datasets']['train'].update(write_pairs(tmp_path / 'data', 2))
    dataset = build_dataset({**kd_opt['datasets']['train'], 'type': 'NamedPairedImageDataset', 'gt_size': 'x'})
    with pytest.raises(TypeError):
        dataset[0]


def test_a_run_with_workers_ends_in_a_line(kd_opt, tmp_path):
    kd_opt['datasets']['train'].update(write_pairs(tmp_path / 'data', 3, broken=(0, 1)), num_worker_per_gpu=1)
    kd_opt['train']['total_iter'] = 50
    del kd_opt['datasets']['val'], kd_opt['val']
    options = write_options(tmp_path / 'kd.yml', kd_opt)
    result = run_python('-m', 'basicsr_kd.train', '-opt', options, cwd=tmp_path)
    assert result.returncode == 1 and 'Traceback' not in result.stderr
    last = result.stderr.strip().splitlines()[-1]
    assert last.startswith('basicsr_kd: ') and 'cannot be read, like' in last
    assert list((tmp_path / 'experiments' / 'tiny' / 'models').glob('net_g_*.pth'))


def test_in_validation_it_is_left_out_by_name(kd_opt, tmp_path, log):
    kd_opt['datasets']['val'].update(write_pairs(tmp_path / 'val', 3, broken=(1,)))
    model = start(kd_opt)
    dataset = build_dataset({**kd_opt['datasets']['val'], 'type': 'NamedPairedImageDataset'})
    loader = build_dataloader(dataset, kd_opt['datasets']['val'], num_gpu=0, dist=False, seed=0)
    model.validation(loader, 2, None)
    assert any('HR/1.png cannot be read as an image and is left out' in line for line in log)
    assert model.metric_results['psnr'] > 0


def test_an_image_too_small_for_a_metric_does_not_make_the_mean_a_nan(kd_opt, tmp_path, log):
    data = write_pairs(tmp_path / 'val', 2)
    for kind, side in (('HR', 16), ('LR', 4)):
        cv2.imwrite(str(tmp_path / 'val' / kind / '1.png'), np.zeros((side, side, 3), np.uint8))
    kd_opt['datasets']['val'].update(data)
    kd_opt['val']['metrics'] = {'ssim': {'type': 'calculate_ssim', 'crop_border': 4}}
    model = start(kd_opt)
    dataset = build_dataset({**kd_opt['datasets']['val'], 'type': 'NamedPairedImageDataset'})
    model.validation(build_dataloader(dataset, kd_opt['datasets']['val'], num_gpu=0, dist=False, seed=0), 2, None)
    assert torch.isfinite(torch.tensor(model.metric_results['ssim']))
    assert any('ssim' in line and '1 of 2 images' in line for line in log)
