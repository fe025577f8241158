"""For the tests of validation: options without a teacher, the set, and networks in the place of backbones."""
from __future__ import annotations

import copy
from typing import Any

import numpy as np
import torch
import torchvision
from basicsr.data import build_dataloader, build_dataset
from torch import nn

from basicsr_kd import options, preflight


def without_teacher(kd_opt: dict[str, Any]) -> dict[str, Any]:
    """The options of a run without teacher and discriminator."""
    opt = {key: value for key, value in copy.deepcopy(kd_opt).items() if key not in ('teacher', 'network_d')}
    for key in ('distill_opt', 'gan_opt', 'optim_d'):
        opt['train'].pop(key)
    return opt


def check(opt: dict[str, Any]) -> list[str]:
    """What is checked before a run creates anything; returns the warnings."""
    warnings = options.validate(opt, opt['is_train'])
    preflight.check(opt)
    return warnings


def loader(opt: dict[str, Any], **changes: Any) -> Any:
    """The validation set's, as BasicSR's train.py builds it."""
    section = {**opt['datasets']['val'], **changes}
    return build_dataloader(build_dataset(section), section)


class Board:
    """Stands in for TensorBoard's writer."""

    def __init__(self) -> None:
        self.scalars: dict[str, list[tuple[float, Any]]] = {}
        self.images: dict[tuple[str, Any], np.ndarray] = {}

    def add_scalar(self, tag: str, value: float, step: Any) -> None:
        self.scalars.setdefault(tag, []).append((value, step))

    def add_image(self, tag: str, image: np.ndarray, step: Any, dataformats: str) -> None:
        assert dataformats == 'HWC' and image.dtype == np.uint8
        self.images[tag, step] = image


def random_alexnet(name: str, weights: Any) -> dict[str, torch.Tensor]:
    """In the place of `metrics.backbones.backbone_state`: always the same."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(0)
        return torchvision.models.alexnet().state_dict()


class FlatInception(nn.Module):
    """In Inception's place: (n, 3, h, w) in, [(n, 2048, 1, 1)] out, random but always the same."""

    def __init__(self) -> None:
        super().__init__()
        self.pool = nn.AdaptiveAvgPool2d(8)
        self.linear = nn.Linear(3 * 8 * 8, 2048)

    def forward(self, images: torch.Tensor) -> list[torch.Tensor]:
        return [self.linear(self.pool(images).flatten(1)).relu()[..., None, None]]

    @classmethod
    def build(cls, weights: Any = None, device: Any = 'cpu') -> FlatInception:
        """As `metrics.fid.inception_network`."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            return cls().eval().to(device)
