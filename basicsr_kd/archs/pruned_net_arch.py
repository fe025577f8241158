"""Any network of BasicSR's registry, after pruning."""
from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any

from torch import nn

from basicsr_kd.archs.build import build
from basicsr_kd.archs.resize import resize_to
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.errors import CheckpointError


def PrunedNet(base: Mapping[str, Any], like: str | os.PathLike[str]) -> nn.Module:  # noqa: N802 (a name in YAML)
    """Build the network before pruning and give it the shapes in a checkpoint.

    This is a function, not a class around the network: what it returns *is* an EDSR, RCAN, …, so keys, module paths
    (taps, `target:`), class, input and output are the original's.

    Args:
        base: Options of the network before pruning, `{type: EDSR, num_in_ch: 3, …}`. Scalars that are in no tensor,
            such as EDSR's `res_scale`, come from here.
        like: The pruned network's checkpoint (`.pth`, `.safetensors`, ncnn's `.param`). Its weights are not
            loaded: that is `pretrain_network_g`.

    Raises:
        ValueError: `base` cannot be built.
        CheckpointError: `like` cannot be read, or is no pruned `base`; the text names the first wrong tensor.
    """
    net = build(base)
    try:
        resize_to(net, read_state_dict(like))
    except ValueError as error:
        raise CheckpointError(f'PrunedNet: the checkpoint {like} (like:) is no pruned {base["type"]} (base:): '
                              f'{error}') from None
    return net
