"""A student that starts as the most important channels of its teacher (`student: {init: teacher}`)."""
from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import torch
from basicsr.archs.rrdbnet_arch import RRDBNet
from torch import Tensor, nn

from basicsr_kd.archs.build import differences
from basicsr_kd.archs.probe import input_channels
from basicsr_kd.distillation.teacher_parts import match_depth, match_widths, pad_growth
from basicsr_kd.errors import InheritanceError, PruningError
from basicsr_kd.pruning.channels.groups import channels_cut, no_values
from basicsr_kd.pruning.channels.importance import MAGNITUDES, ChannelEffects
from basicsr_kd.pruning.cut import Cut
from basicsr_kd.pruning.job import required, working_copy
from basicsr_kd.pruning.rebuild import must_agree, rebuild
from basicsr_kd.pruning.reconstruction.reconstruct import Reconstruction
from basicsr_kd.pruning.reconstruction.reconstruct import reconstruct as refit

__all__ = ['InheritanceError', 'check_inheritable', 'inherit']

_SIZE = 8  # side of the images on which networks are traced and compared, as in pruning
_TOLERANCE = 1e-6  # share of the output's largest value; in float64


def inherit(student: nn.Module, teacher: nn.Module, *, importance: str = 'l2', calibration: Tensor | None = None,
            reconstruct: bool = False, progress: bool = False) -> Reconstruction | None:
    """Give a student, in place, the weights that are left when its teacher is pruned to its widths and depth.

    Of every group of channels that belong together the most important stay. Blocks are spread over the teacher's depth
    (`basicsr_kd.distillation.teacher_parts`). A pruned RRDBNet teacher may have fewer growth channels than the student:
    the student's further channels keep their random weights, and nothing inherited reads them yet.

    For the 23-block RRDBNet it takes seconds; 'taylor' and `reconstruct` take minutes each, on 16 images of 96x96.

    Args:
        student: A network on the CPU.
        teacher: A network of the same kind with its weights, on the CPU; it is not changed.
        importance: 'l2' (magnitude of the filters that write a channel) or 'taylor' (how far the teacher's output moves
            without a channel, on calibration images).
        calibration: Images as the networks take them, (n, c, h, w), RGB in [0, 1], for 'taylor' and `reconstruct`.
        reconstruct: Whether to refit, by least squares on the calibration images, the layers that lost inputs. If
            blocks are missing, all layers are refitted, so that each block gives the teacher's output of the block that
            it was copied from. The output on these images never gets further from the teacher's by this.
        progress: Whether to show progress bars.

    Returns:
        The result of `reconstruct`; None without it.

    Raises:
        InheritanceError: As in `check_inheritable`; or the importance is unknown, calibration images are missing, the
            teacher has values that are not finite, or the student gives another output with the same weights, because a
            number that is in no tensor differs.
    """
    if importance not in ('l2', 'taylor'):
        raise InheritanceError(f'student.importance: found {importance!r}; expected l2 or taylor')
    if calibration is None and (reconstruct or importance == 'taylor'):
        option = 'importance: taylor' if importance == 'taylor' else 'reconstruct: true'
        raise InheritanceError(f'student: {option} needs calibration images; give student.calibration.dataroot, a '
                               'folder of images as the networks take them')
    check_inheritable(student, teacher)  # before a long look at the images
    with _clear_errors():
        original = working_copy(teacher)
        criterion = (ChannelEffects(original, required(calibration), progress) if importance == 'taylor' else
                     MAGNITUDES[importance]())
        cut, pruned = _prune(student, original, criterion)
        _must_compute_the_same(student, pruned)
        refitted = refit(original, pruned, cut, required(calibration), progress) if reconstruct else None
        student.load_state_dict(_pad(pruned.state_dict(), student))
    return refitted


def check_inheritable(student: nn.Module, teacher: nn.Module) -> None:
    """Check, from shapes alone, all that `inherit` would refuse; the networks may be on the meta device.

    Raises:
        InheritanceError: The networks are of different kinds or have other inputs, outputs, scale or layers; the
            student is deeper or wider (except for growth of an RRDBNet); or the teacher cannot be traced.
    """
    with _clear_errors():
        _must_be_alike(student, teacher)
        teacher = copy.deepcopy(teacher).float().eval().requires_grad_(True)
        blocks = match_depth(student, teacher)
        channels = channels_cut(*match_widths(student, teacher, blocks, _image(teacher), no_values))
        cut = Cut(dropped=channels.dropped, renamed=blocks.renamed)
        found = differences(student, _pad(cut.apply(teacher.state_dict()), student))
        if found:
            differs = found[0].replace('the file', 'the pruned teacher').replace('the network', 'the student')
            raise InheritanceError(f'student.init: teacher: {differs}; use student.init: random')


def _prune(student: nn.Module, teacher: nn.Module, importance: Callable[[Any], Tensor | None]) -> tuple[Cut, nn.Module]:
    """The cut of a teacher to the student's shapes, and the network that is left."""
    blocks, image = match_depth(student, teacher), _image(teacher)
    groups, kept = match_widths(student, teacher, blocks, image, importance)
    channels = channels_cut(groups, kept)
    narrow = rebuild(teacher, channels.apply(teacher.state_dict()))
    must_agree(teacher, narrow, groups, kept, image)
    return Cut(dropped=channels.dropped, renamed=blocks.renamed), rebuild(narrow, blocks.apply(narrow.state_dict()))


def _pad(state: dict[str, Tensor], student: nn.Module) -> dict[str, Tensor]:
    return pad_growth(state, student.state_dict()) if isinstance(student, RRDBNet) else state


def _image(net: nn.Module) -> Tensor:
    device = next(net.parameters()).device
    return torch.zeros(1, input_channels(net), _SIZE, _SIZE, device=device)


def _must_be_alike(student: nn.Module, teacher: nn.Module) -> None:
    """Check that both networks are of one kind and take and give the same kind of images."""
    kinds = [RRDBNet if isinstance(net, RRDBNet) else type(net) for net in (student, teacher)]
    if kinds[0] is not kinds[1]:
        raise InheritanceError(f'student.init: teacher needs two networks of the same kind, and the student is '
                               f'{type(student).__name__}, the teacher {type(teacher).__name__}; use student.init: '
                               'random')
    for what, own, theirs in zip(('input channels', 'output channels', 'scale'), _interface(student),
                                 _interface(teacher), strict=True):
        if own != theirs:
            raise InheritanceError(f'student.init: teacher: {what} {own:g} in the student and {theirs:g} in the '
                                   'teacher; use a teacher that was trained for the same, or student.init: random')


@torch.no_grad()
def _interface(net: nn.Module) -> tuple[int, int, float]:
    """Channels of a network's input and output, and how many times larger its output is."""
    image = _image(net)
    try:
        output = copy.deepcopy(net).eval()(image)
    except Exception as error:  # whatever a network's own code raises
        raise InheritanceError(f'student.init: teacher: {type(net).__name__} cannot be run on an input of shape '
                               f'{tuple(image.shape)}: {error}; use student.init: random') from error
    return image.shape[1], output.shape[1], output.shape[-1] / _SIZE


@torch.no_grad()
def _must_compute_the_same(student: nn.Module, pruned: nn.Module) -> None:
    """Check that the student with the weights of the pruned teacher computes the same as the pruned teacher."""
    student = copy.deepcopy(student)
    student.load_state_dict(_pad(pruned.state_dict(), student))
    image = torch.rand(_image(student).shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)
    found, expected = (copy.deepcopy(net).double().eval()(image) for net in (student, pruned))
    if (found - expected).abs().max() > _TOLERANCE * expected.abs().max():
        raise InheritanceError('student.init: teacher: with the weights of the teacher the student gives something '
                               'else, so a number that is in no tensor differs in network_g (res_scale, img_range, an '
                               "activation, …); expected the teacher's, or student.init: random")


@contextmanager
def _clear_errors() -> Iterator[None]:
    """Work on networks without changing torch's random state; errors of pruning become InheritanceErrors."""
    try:
        with torch.inference_mode(False), torch.random.fork_rng(devices=[]):
            yield
    except PruningError as error:
        raise InheritanceError(f'student.init: teacher: {error}') from error
