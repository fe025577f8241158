"""scripts/demo_realesrgan.py: what it tests on, which trainings it takes and what they differ in."""
from __future__ import annotations

import copy
from pathlib import Path

import cv2
import demo_realesrgan
import numpy as np
import pytest
import torch
import yaml
from basicsr.archs.srresnet_arch import MSRResNet
from basicsr.archs.srvgg_arch import SRVGGNetCompact
from demo_realesrgan import main, plan, prepare
from msgspec import convert

from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.evaluation.schema import About
from basicsr_kd.options import validate

ROOT = Path(__file__).parents[2]
HELD_OUT, CALIBRATION = 3, 2



@pytest.fixture(scope='module')
def files(tmp_path_factory) -> tuple[Path, Path, Path]:
    """A small SRVGGNetCompact, noise as photos, and what was prepared of them with one further set."""
    folder = tmp_path_factory.mktemp('realesrgan')
    torch.manual_seed(0)
    write_checkpoint(folder / 'net.pth', SRVGGNetCompact(num_feat=32, num_conv=4).state_dict())
    rng = np.random.default_rng(0)
    photos = folder / 'photos'
    photos.mkdir()
    for index in range(HELD_OUT + CALIBRATION + 2):
        cv2.imwrite(str(photos / f'{index}.jpg'), rng.integers(0, 256, (120, 96, 3), np.uint8))
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(demo_realesrgan, 'HELD_OUT', HELD_OUT)
        patch.setattr(demo_realesrgan, 'CALIBRATION', CALIBRATION)
        prepare(photos, [f'more={photos}'], folder / 'data')
    return folder / 'net.pth', photos, folder / 'data'


@pytest.fixture(scope='module')
def planned(files, tmp_path_factory):
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setattr(demo_realesrgan, 'RESULTS', tmp_path_factory.mktemp('results'))
        return plan(*files, 100)


@pytest.fixture
def runs(planned):
    return {run.name: copy.deepcopy(run.options) for run in planned}


def names(folder: Path) -> set[str]:
    return {path.stem for path in folder.iterdir()}


def test_nothing_that_is_trained_on_is_tested_on(files):
    _, photos, data = files
    trained = {line.partition('.')[0] for line in (data / 'train.txt').read_text().splitlines()}
    held_out = names(data / 'held_out' / 'HR')
    assert len(held_out) == HELD_OUT and names(data / 'held_out' / 'LRx4') == held_out
    assert not trained & held_out and trained | held_out == names(photos) == names(data / 'more' / 'LRx4')
    looked_at = names(data / 'calibration' / 'LRx4')
    assert len(looked_at) == CALIBRATION and looked_at <= trained


def test_a_set_that_was_left_half_made_is_made_again(files, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    monkeypatch.setattr(demo_realesrgan, 'HELD_OUT', HELD_OUT)
    made = []

    def degrade(arguments: list[str]) -> None:
        made.append(arguments[arguments.index('--output') + 1])
        Path(made[-1]).mkdir(exist_ok=True)
        if len(made) == 1:
            raise KeyboardInterrupt

    monkeypatch.setattr(demo_realesrgan.degrade_images, 'main', degrade)
    with pytest.raises(KeyboardInterrupt):
        prepare(files[1], [], tmp_path)
    for _ in range(2):
        prepare(files[1], [], tmp_path)
    assert len(made) == 3 and made[0] == made[1]
    assert (tmp_path / 'held_out').is_dir() and (tmp_path / 'calibration').is_dir()


def test_its_options_are_valid_and_the_last_alone_has_a_discriminator(runs, files):
    assert list(runs) == ['pruned_0.3', 'pruned_0.5', 'half_distilled', 'half_alone', 'half_distilled_gan']
    for name, options in runs.items():
        options = yaml.safe_load(yaml.safe_dump(options))
        assert validate({**options, 'is_train': True}, True) == []
        last = name == 'half_distilled_gan'
        assert ('network_d' in options, 'gan_opt' in options['train'], 'optim_d' in options['train']) == (last,) * 3
        assert options['datasets']['train']['dataroot_gt'] == str(files[1])


def test_the_one_with_a_discriminator_goes_on_from_the_distilled_one(planned):
    distilled, _, gan = planned[2:]
    assert gan.options['path']['pretrain_network_g'] == str(distilled.weights) and gan.about['iterations'] == 50
    assert gan.options['train']['distill_opt'] == distilled.options['train']['distill_opt']


def test_the_report_takes_its_tags(planned):
    assert [convert(run.about, About).pruned for run in planned] == [0.3, 0.5, None, None, None]


def test_pruned_networks_start_from_their_files(runs):
    for name in ('pruned_0.3', 'pruned_0.5'):
        file = runs[name]['path']['pretrain_network_g']
        assert Path(file).is_file() and runs[name]['network_g']['like'] == file
        assert [term['type'] for term in runs[name]['train']['distill_opt']] == ['ResponseDistillLoss']


def test_the_halves_differ_in_the_lessons_alone(runs):
    distilled, alone = (runs[f'half_{name}'] for name in ('distilled', 'alone'))
    assert distilled['student'] == alone['student'] and distilled['network_g'] == alone['network_g']
    kinds = [term['type'] for term in distilled['train'].pop('distill_opt')]
    assert kinds == ['ResponseDistillLoss', 'FeatureDistillLoss'] and 'distill_opt' not in alone['train']
    weights = [one['train']['pixel_opt'].pop('loss_weight') for one in (distilled, alone)]
    assert weights == [0.1, 1.0]
    assert distilled.pop('name') != alone.pop('name') and distilled == alone


def test_a_network_of_another_kind_is_told_before_anything_is_trained(files, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    write_checkpoint(tmp_path / 'net.pth', MSRResNet(num_feat=4, num_block=1).state_dict())
    with pytest.raises(SystemExit, match='is no SRVGGNetCompact'):
        main(['--weights', str(tmp_path / 'net.pth'), '--photos', str(files[1])])


def test_a_folder_without_photos_is_told_before_anything_is_trained(files, tmp_path, monkeypatch):
    monkeypatch.chdir(ROOT)
    with pytest.raises(SystemExit, match='demo_realesrgan: no photo'):
        main(['--weights', str(files[0]), '--photos', str(tmp_path)])
