"""Networks from their checkpoints: options read from a file, networks built and loaded, files written."""
from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from basicsr_kd.archs.build import build, build_for_shapes, differences
from basicsr_kd.archs.recognise import number_differences, recognise, stock_options
from basicsr_kd.archs.resize import resize_to
from basicsr_kd.archs.rrdbnet_numbers import rrdbnet_options
from basicsr_kd.archs.sidecar import in_one_line, read_sidecar, sidecar_path, write_sidecar
from basicsr_kd.archs.spandrel_net import as_module, open_with_spandrel
from basicsr_kd.checkpoint import read_state_dict, write_checkpoint
from basicsr_kd.errors import CheckpointError, UnknownArchitectureError

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

_RRDBNETS = ('RRDBNet', 'SlimRRDBNet', 'PrunedRRDBNet')
_MOST_DIFFERENCES = 3  # most differences that an error lists
_LARGE = 1000  # a network with numbers up to this is always built
_ELSEWHERE = ', teacher.network in an options file, --arch on the command line'


def read_architecture(state: dict[str, Tensor], path: str, elsewhere: str = _ELSEWHERE) -> dict[str, Any]:
    """Find BasicSR's network options for a state dict: from its tensor shapes, else from the `.yml` beside its file.

    Args:
        state: As `basicsr_kd.checkpoint.read_state_dict` returns it.
        path: The state dict's file.
        elsewhere: Another place from which the caller takes the options, for the error.

    Raises:
        UnknownArchitectureError: It is no RRDBNet, SRVGGNetCompact, MSRResNet or FRNet, and no `.yml` names it.
        CheckpointError: The `.yml` cannot be read.
    """
    options = rrdbnet_options(state)
    if options is not None:
        return options
    recognised = recognise(state)
    section = network_section(state, path, recognised) if recognised else read_sidecar(path)
    if section is None:
        first = f', the first is {next(iter(state))!r}' if state else ''
        raise UnknownArchitectureError(
            f'{path} is no RRDBNet, SRVGGNetCompact, MSRResNet or FRNet ({len(state)} tensors{first}), so its '
            'architecture cannot be read off its shapes. Give the options of its network: network_g: {type: …} in '
            f'{sidecar_path(path).name} beside it{elsewhere}')
    return section


def describe(state: dict[str, Tensor], path: str,
             elsewhere: str = _ELSEWHERE) -> dict[str, Any] | ImageModelDescriptor[nn.Module]:
    """Find the network of a state dict: BasicSR's options or, if nothing gives those, the network that spandrel opens.

    Args:
        state: As `basicsr_kd.checkpoint.read_state_dict` returns it.
        path: The state dict's file.
        elsewhere: As in `read_architecture`.

    Raises:
        CheckpointError: Both ways fail; the text says what each found.
    """
    try:
        return read_architecture(state, path, elsewhere)
    except UnknownArchitectureError as error:
        try:
            return open_with_spandrel(state)
        except CheckpointError as further:
            raise CheckpointError(f'{error}; {further}') from None


def build_from_file(path: str, param_key: str | None = None, network: dict[str, Any] | None = None) -> nn.Module:
    """Build a network and load a checkpoint into it, on the CPU.

    Args:
        path: A `.pth` or `.safetensors` file, or ncnn's `.param`.
        param_key: The key of one of the file's state dicts; default: `params_ema`.
        network: BasicSR's options of the network; default: see `describe`.

    Raises:
        CheckpointError: The file cannot be read, nothing names its architecture, the network cannot be built, or the
            file is not of that architecture.
    """
    state = read_state_dict(path, param_key)
    options = network or describe(state, path)
    if not isinstance(options, dict):
        return as_module(options)
    _must_be_of_that_size(options, state, path)
    try:
        net = build(options)
    except ValueError as error:
        raise CheckpointError(f'The network of {path}: {error}') from None
    found = differences(net, state)
    if found:
        more = f' and {len(found) - _MOST_DIFFERENCES} more' if len(found) > _MOST_DIFFERENCES else ''
        listed = '; '.join([*number_differences(net, state), *found[:_MOST_DIFFERENCES]])
        raise CheckpointError(f'{path} is not the {options["type"]} that the options describe: {listed}{more}. The '
                              'file holds '
                              f'{_what_it_holds(state, path, options)}')
    net.load_state_dict(state)
    return net


def _must_be_of_that_size(options: Mapping[str, Any], state: Mapping[str, Tensor], path: str) -> None:
    """Check that no number, such as of blocks, is far beyond the file's content: the network would fill the memory."""
    most = max(_LARGE, len(state), *(max(tensor.shape, default=1) for tensor in state.values()))
    for name, value in options.items():
        values = value if isinstance(value, list) else [value]
        if any(isinstance(one, int) and one > most for one in values):
            raise CheckpointError(f'The network of {path}: {name} is {value}, and the file holds {len(state)} tensors '
                                  'of less. Expected the options of the network in it.')


def network_section(state: Mapping[str, Tensor], path: str | os.PathLike[str],
                    base: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """The `network_g:` of a pruned network: the plainest network that its weights load into strictly.

    Args:
        state: The pruned network's tensors; only the shapes matter.
        path: The pruned network's file, for `like:`.
        base: Options of the network before pruning; None if the shapes tell them.

    Returns:
        Plain YAML values: RRDBNet, or the type before pruning, if such a network has these shapes; else PrunedRRDBNet
        or PrunedNet with `like:`. PrunedNet's `base` is the network before any pruning.

    Raises:
        CheckpointError: The tensors are not those of `base` after pruning, or nothing names their network.
        ValueError: `base` cannot be built.
    """
    original = None if base is None else before_pruning(base)
    if original is None or original['type'] in _RRDBNETS:
        options = rrdbnet_options(dict(state))
        if options is not None:
            return options if options['type'] == 'RRDBNet' else {'type': 'PrunedRRDBNet', 'like': str(path)}
    original = original or recognise(state)
    if original is None:
        raise CheckpointError(f'The architecture of {path} cannot be read off its shapes; give the options of the '
                              'network before pruning')
    stock = stock_options(original, state)
    if stock is not None:
        return stock
    try:
        resize_to(build_for_shapes(original), state)
    except ValueError as error:
        raise CheckpointError(f'{path} is no pruned {original["type"]}: {error}') from None
    return {'type': 'PrunedNet', 'base': original, 'like': str(path)}


def before_pruning(options: Mapping[str, Any]) -> dict[str, Any]:
    """The options of the network that a PrunedNet was before any pruning; for another network, its own options."""
    original = _plain(options)
    while original['type'] == 'PrunedNet':
        original = original['base']
    return original


def like_file(path: str, base: Mapping[str, Any] | None = None) -> dict[str, Any]:
    """Network options of a checkpoint whose network may have been pruned.

    Args:
        path: The checkpoint.
        base: Options of the network before pruning; None if the shapes tell them.

    Raises:
        CheckpointError, ValueError: As in `network_section`; or the file cannot be read.
    """
    return network_section(read_state_dict(path), path, base)


def write_network_file(path: str | os.PathLike[str], state: Mapping[str, Tensor],
                       base: Mapping[str, Any] | None = None) -> None:
    """Write a pruned network's checkpoint, and beside it a `.yml` with its `network_g:`.

    Args:
        path: The checkpoint to write, `….pth`.
        state: The pruned network's tensors.
        base: Options of the network before pruning; None if the shapes tell them.

    Raises:
        CheckpointError: The path has another ending than `.pth`; or as in `network_section`. Then nothing is written.
        ValueError: `base` cannot be built.
    """
    if Path(path).suffix.lower() != '.pth':
        raise CheckpointError(f'{path}: expected a name that ends in .pth')
    section = network_section(state, path, base)
    write_checkpoint(path, state)
    write_sidecar(path, section)


def _what_it_holds(state: dict[str, Tensor], path: str, options: Mapping[str, Any]) -> str:
    for find_base in (lambda: None, lambda: read_sidecar(path), lambda: options):
        try:
            return in_one_line(network_section(state, path, find_base()))
        except (CheckpointError, ValueError):
            continue
    return f'another architecture: {len(state)} tensors' + (f', the first is {next(iter(state))!r}' if state else '')


def _plain(value: Any) -> Any:
    """Turn options into dicts and lists, which YAML knows; BasicSR reads them into an OrderedDict."""
    if isinstance(value, Mapping):
        return {key: _plain(item) for key, item in value.items()}
    return [_plain(item) for item in value] if isinstance(value, (list, tuple)) else value
