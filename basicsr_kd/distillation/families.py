"""The layers that are distilled where nobody names any, within a family of networks and across families."""
from __future__ import annotations

from basicsr.archs.srvgg_arch import SRVGGNetCompact
from torch import nn

from basicsr_kd.distillation.layers import LayerError, evenly, match_layers

# Image to features, the blocks, and what closes them; the first of these that a network has.
_TRUNKS = (
    ('conv_first', 'body.*', 'conv_body'),  # RRDBNet
    ('conv_first', 'body.*', 'conv_after_body'),  # EDSR, RCAN
    ('conv_first', 'body.*', None),  # MSRResNet
    ('model.0', 'model.1.sub.*', None),  # ESRGAN files that only spandrel opens: 1x, 2x, 8x, ESRGAN+
)
_Trunk = tuple[str, list[str], list[str]]


def default_pairs(student: nn.Module, teacher: nn.Module) -> list[tuple[str, str]]:
    """Pairs (student module path, teacher module path) along the whole depth of two networks.

    The features that the image becomes first are paired, what closes the blocks (in both networks, or the last block
    of the one that has no such convolution), and between them the blocks, at the same share of depth (`evenly`): each
    of the network that has fewer. The stages of an SRVGGNetCompact are its activations.

    Example:
        SlimRRDBNet with 6 blocks and RRDBNet with 23: conv_first and conv_first, body.0 and body.3, body.1 and body.7,
        … body.5 and body.22, conv_body and conv_body. SRVGGNetCompact with 32 convolutions and the same RRDBNet: body.1
        and conv_first, body.3 and body.0, … body.65 and conv_body, 25 pairs.

    Args:
        student: The network that learns.
        teacher: The network that is copied.

    Raises:
        LayerError: A network of no known family.
    """
    first, blocks, last = _trunk(student, 'student')
    their_first, their_blocks, their_last = _trunk(teacher, 'teacher')
    if not (last and their_last):  # it is a block more of the network that has it
        blocks, their_blocks, last, their_last = blocks + last, their_blocks + their_last, [], []
    few = min(len(blocks), len(their_blocks))
    own, theirs = ([side[index] for index in evenly(few, len(side))] for side in (blocks, their_blocks))
    return list(zip([first, *own, *last], [their_first, *theirs, *their_last], strict=True))


def _trunk(net: nn.Module, side: str) -> _Trunk:
    """Where the image has become features, the blocks, and the convolution that closes them, if there is one."""
    if isinstance(net, SRVGGNetCompact):  # convolution and activation in turn, and the convolution that enlarges
        first, *activations = (f'body.{index}' for index in range(1, len(net.body), 2))
        return first, activations, []
    for first, blocks, last in _TRUNKS:
        try:
            match_layers(first, net)
            return first, match_layers(blocks, net), match_layers(last, net) if last else []
        except LayerError:
            continue
    top = ', '.join(name for name, _ in net.named_children())
    raise LayerError('layers is left out, and there are defaults only for RRDBNet, SRVGGNetCompact, MSRResNet, EDSR '
                     f'and RCAN; the {side} is {type(net).__name__}: name its layers, layers: {{student: teacher}} '
                     f'(its top level is {top})')
