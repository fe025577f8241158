"""Adapters: the learnable 1x1 convolutions f_t between the student's and the teacher's channels."""
from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.distributed as dist
from torch import Tensor, nn

RIDGE = 1e-4
"""Weight of the penalty on an adapter's weights when it is fitted, relative to the mean squares of its inputs."""


class FeatureAdapters(nn.Module):
    """One 1x1 convolution for each layer: (n, c_student, h, w) to (n, c_teacher, h, w).

    Args:
        channels: For each of the student's module paths, the student's and the teacher's number of channels.
    """

    def __init__(self, channels: Mapping[str, tuple[int, int]]) -> None:
        super().__init__()
        # a ModuleDict takes no dots in its keys
        self.convs = nn.ModuleDict({name.replace('.', '/'): nn.Conv2d(s, t, 1) for name, (s, t) in channels.items()})

    @torch.no_grad()
    def fit(self, name: str, student: Tensor, teacher: Tensor) -> None:
        """Set an adapter to the least-squares map from the student's features to the teacher's.

        All processes of a distributed run get the same map, fitted to all their features together.

        Args:
            name: The student's module path.
            student: The student's features (n, c_student, h, w).
            teacher: The teacher's features (n, c_teacher, h, w).
        """
        inputs, wanted = (features.detach().double().movedim(1, -1).flatten(0, -2) for features in (student, teacher))
        inputs = torch.cat([inputs, inputs.new_ones(len(inputs), 1)], 1)  # the last column is for the bias
        gram, moments = inputs.T @ inputs, inputs.T @ wanted
        if dist.is_available() and dist.is_initialized():
            for part in (gram, moments):
                dist.all_reduce(part)
        gram.diagonal().add_(RIDGE * gram.diagonal().mean())
        solution = torch.linalg.solve(gram, moments).to(self.of(name).weight)
        self.of(name).load_state_dict({'weight': solution[:-1].T[:, :, None, None], 'bias': solution[-1]})

    @property
    def names(self) -> list[str]:
        """The student's module paths."""
        return [name.replace('/', '.') for name in self.convs]

    def forward(self, features: Mapping[str, Tensor]) -> dict[str, Tensor]:
        """Adapt the student's features; takes and returns them by module path."""
        return {name: self.of(name)(feature) for name, feature in features.items()}

    def of(self, name: str) -> nn.Conv2d:
        """The adapter of one layer."""
        conv = self.convs[name.replace('.', '/')]
        assert isinstance(conv, nn.Conv2d)
        return conv
