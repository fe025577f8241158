"""The form of TecoGAN-PyTorch's checkpoints: a bare state dict."""
from __future__ import annotations

from torch import Tensor, nn

from basicsr_kd.archs.build import build_for_shapes, differences
from basicsr_kd.archs.recognise import recognise
from basicsr_kd.errors import CheckpointError


def tecogan_state(net: nn.Module) -> dict[str, Tensor]:
    """The tensors of an FRNet in a form that TecoGAN-PyTorch, with this `nb` and `nf` in its options, loads strictly.

    To be written by `basicsr_kd.checkpoint.atomic_save`; `read_state_dict` reads it like any other checkpoint.

    Args:
        net: An FRNet, on any device.

    Returns:
        Tensors by name, on the CPU; with `kernels` twice if the degradation is BD.

    Raises:
        CheckpointError: The network is no FRNet, or its FNet is pruned, for which TecoGAN-PyTorch has no options.
    """
    state = {name: tensor.detach().cpu().clone() for name, tensor in net.state_dict().items()}
    options = recognise(state)
    if options is None or options['type'] != 'FRNet':
        raise CheckpointError(f'found a network {type(net).__name__}; expected an FRNet: TecoGAN-PyTorch has no other '
                              'generator')
    found = differences(build_for_shapes(options), state)
    if found:
        lost = found[0].replace('the file', 'it').replace('the network', 'an unpruned one')
        raise CheckpointError(f'found an FRNet that has lost channels ({lost}); expected one that has lost blocks or '
                              'features only, for which TecoGAN-PyTorch has options')
    return state
