"""The cosine perceptual loss against a plain re-computation, on a VGG19 of random weights."""
from __future__ import annotations

import urllib.error

import numpy as np
import pytest
import torch
import torchvision
from basicsr.losses import build_loss

from basicsr_kd.errors import BackboneError
from basicsr_kd.losses import CosinePerceptualLoss


@pytest.fixture(autouse=True)
def random_vgg(monkeypatch):
    """In the place of torchvision's, whose weights are a download; a quarter of its widths."""
    monkeypatch.setattr('basicsr.archs.vgg_arch.VGG_PRETRAIN_PATH', 'nowhere.pth')
    monkeypatch.setattr('basicsr.archs.vgg_arch.vgg.vgg19', lambda pretrained: narrow_vgg())


def narrow_vgg() -> torchvision.models.VGG:
    widths = [16, 16, 'M', 32, 32, 'M', *[64] * 4, 'M', *[128] * 4, 'M', *[128] * 4, 'M']
    return torchvision.models.VGG(torchvision.models.vgg.make_layers(widths), num_classes=1, init_weights=True)


def images(seed: int) -> torch.Tensor:
    return torch.rand(2, 3, 32, 32, generator=torch.Generator().manual_seed(seed))


def test_it_is_the_sum_over_layers_of_one_minus_the_cosine():
    loss = build_loss({'type': 'CosinePerceptualLoss', 'loss_weight': 0.2})
    found, style = loss(images(0), images(1))
    expected = 0.0
    features = [images(0), images(1)]
    mean, std = torch.tensor([0.485, 0.456, 0.406]), torch.tensor([0.229, 0.224, 0.225])
    features = [(image - mean.view(1, 3, 1, 1)) / std.view(1, 3, 1, 1) for image in features]
    for index, layer in enumerate(loss.vgg.vgg_net):
        features = [layer(feature) for feature in features]
        if index in (8, 17, 26, 35):  # relu2_2, relu3_4, relu4_4, relu5_4 of torchvision's VGG19
            left, right = (feature.numpy().astype(np.float64) for feature in features)
            lengths = np.sqrt((left**2).sum(1)) * np.sqrt((right**2).sum(1))
            expected += 1 - ((left * right).sum(1) / np.maximum(lengths, 1e-8)).mean()
    assert style is None
    assert found.item() == pytest.approx(0.2 * expected, rel=1e-4)


def test_the_length_of_features_does_not_count_and_equal_images_cost_nothing():
    loss = CosinePerceptualLoss()
    assert loss(images(0), images(0))[0].item() == pytest.approx(0, abs=1e-6)
    loss.vgg.vgg_net = torch.nn.Sequential()  # the image itself would be compared
    loss.vgg.forward = lambda image: dict.fromkeys(loss.layers, image)
    assert loss(3 * images(0), images(0))[0].item() == pytest.approx(0, abs=1e-6)
    assert loss(-images(0), images(0))[0].item() == pytest.approx(0.2 * 4 * 2)


def test_only_the_output_gets_a_gradient():
    loss = CosinePerceptualLoss(layers=['relu2_2'])
    output, gt = images(0).requires_grad_(), images(1).requires_grad_()
    loss(output, gt)[0].backward()
    assert output.grad.abs().sum() > 0 and gt.grad is None
    assert all(parameter.grad is None for parameter in loss.parameters())


def test_without_vggs_weights_the_error_says_where_they_belong(monkeypatch):

    def offline(pretrained):
        raise urllib.error.URLError('no network')

    monkeypatch.setattr('basicsr.archs.vgg_arch.vgg.vgg19', offline)
    with pytest.raises(BackboneError, match=r'no network.*experiments/pretrained_models/vgg19-dcbb9e9d\.pth'):
        CosinePerceptualLoss()


def test_an_unknown_layer_is_told():
    with pytest.raises(ValueError, match=r"layers are \['relu9_9'\], expected names such as relu2_2"):
        CosinePerceptualLoss(layers=['relu9_9'])
