"""Shared by the tests of `basicsr-kd evaluate`: a set of three photos in the working directory, what is written."""
from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import pytest
import torch

SIZES = {'a': (140, 148), 'b': (128, 160), 'c': (148, 132)}  # of HR; LR is a quarter
SETS = ('--hr', 'Set/HR', '--lr', 'Set/LR')
B = ('--weights', 'bicubic')


def write_set() -> None:
    """Photos of smooth random colours, in `Set/HR` and `Set/LR`."""
    rng = np.random.default_rng(0)
    for name, (height, width) in SIZES.items():
        hr = cv2.resize(rng.integers(0, 256, (12, 12, 3), dtype=np.uint8), (width, height),
                        interpolation=cv2.INTER_CUBIC)
        lr = cv2.resize(hr, (width // 4, height // 4), interpolation=cv2.INTER_AREA)
        for kind, image in (('HR', hr), ('LR', lr)):
            Path('Set', kind).mkdir(parents=True, exist_ok=True)
            cv2.imwrite(f'Set/{kind}/{name}.png', image)


def written(name: str = 'out.json') -> dict:
    return json.loads(Path(name).read_text(), parse_constant=pytest.fail)


def files() -> set[str]:
    return {str(path) for path in Path().rglob('*') if path.is_file() and 'no_cache' not in path.parts}


def rewrite(path: str, change, ending: str | None = None) -> None:
    """Put something else in an image's place, perhaps of another file type."""
    image = change(cv2.imread(path))
    Path(path).unlink()
    assert cv2.imwrite(str(Path(path).with_suffix(ending or Path(path).suffix)), image)


def small_inception(weights: Path | None, device: str) -> torch.nn.Module:
    """In place of Inception, which takes too long here: 2048 projections of the image, made small."""
    assert weights == Path('inception.pth') and device == 'cpu'

    class Project(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.weight = torch.nn.Parameter(torch.randn(3 * 16 * 16, 2048, generator=torch.Generator().manual_seed(0)))

        def forward(self, image: torch.Tensor) -> list[torch.Tensor]:
            return [(torch.nn.functional.interpolate(image, (16, 16)).flatten(1) @ self.weight)[:, :, None, None]]
    return Project()
