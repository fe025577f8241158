"""Pruned networks in spandrel, and so in ComfyUI: each layer is as large as its tensor in the file.

This file needs torch and [spandrel](https://github.com/chaiNNer-org/spandrel) and nothing else of this package: an
export for ComfyUI puts a copy of it into `custom_nodes`. The networks compute what those of the same names in
[BasicSR](https://github.com/XPixelGroup/BasicSR) do: RRDBNet, SRVGGNetCompact with PReLU, MSRResNet, EDSR, RCAN.

spandrel gives an architecture the tensors and nothing else. EDSR and RCAN have numbers that are in no tensor, so their
files hold three more tensors: `res_scale`, `img_range` and `rgb_mean`; without these nothing here opens them.
"""
from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any, ClassVar

import torch
import torch.nn.functional as F
from spandrel import (
    MAIN_REGISTRY,
    ArchId,
    Architecture,
    ArchRegistry,
    ArchSupport,
    ImageModelDescriptor,
    SizeRequirements,
)
from torch import Tensor, nn

State = Mapping[str, Any]

NAMES = ('PrunedRRDBNet', 'PrunedNet')
"""What spandrel calls the two architectures."""


def install(registry: ArchRegistry = MAIN_REGISTRY) -> None:
    """Let spandrel open pruned networks; networks that it opens by itself, it opens as before.

    If a registry has these architectures already (from another copy of this file, say), they stay.

    Args:
        registry: The architectures of a `spandrel.ModelLoader`; default: the registry that loaders use by default.
    """
    # Before the two of spandrel's architectures that accept any widths as their own, and then fail.
    registry.add(
        ArchSupport.from_architecture(PrunedArch(NAMES[0], _RRDBNet), before=(ArchId('ESRGAN'),)),
        ArchSupport.from_architecture(PrunedArch(NAMES[1], _Compact, _MSRResNet, _EDSR, _RCAN),
                                      before=(ArchId('Compact'),)),
        ignore_duplicates=True)


class PrunedArch(Architecture['_Network']):
    """An architecture for networks of some families, with any widths.

    Args:
        name: What spandrel calls the architecture.
        families: Classes of networks; the first one that fits a state dict is used.
    """

    def __init__(self, name: str, *families: type[_Network]) -> None:
        super().__init__(id=name, detect=lambda state: _build(families, state) is not None)
        self._families = families

    def load(self, state_dict: dict[str, Any]) -> ImageModelDescriptor[_Network]:
        network = _build(self._families, state_dict)
        if network is None:
            raise ValueError(f'these tensors are of no {self.id} that is to be opened here')
        network.to_empty(device='cpu')  # the description loads the weights
        return ImageModelDescriptor(
            network, state_dict, architecture=self, purpose='Restoration' if network.scale == 1 else 'SR',
            tags=[type(network).__name__.strip('_')], supports_half=network.supports_half, supports_bfloat16=True,
            scale=network.scale, input_channels=network.in_channels, output_channels=network.out_channels,
            size_requirements=SizeRequirements(multiple_of=network.unshuffle))


def _build(families: tuple[type[_Network], ...], state: State) -> _Network | None:
    """A network of these shapes, without memory for its weights; None if it fits no family, is stock or cannot run."""
    for family in families:
        if not all(family.names.fullmatch(name) and isinstance(tensor, Tensor) for name, tensor in state.items()):
            continue
        try:
            with torch.device('meta'), torch.no_grad():
                network = family(state)
                if network.is_stock():
                    continue
                network.measure()
        except Exception:  # a layer is missing or does not fit: any file may be tried here
            continue
        own = {name: tensor.shape for name, tensor in network.state_dict().items()}
        if own == {name: tensor.shape for name, tensor in state.items()}:
            return network
    return None


class _Network(nn.Module):
    """The layers of a state dict, under its names.

    Input (n, in_channels, h, w), RGB in [0, 1]; output (n, out_channels, scale·h, scale·w), about [0, 1] but not
    clamped.
    """

    names: ClassVar[re.Pattern[str]]
    """Names of the tensors that the family has."""
    supports_half = True
    unshuffle = 1
    """h and w must be multiples of this."""
    in_channels: int
    out_channels: int
    scale: int

    def __init__(self, state: State) -> None:
        super().__init__()
        for name, tensor in state.items():
            path, _, kind = name.rpartition('.')
            if kind == 'weight':
                _add(self, path, tensor.shape)
            elif not path:
                self.register_buffer(name, torch.empty(tensor.shape))

    def measure(self) -> None:
        """Run once, on the meta device, to see that the layers fit each other and how large the output is."""
        output = self(torch.zeros(1, self.in_channels, 8, 8))
        self.out_channels, self.scale = output.shape[1], output.shape[2] // 8

    def is_stock(self) -> bool:
        """Whether spandrel opens the network by itself."""
        return False


class _RRDBNet(_Network):
    """Dense blocks whose convolutions conv1 to conv4 have any width, or are not there."""

    names = re.compile(r'(conv_(first|body|up1|up2|hr|last)|body\.\d+\.rdb[123]\.conv[1-5])\.(weight|bias)')
    conv_first: nn.Conv2d
    conv_body: nn.Conv2d
    conv_up1: nn.Conv2d
    conv_up2: nn.Conv2d
    conv_hr: nn.Conv2d
    conv_last: nn.Conv2d

    def __init__(self, state: State) -> None:
        super().__init__(state)
        inputs, outputs = self.conv_first.in_channels, self.conv_last.out_channels
        self.unshuffle = {4 * outputs: 2, 16 * outputs: 4}.get(inputs, 1)  # x2 and x1, as in Real-ESRGAN
        self.in_channels = inputs // self.unshuffle**2

    def forward(self, image: Tensor) -> Tensor:
        features = body = self.conv_first(F.pixel_unshuffle(image, self.unshuffle))
        for block in _numbered(self, 'body'):
            inner = body
            for dense in ('rdb1', 'rdb2', 'rdb3'):
                inner = self._dense(block.get_submodule(dense), inner)
            body = inner * 0.2 + body
        features = features + self.conv_body(body)
        for conv in (self.conv_up1, self.conv_up2):
            features = _leaky(conv(F.interpolate(features, scale_factor=2, mode='nearest')), 0.2)
        return self.conv_last(_leaky(self.conv_hr(features), 0.2))

    @staticmethod
    def _dense(block: nn.Module, image: Tensor) -> Tensor:
        *growing, last = (block._modules.get(f'conv{number}') for number in range(1, 6))
        features = [image]
        for conv in growing:
            if conv is not None:
                features.append(_leaky(conv(torch.cat(features, 1)), 0.2))
        if last is None:
            raise KeyError('conv5')
        return last(torch.cat(features, 1)) * 0.2 + image

    def is_stock(self) -> bool:
        convs = {path: module.out_channels for path, module in self.named_modules() if isinstance(module, nn.Conv2d)}
        widths = {True: 32, False: self.conv_first.out_channels}  # spandrel accepts no other growth
        return ('body' in self._modules and len(convs) == 6 + 15 * len(_numbered(self, 'body'))
                and all(width == widths[path.startswith('body.') and not path.endswith('conv5')]
                        for path, width in convs.items() if path != 'conv_last'))


class _Compact(_Network):
    """SRVGGNetCompact: convolutions and PReLUs in turn, of any width."""

    names = re.compile(r'body\.\d+\.(weight|bias)')

    def __init__(self, state: State) -> None:
        super().__init__(state)
        layers = _numbered(self, 'body')
        for number, layer in enumerate(layers):
            if isinstance(layer, nn.PReLU) != number % 2:
                raise ValueError('expected convolutions and PReLUs in turn')
        self.in_channels, outputs = _conv(layers[0]).in_channels, _conv(layers[-1]).out_channels
        # The image is added to the output, so the image has as many channels.
        self._factor = math.isqrt(outputs // self.in_channels)

    def forward(self, image: Tensor) -> Tensor:
        features = image
        for layer in _numbered(self, 'body'):
            features = layer(features)
        return F.pixel_shuffle(features, self._factor) + F.interpolate(image, scale_factor=self._factor, mode='nearest')

    def is_stock(self) -> bool:
        return len({len(layer.get_parameter('weight')) for layer in _numbered(self, 'body')[:-1]}) == 1


class _MSRResNet(_Network):
    """Residual blocks, whose result is added to the bilinearly enlarged image."""

    names = re.compile(r'(conv_(first|hr|last)|upconv[12]|body\.\d+\.conv[12])\.(weight|bias)')
    conv_first: nn.Conv2d
    upconv1: nn.Conv2d
    conv_hr: nn.Conv2d
    conv_last: nn.Conv2d

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.in_channels = self.conv_first.in_channels

    def forward(self, image: Tensor) -> Tensor:
        features = _leaky(self.conv_first(image), 0.1)
        for block in _numbered(self, 'body'):
            features = features + _residual(block, features)
        upconvs = [self.upconv1, *(_conv(module) for module in [self._modules.get('upconv2')] if module is not None)]
        for conv, reader in zip(upconvs, [*upconvs[1:], self.conv_hr], strict=True):
            features = _leaky(_enlarged(conv, reader, features), 0.1)
        output = self.conv_last(_leaky(self.conv_hr(features), 0.1))
        return output + F.interpolate(image, output.shape[2:], mode='bilinear', align_corners=False)


class _EDSR(_Network):
    """Residual blocks on an image whose mean is subtracted, and added to the output again."""

    names = re.compile(r'(conv_(first|after_body|last)|upsample\.\d+|body\.\d+\.conv[12])\.(weight|bias)|'
                       'res_scale|img_range|rgb_mean')
    supports_half = False  # img_range is 255 in most networks
    conv_first: nn.Conv2d
    conv_after_body: nn.Conv2d
    conv_last: nn.Conv2d
    res_scale: Tensor
    img_range: Tensor
    rgb_mean: Tensor

    def __init__(self, state: State) -> None:
        super().__init__(state)
        self.in_channels = self.conv_first.in_channels

    def forward(self, image: Tensor) -> Tensor:
        first = features = self.conv_first((image - self.rgb_mean) * self.img_range)
        for block in _numbered(self, 'body'):
            features = self._block(block, features)
        features = self.conv_after_body(features) + first
        upsample = [_conv(layer) for layer in _numbered(self, 'upsample', step=2)]
        for conv, reader in zip(upsample, [*upsample[1:], self.conv_last], strict=True):
            features = _enlarged(conv, reader, features)
        return self.conv_last(features) / self.img_range + self.rgb_mean

    def _block(self, block: nn.Module, features: Tensor) -> Tensor:
        return features + _residual(block, features) * self.res_scale


class _RCAN(_EDSR):
    """Groups of residual blocks with channel attention."""

    names = re.compile(r'(conv_(first|after_body|last)|upsample\.\d+|'
                       r'body\.\d+\.(conv|residual_group\.\d+\.rcab\.(0|2|3\.attention\.[13])))\.(weight|bias)|'
                       'res_scale|img_range|rgb_mean')

    def _block(self, block: nn.Module, features: Tensor) -> Tensor:
        inner = features
        for attended in _numbered(block, 'residual_group'):
            first, second, squeeze, excite = (attended.get_submodule(f'rcab.{path}')
                                              for path in ('0', '2', '3.attention.1', '3.attention.3'))
            residual = second(F.relu(first(inner)))
            weights = torch.sigmoid(excite(F.relu(squeeze(F.adaptive_avg_pool2d(residual, 1)))))
            inner = inner + residual * weights * self.res_scale
        return features + block.get_submodule('conv')(inner)


def _add(network: nn.Module, path: str, weight: torch.Size) -> None:
    """Put a layer into the tree of modules: a PReLU where its weight is a vector, else a convolution."""
    *holders, last = path.split('.')
    for name in holders:
        if name not in network._modules:
            network.add_module(name, nn.Module())
        network = network.get_submodule(name)
    if len(weight) == 1:
        network.add_module(last, nn.PReLU(weight[0]))
    else:
        outputs, inputs, height, width = weight
        network.add_module(last, nn.Conv2d(inputs, outputs, (height, width), padding=(height // 2, width // 2)))


def _numbered(holder: nn.Module, name: str, step: int = 1) -> list[nn.Module]:
    """The modules 0, 1 · step, 2 · step, … in a holder, in this order; empty if the holder is pruned away."""
    modules = holder.get_submodule(name)._modules if name in holder._modules else {}
    return [holder.get_submodule(f'{name}.{step * number}') for number in range(len(modules))]


def _conv(module: nn.Module) -> nn.Conv2d:
    if not isinstance(module, nn.Conv2d):
        raise ValueError('expected a convolution')
    return module


def _residual(block: nn.Module, features: Tensor) -> Tensor:
    return block.get_submodule('conv2')(F.relu(block.get_submodule('conv1')(features)))


def _enlarged(conv: nn.Conv2d, reader: nn.Conv2d, features: Tensor) -> Tensor:
    """A convolution and a pixel shuffle, which leaves as many channels as the next layer reads."""
    return F.pixel_shuffle(conv(features), math.isqrt(conv.out_channels // reader.in_channels))


def _leaky(features: Tensor, slope: float) -> Tensor:
    return F.leaky_relu(features, slope, inplace=True)
