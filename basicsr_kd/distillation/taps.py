"""Taps: the features of a network at named modules, taken by forward hooks while it runs."""
from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from basicsr_kd.archs.probe import is_recurrent
from basicsr_kd.errors import TapError
from basicsr_kd.utils.modes import evaluating


class FeatureTaps:
    """Records the outputs of chosen modules during a forward pass.

    The hooks sit on the bare network, so they also fire when it runs inside DistributedDataParallel. They record only
    inside `with taps:`, so that validation on large images keeps nothing alive.

    A network of clips with `frames_in_sequence = True` (FRNet) runs its modules once for each frame, or once for all
    frames: their outputs are joined along the batch, in the order in which they ran.

    An in-place activation behind a tapped module overwrites the recorded tensor (such as MSRResNet's `conv_first`).
    PyTorch counts such writes in `Tensor._version`; `probe` looks for them, and taps that were overwritten
    are cloned from then on.

    Args:
        net: The bare network; it may be compiled in place (`nn.Module.compile`).
        layers: Module paths, as `distillation.layers.match_layers` gives them; '' is the network, for its output.

    Raises:
        AttributeError: The network does not have a path.
    """

    def __init__(self, net: nn.Module, layers: Sequence[str]) -> None:
        self.net = net
        self.layers = list(dict.fromkeys(layers))
        self._recording = False
        self._cloned: set[str] = set()
        self._features: dict[str, list[Tensor]] = {}
        self._versions: dict[str, list[int | None]] = {}
        self._frames = is_recurrent(net)
        for name in self.layers:
            net.get_submodule(name).register_forward_hook(partial(self._record, name))

    def __enter__(self) -> FeatureTaps:
        self._features, self._versions, self._recording = {}, {}, True
        return self

    def __exit__(self, *exc: object) -> None:
        self._recording = False

    def take(self) -> dict[str, Tensor]:
        """The features of the last recorded pass by module path, each (n, c, h, w); they are given out once.

        Raises:
            TapError: A tapped module did not run, or its output was overwritten after `probe` had found it safe.
        """
        features, self._features = self._features, {}
        missing = [name for name in self.layers if name not in features]
        if missing:
            raise TapError(f'{missing[0] or "the output"} of {type(self.net).__name__} did not run in this forward '
                           'pass')
        for name in self._overwritten(features):
            raise TapError(f'the output of {name} of {type(self.net).__name__} was overwritten in place '
                           'before it was read; choose another layer')
        return {name: torch.cat(outputs) if len(outputs) > 1 else outputs[0] for name, outputs in features.items()}

    @torch.no_grad()
    def probe(self, image: Tensor) -> dict[str, tuple[int, ...]]:
        """Run the network on `image` (n, c, h, w), find the taps that must be cloned, and return all shapes.

        The network runs in evaluation mode, so that BatchNorm's statistics do not change.
        """
        image = image.to(next(self.net.parameters()).device)
        with evaluating(self.net):
            with self:
                self.net(image)
            self._cloned.update(self._overwritten(self._features))
            with self:
                self.net(image)
        return {name: tuple(feature.shape) for name, feature in self.take().items()}

    def _overwritten(self, features: dict[str, list[Tensor]]) -> list[str]:
        return [name for name, outputs in features.items()
                if any(version is not None and output._version != version
                       for output, version in zip(outputs, self._versions[name], strict=True))]

    def _record(self, name: str, module: nn.Module, args: Any, output: Any) -> None:
        if not self._recording:
            return
        if self._frames and not name:
            output = output['hr'] if isinstance(output, dict) else output
            output = output.flatten(0, -4)  # (n, t, c, h, w); a single frame is unchanged
        if not isinstance(output, Tensor) or output.dim() != 4:
            kind = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
            raise TapError(f'{name} of {type(self.net).__name__} gives {kind}, expected a tensor (n, c, h, w)')
        if name in self._features and not self._frames:
            raise TapError(f'{name} of {type(self.net).__name__} runs more than once in a forward pass, so it has no '
                           f'single feature map; tap the module around it')
        feature = output.clone() if name in self._cloned else output
        self._features.setdefault(name, []).append(feature)
        # a number that comes out of a compiled graph ends DDP's splitting of it; there nothing is written in place
        version = None if torch.compiler.is_compiling() else feature._version
        self._versions.setdefault(name, []).append(version)
