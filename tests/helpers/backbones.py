"""Files of random weights that stand in for the published ones of a metric's backbone."""
from __future__ import annotations

import dataclasses
import hashlib
from pathlib import Path

import pytest
import torch
import torchvision
from torch import nn

from basicsr_kd.metrics import backbones


def random_features(name: str) -> nn.Module:
    """The part of a torchvision classifier that LPIPS needs, with random weights."""
    if name == 'vgg16':  # without the classifier, which takes seconds to fill
        return torchvision.models.vgg.make_layers(torchvision.models.vgg.cfgs['D'])
    return getattr(torchvision.models, name)(weights=None).features


def random_backbone(name: str, path: Path) -> Path:
    """Write weights of the names and shapes that the published file has; their features are of a sensible size."""
    if name == 'inception':
        net = torchvision.models.inception_v3(weights=None, num_classes=1008, aux_logits=False, init_weights=False)
    else:
        net = nn.ModuleDict({'features': random_features(name)})
    for parameter in net.parameters():
        if parameter.ndim == 4:
            nn.init.kaiming_normal_(parameter, nonlinearity='relu')
    torch.save(net.state_dict(), path)
    return path


def accept(monkeypatch: pytest.MonkeyPatch, name: str, path: Path) -> None:
    """Make a file the one that the backbone's SHA-256 asks for."""
    digest = hashlib.sha256(path.read_bytes()).hexdigest()
    monkeypatch.setitem(backbones.KNOWN, name, dataclasses.replace(backbones.KNOWN[name], sha256=digest[:8]))
