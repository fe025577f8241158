"""Feature distillation between two networks: taps on both, adapters between them, a loss for each term."""
from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr_kd.distillation.adapters import FeatureAdapters
from basicsr_kd.distillation.layers import default_pairs, pair_layers
from basicsr_kd.distillation.taps import FeatureTaps
from basicsr_kd.errors import LayerError, TapError


@dataclass(frozen=True)
class DistillTerm:
    """One loss over some layers.

    Attributes:
        loss: A `basicsr_kd.losses.distill_loss.DistillLoss`.
        layers: As for `distillation.layers.pair_layers`; None: as many of `distillation.layers.default_pairs` as the
            loss takes, or the outputs if it compares outputs.
        depth_match: As for `pair_layers`.
        fit_adapters: Whether its adapters start as the least-squares map of the first features, not at random.
    """
    loss: nn.Module
    layers: Sequence[str] | Mapping[str, str] | None = None
    depth_match: str = 'exact'
    fit_adapters: bool = False


class Distiller:
    """Taps, adapters and losses of a student and a frozen teacher.

    The caller runs the student inside `with distiller.student:` and the teacher inside `with distiller.teacher:` (under
    `no_grad`), then asks for `loss_terms()`.

    If the maps of a pair differ in size by a whole factor, the larger one is first averaged over that many pixels: an
    RRDBNet of scale 2, for example, works at half the resolution of its input, and an SRVGGNetCompact does not.

    Args:
        student: The bare student network, before DistributedDataParallel.
        teacher: The bare teacher network.
        terms: The losses and their layers.
        image: A low-resolution probe (n, c, h, w) on the networks' device; content does not matter, size hardly.
        border: Pixels at each edge of the outputs that no loss looks at.

    Attributes:
        student: The student's taps.
        teacher: The teacher's taps.
        pairs: For each term the layers that it compares, in student and teacher; '' is the output.
        adapters: The learnable 1x1 convolutions of all terms; may be replaced by a wrapped version of itself.
        to_fit: The adapters that are still to be fitted to the first features.

    Raises:
        LayerError: A layer matches nothing, a network needs layers to be named, or the sizes of maps do not fit.
        TapError: A tapped module does not give a single (n, c, h, w) tensor.
    """

    def __init__(self, student: nn.Module, teacher: nn.Module, terms: Sequence[DistillTerm], image: Tensor,
                 border: int = 0) -> None:
        self._border = border
        self._losses = [term.loss for term in terms]
        self.pairs = [_pairs(term, student, teacher) for term in terms]
        self.student = FeatureTaps(student, [s for pairs in self.pairs for s, _ in pairs])
        self.teacher = FeatureTaps(teacher, [t for pairs in self.pairs for _, t in pairs])
        student_shapes, teacher_shapes = self.student.probe(image), self.teacher.probe(image)
        self.to_fit: list[str] = []
        channels: dict[str, tuple[int, int]] = {}
        for i, (term, pairs) in enumerate(zip(terms, self.pairs, strict=True)):
            for s, t in pairs:
                left, right = student_shapes[s], teacher_shapes[t]
                if left[2:] != right[2:] and not (s and _multiples(left[2:], right[2:])):
                    raise LayerError(f'the feature maps of the student at {s or "its output"} and of the teacher at '
                                     f'{t or "its output"} differ in size: {left[2]}x{left[3]} and '
                                     f'{right[2]}x{right[3]} for the same image; choose layers at the same resolution, '
                                     'or at one that is a multiple of the other')
                if not s and left[1] != right[1]:
                    raise LayerError(f'the student gives {left[1]} colours, the teacher {right[1]}')
                if term.loss.adapts:
                    channels[f'{i}.{s}'] = (left[1], right[1])
                    if term.fit_adapters:
                        self.to_fit.append(f'{i}.{s}')
        self._adapters = FeatureAdapters(channels).to(image.device)
        self.adapters: nn.Module = self._adapters

    @property
    def has_adapters(self) -> bool:
        """Whether there is anything to learn; DistributedDataParallel takes no module without parameters."""
        return bool(self._adapters.names)

    def adapter_parameters(self, term: int) -> list[nn.Parameter]:
        """The parameters of the adapters of the term with this number; none if its loss takes no adapters."""
        if not self._losses[term].adapts:
            return []
        return [p for s, _ in self.pairs[term] for p in self._adapters.of(f'{term}.{s}').parameters()]

    def loss_terms(self) -> list[Tensor]:
        """The weighted loss of each term from the features of the last passes of student and teacher.

        Raises:
            TapError: A student's feature has no gradient.
        """
        student, teacher = self.student.take(), self.teacher.take()
        frozen = next((name for name, feature in student.items() if not feature.requires_grad), None)
        if frozen is not None and torch.is_grad_enabled():
            raise TapError(f'the student\'s {frozen or "output"} carries no gradient, so it could not learn from the '
                           'teacher; is it frozen, or inside torch.utils.checkpoint with use_reentrant=True (use '
                           'use_reentrant=False)?')
        compared = {f'{i}.{s}': _at_one_size(student[s], teacher[t]) if s else self._inside(student[s], teacher[t])
                    for i, pairs in enumerate(self.pairs) for s, t in pairs}
        while self.to_fit:
            name = self.to_fit.pop()
            self._adapters.fit(name, *compared[name])
        features = {name: own for name, (own, _) in compared.items()}
        features |= self.adapters({name: features[name] for name in self._adapters.names})
        return [
            loss([features[f'{i}.{s}'] for s, _ in pairs], [compared[f'{i}.{s}'][1] for s, _ in pairs])
            for i, (loss, pairs) in enumerate(zip(self._losses, self.pairs, strict=True))
        ]

    def _inside(self, *outputs: Tensor) -> tuple[Tensor, ...]:
        border = self._border
        return tuple(output[..., border:output.shape[-2] - border, border:output.shape[-1] - border]
                     for output in outputs)


def _pairs(term: DistillTerm, student: nn.Module, teacher: nn.Module) -> list[tuple[str, str]]:
    if term.loss.of_outputs:
        return [('', '')]
    if term.layers is None:
        pairs = default_pairs(student, teacher)
        return pairs[-1:] if term.loss.one_layer else pairs
    return pair_layers(term.layers, student, teacher, term.depth_match)


def _multiples(one: tuple[int, ...], other: tuple[int, ...]) -> bool:
    """Whether one size (h, w) is equal to the other, or a whole multiple of it."""
    small, large = sorted((one, other))
    return large[0] % small[0] == 0 and large == tuple(large[0] // small[0] * side for side in small)


def _at_one_size(one: Tensor, other: Tensor) -> tuple[Tensor, Tensor]:
    """Two maps (n, c, h, w), of which the larger is averaged to the size of the smaller."""
    left, right = one.shape[-1], other.shape[-1]
    return (F.avg_pool2d(one, left // right) if left > right else one,
            F.avg_pool2d(other, right // left) if right > left else other)
