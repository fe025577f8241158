"""Weights of backbones: the right file from the right place, or an error that says what to do. Nothing is fetched."""
from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch
import torchvision
from basicsr.archs.inception import FID_WEIGHTS_URL
from helpers.backbones import accept, random_backbone

from basicsr_kd.errors import BackboneError, MetricError
from basicsr_kd.metrics import backbones
from basicsr_kd.metrics.backbones import KNOWN, backbone_state
from basicsr_kd.metrics.fid import inception_network
from basicsr_kd.metrics.lpips import lpips_network


@pytest.fixture
def cache(tmp_path, monkeypatch) -> Path:
    """PyTorch's cache of downloads: an empty folder that is not there yet."""
    monkeypatch.setenv('TORCH_HOME', str(tmp_path / 'home'))
    monkeypatch.setattr(torch.hub, '_hub_dir', None)
    return tmp_path / 'home/hub/checkpoints'


@pytest.fixture
def published(tmp_path, monkeypatch) -> Path:
    """A published file of weights, at an address that needs no network."""
    (tmp_path / 'web').mkdir()
    path = tmp_path / 'web/weights-of-a-net.pth'
    torch.save({'features.0.weight': torch.rand(4)}, path)
    accept(monkeypatch, 'alexnet', path)
    monkeypatch.setitem(KNOWN, 'alexnet', dataclasses.replace(KNOWN['alexnet'], url=path.as_uri()))
    return path


def assert_names_both_ways_out(message: str, cache: Path) -> None:
    url = KNOWN['alexnet'].url
    assert f'access to {url}, or download' in message
    assert f'put it at {cache / url.rpartition("/")[2]}' in message
    assert 'weights: PATH' in message and '--lpips-weights PATH' in message


def test_addresses_are_those_that_torchvision_and_pytorch_fid_publish():
    models = torchvision.models
    assert KNOWN['alexnet'].url == models.AlexNet_Weights.IMAGENET1K_V1.url
    assert KNOWN['vgg16'].url == models.VGG16_Weights.IMAGENET1K_V1.url
    assert KNOWN['squeezenet1_1'].url == models.SqueezeNet1_1_Weights.IMAGENET1K_V1.url
    assert KNOWN['inception'].url == FID_WEIGHTS_URL
    for backbone in KNOWN.values():
        assert backbone.url.endswith(f'-{backbone.sha256}.pth') and len(backbone.sha256) == 8


def test_weights_come_from_a_path_else_from_the_cache_else_from_their_address(published, cache, monkeypatch):
    wanted = torch.load(published, weights_only=True)['features.0.weight']

    assert torch.equal(backbone_state('alexnet', str(published))['features.0.weight'], wanted)
    assert not cache.exists()
    assert torch.equal(backbone_state('alexnet')['features.0.weight'], wanted)
    assert [path.name for path in cache.iterdir()] == [published.name]
    monkeypatch.setattr(torch.hub, 'download_url_to_file', None)  # calling it would fail
    assert torch.equal(backbone_state('alexnet')['features.0.weight'], wanted)


def test_without_network_and_path_the_error_gives_both_ways_out(published, cache):
    published.unlink()

    with pytest.raises(BackboneError, match='alexnet are not on this machine and cannot .*No such') as error:
        backbone_state('alexnet')

    assert_names_both_ways_out(str(error.value), cache)
    assert isinstance(error.value, MetricError)


def test_a_path_without_file_is_told_and_nothing_is_downloaded_instead(published, cache, tmp_path):
    with pytest.raises(BackboneError, match='no file .*elsewhere.pth') as error:
        backbone_state('alexnet', tmp_path / 'elsewhere.pth')

    assert_names_both_ways_out(str(error.value), cache)
    assert not cache.exists()


@pytest.mark.parametrize('place', ['path', 'cache'])
def test_another_file_is_refused_wherever_it_lies(published, cache, tmp_path, place):
    path = tmp_path / 'mine.pth' if place == 'path' else cache / published.name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(published.read_bytes()[:-1])  # a download that broke off
    found = hashlib.sha256(path.read_bytes()).hexdigest()[:8]

    with pytest.raises(BackboneError, match=f'{path} does not .* begins with {found}, expected '
                                            f'{KNOWN["alexnet"].sha256}') as error:
        backbone_state('alexnet', path if place == 'path' else None)

    assert_names_both_ways_out(str(error.value), cache)


def test_a_download_of_another_file_is_not_kept(published, cache):
    published.write_bytes(b'a login page')

    with pytest.raises(BackboneError, match='cannot be downloaded .invalid hash value'):
        backbone_state('alexnet')

    assert not list(cache.iterdir())


@pytest.mark.parametrize(('name', 'build'), [
    ('squeezenet1_1', lambda path: lpips_network('squeeze', path)), ('inception', inception_network)])
def test_a_network_is_built_once_from_the_file_and_leaves_random_numbers_alone(tmp_path, monkeypatch, name, build):
    accept(monkeypatch, name, random_backbone(name, tmp_path / 'net.pth'))
    monkeypatch.setattr(backbones, '_cached', None)
    before = torch.get_rng_state()

    network = build(tmp_path / 'net.pth')

    assert torch.equal(torch.get_rng_state(), before)
    assert build(tmp_path / 'net.pth') is network
    assert not any(module.training for module in network.modules())
    assert not any(parameter.requires_grad for parameter in network.parameters())
