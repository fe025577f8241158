"""The modules that are distilled: dotted names and globs, expanded on the student and on the teacher."""
from __future__ import annotations

import difflib
import re
from collections import Counter
from collections.abc import Mapping, Sequence

from basicsr.archs.srvgg_arch import SRVGGNetCompact
from torch import nn

from basicsr_kd.errors import LayerError

# First features, blocks, and the convolution that closes them; the first entry that a network has is taken.
_TRUNKS = (
    ('conv_first', 'body.*', 'conv_body'),  # RRDBNet
    ('conv_first', 'body.*', 'conv_after_body'),  # EDSR, RCAN
    ('conv_first', 'body.*', None),  # MSRResNet
    ('model.0', 'model.1.sub.*', None),  # ESRGAN files that only spandrel opens: 1x, 2x, 8x, ESRGAN+
)
_Trunk = tuple[str, list[str], list[str]]


def match_layers(pattern: str, net: nn.Module, side: str = 'network') -> list[str]:
    """Expand one name or glob on the module paths of a network.

    Args:
        pattern: A dotted module path. `*` stays within one dotted level, `**` crosses levels, `?` is one character.
        net: The network whose `named_modules()` are searched.
        side: What the network is called in an error ('student', 'teacher').

    Returns:
        The paths that match, in the order of `named_modules()`.

    Raises:
        LayerError: Nothing matches; the text names the closest paths.
    """
    names = [name for name, _ in net.named_modules() if name]
    regex = re.compile(_glob_to_regex(pattern))
    found = [name for name in names if regex.fullmatch(name)]
    if not found:
        close = difflib.get_close_matches(pattern, names, n=3, cutoff=0.5)
        hint = f'the closest are {", ".join(close)}' if close else f'its top level is {_top_level(net)}'
        raise LayerError(f'layer {pattern!r} matches no module of the {side} ({type(net).__name__}); {hint}')
    return found


def evenly(few: int, many: int) -> list[int]:
    """Choose `few` of `many` blocks, by index: block i of the few and its choice end at the same share of depth.

    Example:
        >>> evenly(6, 23)
        [3, 7, 11, 14, 18, 22]
    """
    return [max((2 * (i + 1) * many + few) // (2 * few) - 1, 0) for i in range(few)]


def pair_layers(layers: Sequence[str] | Mapping[str, str], student: nn.Module, teacher: nn.Module,
                depth_match: str = 'exact') -> list[tuple[str, str]]:
    """Expand the `layers` of a distillation loss to pairs (student module path, teacher module path).

    Args:
        layers: A list of names or globs that mean the same modules in both networks, or a mapping
            {student: teacher} of names or globs.
        student: The network that learns.
        teacher: The network that is copied.
        depth_match: 'exact': a glob matches equally many modules on both sides. 'even': if the teacher has more, those
            at the same share of its depth are taken (`evenly`).

    Raises:
        LayerError: Nothing matches, or the two sides do not fit together.
    """
    if isinstance(layers, Mapping):
        return _once([pair for s, t in layers.items() for pair in _pair(s, t, student, teacher, depth_match)])
    pairs: list[tuple[str, str]] = []
    for pattern in layers:
        matched = _pair(pattern, pattern, student, teacher, depth_match)
        only_student = [s for s, t in matched if s != t]
        if only_student and depth_match == 'exact':
            raise LayerError(f'layer {pattern!r} names different modules in student and teacher '
                             f'(first: {only_student[0]}); give them as pairs, layers: {{student: teacher}}')
        pairs += matched
    return _once(list(dict.fromkeys(pairs)))


def _once(pairs: list[tuple[str, str]]) -> list[tuple[str, str]]:
    """The pairs, in which each layer of the student occurs only once, since it has one adapter."""
    twice = [s for s, count in Counter(s for s, _ in pairs).items() if count > 1]
    if twice:
        raise LayerError(f'layer {twice[0]!r} of the student is paired more than once')
    return pairs


def _pair(student_pattern: str, teacher_pattern: str, student: nn.Module, teacher: nn.Module,
          depth_match: str) -> list[tuple[str, str]]:
    left = match_layers(student_pattern, student, 'student')
    right = match_layers(teacher_pattern, teacher, 'teacher')
    if depth_match == 'even' and len(left) < len(right):
        right = [right[index] for index in evenly(len(left), len(right))]
    if len(left) != len(right):
        way_out = (f'give pairs, layers: {{{left[0]}: {right[-1]}, …}}' if depth_match == 'even' else
                   f'give pairs, layers: {{{left[0]}: {right[-1]}, …}}, or depth_match: even')
        raise LayerError(f'layer {student_pattern!r} matches {len(left)} modules of the student '
                         f'({left[0]} … {left[-1]}) but {teacher_pattern!r} matches {len(right)} of the teacher '
                         f'({right[0]} … {right[-1]}); {way_out}')
    return list(zip(left, right, strict=True))


def _glob_to_regex(pattern: str) -> str:
    parts = re.split(r'(\*\*|\*|\?)', pattern)
    special = {'**': r'.*', '*': r'[^.]*', '?': r'[^.]'}
    return ''.join(special.get(part, re.escape(part)) for part in parts)


def _top_level(net: nn.Module) -> str:
    return ', '.join(name for name, _ in net.named_children())


def default_pairs(student: nn.Module, teacher: nn.Module) -> list[tuple[str, str]]:
    """Pairs (student module path, teacher module path) along the whole depth of two networks.

    Paired are the first features of the image, the convolutions that close the blocks (a network without one takes its
    last block), and between them the blocks at the same share of depth (`evenly`), each block of the network that has
    fewer. The stages of an SRVGGNetCompact are its activations.

    Example:
        SlimRRDBNet with 6 blocks and RRDBNet with 23: conv_first and conv_first, body.0 and body.3, body.1 and body.7,
        … body.5 and body.22, conv_body and conv_body. SRVGGNetCompact with 32 convolutions and the same RRDBNet: body.1
        and conv_first, body.3 and body.0, … body.65 and conv_body, 25 pairs.

    Args:
        student: The network that learns.
        teacher: The network that is copied.

    Raises:
        LayerError: A network is of no known family.
    """
    first, blocks, last = _trunk(student, 'student')
    their_first, their_blocks, their_last = _trunk(teacher, 'teacher')
    if not (last and their_last):  # the closing convolution then counts as one more block of its network
        blocks, their_blocks, last, their_last = blocks + last, their_blocks + their_last, [], []
    few = min(len(blocks), len(their_blocks))
    own, theirs = ([side[index] for index in evenly(few, len(side))] for side in (blocks, their_blocks))
    return list(zip([first, *own, *last], [their_first, *theirs, *their_last], strict=True))


def _trunk(net: nn.Module, side: str) -> _Trunk:
    """The first features, the blocks, and the convolution that closes them, if there is one."""
    if isinstance(net, SRVGGNetCompact):  # convolution and activation in turn, and the convolution that enlarges
        first, *activations = (f'body.{index}' for index in range(1, len(net.body), 2))
        return first, activations, []
    for first, blocks, last in _TRUNKS:
        try:
            match_layers(first, net)
            return first, match_layers(blocks, net), match_layers(last, net) if last else []
        except LayerError:
            continue
    raise LayerError('layers is left out, and there are defaults only for RRDBNet, SRVGGNetCompact, MSRResNet, EDSR '
                     f'and RCAN; the {side} is {type(net).__name__}: name its layers, layers: {{student: teacher}} '
                     f'(its top level is {_top_level(net)})')
