"""Writes networks for ComfyUI's "Load Upscale Model", which opens them with spandrel, from their tensors alone."""
from __future__ import annotations

import inspect
import os
import re
import textwrap
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import spandrel
import torch
from basicsr.utils.registry import ARCH_REGISTRY
from torch import Tensor

from basicsr_kd.archs.build import registered
from basicsr_kd.archs.from_file import before_pruning
from basicsr_kd.deploy import spandrel_arch
from basicsr_kd.deploy.export.torch_files import write_safetensors
from basicsr_kd.errors import ExportError
from basicsr_kd.utils.files import write_whole

_NODES = Path('custom_nodes', 'basicsr_kd_networks')
_INIT = '''"""Lets ComfyUI's "Load Upscale Model" open networks that basicsr_kd has pruned; no nodes are in here."""
from .spandrel_arch import install

install()

NODE_CLASS_MAPPINGS = {}
NODE_DISPLAY_NAME_MAPPINGS = {}
'''
_SLOPES = {'relu': 0.0, 'leakyrelu': 0.1}  # the slopes of SRVGGNetCompact's activations that have no weights


def write_comfyui(state: Mapping[str, Tensor], folder: str | os.PathLike[str], name: str,
                  network: Mapping[str, Any] | None = None) -> list[Path]:
    """Write a network into ComfyUI's folders, or into folders like them to be copied there.

    The files are `models/upscale_models/<name>.safetensors` and, if spandrel cannot open that by itself,
    `custom_nodes/basicsr_kd_networks` with the code to open it; each file is whole, or as it was before.

    Args:
        state: The tensors as `basicsr_kd.checkpoint.read_state_dict` gives them.
        folder: ComfyUI's folder, or any other.
        name: The network's name, without a suffix.
        network: The network's options in BasicSR, for what no tensor tells (EDSR's and RCAN's `res_scale`, `img_range`
            and `rgb_mean`, SRVGGNetCompact's `act_type`).

    Returns:
        The files written.

    Raises:
        ExportError: `spandrel` cannot open the network, or it takes no RGB images; nothing is written then.
    """
    tensors = {**state, **_told_by_options(state, before_pruning(network))} if network else dict(state)
    opened = open_as_comfyui(tensors, name)
    if opened.input_channels != 3:
        raise ExportError(f'{name}: ComfyUI gives a network RGB images, and this one takes {opened.input_channels} '
                          'channels. Export it as ncnn or onnx')
    folder = Path(folder)
    written = {}
    if opened.architecture.id in spandrel_arch.NAMES:
        source = Path(spandrel_arch.__file__)
        written = {folder / _NODES / source.name: source.read_text('utf-8'), folder / _NODES / '__init__.py': _INIT}
        (folder / _NODES).mkdir(parents=True, exist_ok=True)
    for path, text in written.items():
        write_whole(path, text)
    model = folder / 'models' / 'upscale_models' / f'{name}.safetensors'
    write_safetensors(tensors, model)
    return [*written, model]


def _told_by_options(state: Mapping[str, Tensor], options: Mapping[str, Any]) -> dict[str, Tensor]:
    """The numbers that the options tell and the tensors do not, as further tensors."""
    arch = registered(options['type'], ARCH_REGISTRY)
    if arch is None:
        return {}
    arguments = inspect.signature(arch).bind(**{key: value for key, value in options.items() if key != 'type'})
    arguments.apply_defaults()
    told = arguments.arguments
    if arch.__name__ in ('EDSR', 'RCAN'):
        scalars = {key: torch.tensor(float(told[key])) for key in ('res_scale', 'img_range')}
        return {**scalars, 'rgb_mean': torch.tensor(told['rgb_mean'], dtype=torch.float32).view(1, 3, 1, 1)}
    if arch.__name__ == 'SRVGGNetCompact' and told['act_type'] in _SLOPES:
        return _as_prelu(state, _SLOPES[told['act_type']])
    return {}


def _as_prelu(state: Mapping[str, Tensor], slope: float) -> dict[str, Tensor]:
    """Weights of PReLUs that compute the same as a SRVGGNetCompact's activations without weights."""
    widths = {int(match[1]): len(tensor) for name, tensor in state.items()
              if (match := re.fullmatch(r'body\.(\d+)\.weight', name))}
    return {f'body.{number + 1}.weight': torch.full((width,), slope) for number, width in widths.items()
            if number < max(widths)}


def open_as_comfyui(tensors: Mapping[str, Tensor], name: str) -> spandrel.ImageModelDescriptor[torch.nn.Module]:
    """Open tensors with a spandrel that has our architectures; the registry of this process stays as it is.

    Args:
        tensors: The network's tensors.
        name: The network's name, for the error.

    Raises:
        ExportError: `spandrel` finds no network for images in them.
    """
    registry = spandrel.MAIN_REGISTRY.copy()
    spandrel_arch.install(registry)
    try:
        opened = spandrel.ModelLoader('cpu', registry).load_from_state_dict(dict(tensors))
    except spandrel.UnsupportedModelError:
        reason = 'does not know it'
    except Exception as error:  # whatever an architecture's own code raises
        reason = f'cannot open it ({textwrap.shorten(str(error) or type(error).__name__, 200)})'
    else:
        if isinstance(opened, spandrel.ImageModelDescriptor):
            return opened
        reason = f'takes it for {opened.architecture.name}, which needs a mask beside the image'
    raise ExportError(f'{name}: ComfyUI opens networks with spandrel, which {reason}. With our addition it opens '
                      'RRDBNet, SRVGGNetCompact, MSRResNet, EDSR and RCAN, pruned or not (the last two with their '
                      'options in the .yml beside the file). Export this one as ncnn or onnx')
