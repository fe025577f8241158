"""What a run takes from the section `teacher:`: the frozen network itself, and a student that inherits from it."""
from __future__ import annotations

import os
import sys
from typing import Any

import msgspec
from basicsr.archs import build_network
from basicsr.utils import get_root_logger
from torch import nn

from basicsr_kd.archs.from_file import build_from_file, like_file, read_architecture
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.data.run_inputs import calibration_images
from basicsr_kd.distillation.inheritance import inherit
from basicsr_kd.models.training.network_files import prune_to_file, run_file
from basicsr_kd.options.distill import StudentOptions
from basicsr_kd.options.prune import prune_steps
from basicsr_kd.runs.distributed import on_master_first


def build_teacher(opt: dict[str, Any]) -> nn.Module:
    """The teacher, frozen, in evaluation mode, on the CPU; one that is pruned is kept in a file, which resume loads.

    Raises:
        CheckpointError: Its file cannot be read.
        PruningError: It cannot be pruned that way or that far.
    """
    section = opt['teacher']
    teacher = (section['path'], section['param_key'], section['network'])
    steps = prune_steps(section['prune'])
    if steps:
        pruned = run_file(opt, 'teacher.pth')

        def prune_once() -> None:
            if not (opt['path'].get('resume_state') and os.path.isfile(pruned)):
                network = section['network'] or read_architecture(read_state_dict(*teacher[:2]), section['path'])
                prune_to_file(build_from_file(*teacher[:2], network), steps, pruned, network, opt)

        on_master_first(prune_once)
        network = section['network'] and like_file(pruned, section['network'])  # else teacher.yml tells it
        teacher = (pruned, None, network)
    return build_from_file(*teacher).requires_grad_(False).eval()


def inherited_student(opt: dict[str, Any]) -> nn.Module:
    """A new student with the channels of the teacher before pruning, which is never narrower than after it."""
    section = opt['teacher']
    options = msgspec.convert(opt['student'], StudentOptions)
    student = build_network(opt['network_g'])
    teacher = build_from_file(section['path'], section['param_key'], section['network'])
    get_root_logger().info(f'The student inherits from the teacher by importance: {options.importance}' +
                           (', refitted' if options.reconstruct else '') +
                           ('. Looking at the calibration images takes minutes on a CPU.' if options.why_images
                            else '.'))
    images = calibration_images(teacher, options.calibration, opt) if options.why_images else None
    refitted = inherit(student, teacher, importance=options.importance, calibration=images,
                       reconstruct=options.reconstruct, progress=sys.stderr.isatty())
    if refitted:
        get_root_logger().info(f'Refitted {refitted.layers} layers: mean squared error against the teacher on the '
                               f'calibration images {refitted.error_plain:.3g} -> {refitted.error_refitted:.3g}')
    return student
