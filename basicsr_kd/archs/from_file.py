"""Networks as their checkpoints describe them: options read off tensor shapes, networks built and loaded."""
from __future__ import annotations

from typing import Any

from basicsr.archs import build_network
from torch import Tensor, nn

from basicsr_kd.archs.rrdbnet_shape import rrdbnet_options
from basicsr_kd.checkpoint import CheckpointError, read_state_dict


def read_architecture(state: dict[str, Tensor], path: str) -> dict[str, Any]:
    """BasicSR's network options of a state dict, from its tensor shapes.

    Args:
        state: As `basicsr_kd.checkpoint.read_state_dict` gives it.
        path: Its file, for the error.

    Raises:
        CheckpointError: It is no RRDBNet.
    """
    options = rrdbnet_options(state)
    if options is None:
        raise CheckpointError(f'{path} is not an RRDBNet ({len(state)} tensors, the first is '
                              f'{next(iter(state))!r}), so its architecture cannot be read off its shapes; '
                              f'give the options of its network (for a teacher: teacher.network: {{type: …}})')
    return options


def build_from_file(path: str, param_key: str | None = None, network: dict[str, Any] | None = None) -> nn.Module:
    """Build a network and load a checkpoint into it, on the CPU.

    Args:
        path: A `.pth` or `.safetensors` file.
        param_key: Which of its state dicts, `params_ema` where it is left out.
        network: BasicSR's options of the network; left out: read off the file, which must be an RRDBNet then.

    Raises:
        CheckpointError: The file cannot be read, its architecture not told, or it is not of that architecture.
    """
    state = read_state_dict(path, param_key)
    net = build_network(network or read_architecture(state, path))
    try:
        net.load_state_dict(state)
    except RuntimeError as error:
        raise CheckpointError(f'{path} does not fit {type(net).__name__} as the options describe it: {error}') from None
    return net


def like_file(path: str) -> dict[str, Any]:
    """Network options of the RRDBNet in a file whose widths may differ from block to block."""
    return {'type': 'PrunedRRDBNet', 'like': path}
