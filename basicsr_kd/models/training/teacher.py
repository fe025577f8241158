"""What a run makes of the section `teacher:`: the frozen network itself, and a student that inherits from it."""
from __future__ import annotations

import os
from typing import Any

import msgspec
import numpy as np
import torch
from basicsr.archs import build_network
from basicsr.utils import get_root_logger
from torch import Tensor, nn

from basicsr_kd.archs.from_file import build_from_file, like_file, read_architecture
from basicsr_kd.checkpoint import read_state_dict
from basicsr_kd.data.cached_paired_image_dataset import files_of
from basicsr_kd.data.named_paired_image_dataset import NamedPairedImageDataset
from basicsr_kd.data.run_inputs import calibration_images
from basicsr_kd.data.teacher_outputs import TeacherOutputs
from basicsr_kd.deploy.tiles import run_tiled
from basicsr_kd.distillation.inheritance import inherit
from basicsr_kd.models.training.acceleration import autocast
from basicsr_kd.models.training.network_files import prune_to_file, run_file
from basicsr_kd.options.distill import StudentOptions
from basicsr_kd.options.prune import prune_steps
from basicsr_kd.runs.distributed import on_master_first
from basicsr_kd.utils.arrays import as_tensor
from basicsr_kd.utils.modes import evaluating

_LARGEST = 512  # largest side of an image that the teacher takes in one piece


def build_teacher(opt: dict[str, Any]) -> nn.Module:
    """Build the teacher: frozen, in evaluation mode, on the CPU. A pruned one is kept in a file for a resumed run.

    Raises:
        CheckpointError: The teacher's file cannot be read.
        PruningError: The teacher cannot be pruned in that way or that far.
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
        network = section['network'] and like_file(pruned, section['network'])  # else teacher.yml names the network
        teacher = (pruned, None, network)
    return build_from_file(*teacher).requires_grad_(False).eval()


class TaughtBefore(nn.Module):
    """A stand-in for a teacher: it gives outputs that the teacher made before (`teacher: cache: outputs`).

    Args:
        net: The teacher itself, which runs if there is no kept output.
    """

    def __init__(self, net: nn.Module) -> None:
        super().__init__()
        self.net = net
        self.outputs: Tensor | None = None
        """Kept outputs (n, 3, h, w) for the next pass."""

    def forward(self, image: Tensor) -> Tensor:
        """The kept outputs, once; else the teacher's outputs for images (n, 3, h, w)."""
        outputs, self.outputs = self.outputs, None
        return self.net(image) if outputs is None else outputs

    def make_outputs(self, opt: dict[str, Any], device: torch.device, amp: torch.dtype | None) -> None:
        """Run the teacher over the low-resolution images of the training set whose outputs are missing.

        Raises:
            BadImageError: An image cannot be read.
            OSError: An output cannot be written.
        """
        dataset = opt['datasets']['train']
        names, client = files_of(NamedPairedImageDataset({**dataset, 'io_backend': dict(dataset['io_backend'])}))

        def enlarge(lq: np.ndarray) -> np.ndarray:
            with torch.no_grad(), autocast(device, amp), evaluating(self.net):
                made = run_tiled(self.net, as_tensor(lq).to(device), _LARGEST)
            return made[0].float().cpu().permute(1, 2, 0).numpy()[..., ::-1]

        low = [name for name in names if name[1] == 'lq']
        on_master_first(lambda: TeacherOutputs(dataset['teacher_outputs']).make(low, client, enlarge))


def inherited_student(opt: dict[str, Any]) -> nn.Module:
    """A new student that inherits from the teacher before its pruning, when the teacher is widest."""
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
                       reconstruct=options.reconstruct, progress=True)
    if refitted:
        get_root_logger().info(f'Refitted {refitted.layers} layers: mean squared error against the teacher on the '
                               f'calibration images {refitted.error_plain:.3g} -> {refitted.error_refitted:.3g}')
    return student
