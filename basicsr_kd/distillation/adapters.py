"""Adapters: the learnable 1x1 convolutions f_t between the student's and the teacher's channels."""
from __future__ import annotations

from collections.abc import Mapping

from torch import Tensor, nn


class FeatureAdapters(nn.Module):
    """One 1x1 convolution a layer: (n, c_student, h, w) to (n, c_teacher, h, w).

    Args:
        channels: For each of the student's module paths, its channels and those of the teacher's layer.
    """

    def __init__(self, channels: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        # a ModuleDict takes no dots in its keys
        self.convs = nn.ModuleDict({name.replace('.', '/'): nn.Conv2d(s, t, 1) for name, (s, t) in channels.items()})

    @property
    def names(self) -> list[str]:
        """The student's module paths."""
        return [name.replace('/', '.') for name in self.convs]

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Adapt the student's features, given and returned by module path."""
        return {name: self.of(name)(feature) for name, feature in features.items()}

    def of(self, name: str) -> nn.Module:
        """The adapter of one layer."""
        return self.convs[name.replace('.', '/')]
