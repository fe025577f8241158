"""The training steps that bench_train.py compares: which there are, how one is built, how much memory it takes."""
import copy
import itertools
import logging
import multiprocessing
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
import yaml
from basicsr.models import build_model
from torch import nn
from tqdm import tqdm

from basicsr_kd import options as our_options
from basicsr_kd.archs.from_file import build_from_file, write_network_file
from basicsr_kd.pruning import prune
from basicsr_kd.utils.images import write_image
from bench.networks import DEFAULT_ROUND_TO, load_network, peak_memory

OURS = 'KDGANModel'
OPTIONS = Path(__file__).parents[2] / 'options' / 'kd_esrgan_s16.yml'
RATIO = 0.3
"""By which the pruned teacher is pruned."""
WARM_UP = 2
"""Steps that do not count; the optimizers' state is there after the first."""


@dataclass(frozen=True)
class Step:
    """One kind of training step.

    Attributes:
        model: The name of its model class. BasicSR's know none of the levers below.
        teacher: Which one: 'unpruned' or 'pruned'. KDGANModel learns from it; with BasicSR's models it runs beside
            their step, without gradient.
        amp: `train.amp` of the options.
        teacher_amp: `teacher.amp` of the options.
        channels_last: `train.channels_last` of the options.
        compile_mode: That of `train.compile` in the options; None: not compiled.
        compile_d: Whether the discriminator is compiled, where the others are.
        outputs: What is distilled: the outputs alone, or as the options file has it.
        cached: `teacher.cache` of the options, which takes outputs alone.
    """

    model: str
    teacher: str = 'unpruned'
    amp: str = 'fp32'
    teacher_amp: str = 'fp32'
    channels_last: bool = False
    compile_mode: str | None = None
    compile_d: bool = True
    outputs: bool = False
    cached: bool = False

    @property
    def name(self) -> str:
        if self.model != OURS:
            return f'{self.model} + forward of the {self.teacher} teacher'
        levers = {f'amp {self.amp}': self.amp != 'fp32', f'teacher {self.teacher_amp}': self.teacher_amp != 'fp32',
                  'channels_last': self.channels_last, 'pruned teacher': self.teacher == 'pruned',
                  'outputs alone': self.outputs, 'outputs cached': self.cached,
                  f'compile ({self.compile_mode})': self.compile_mode, 'D eager': not self.compile_d}
        return f'{OURS}: ' + (', '.join(lever for lever, on in levers.items() if on) or 'all fp32, contiguous')


BASELINE, STANDARD = Step('ESRGANModel'), Step('SRGANModel')
"""BasicSR's own steps and a pass of the teacher: with the relativistic loss, which all rows but the second have, and
with the standard one."""
FP32 = Step(OURS)
FP32_CHANNELS_LAST = Step(OURS, channels_last=True)
DEFAULT = Step(OURS, teacher_amp='bf16', channels_last=True)
BF16 = Step(OURS, amp='bf16', teacher_amp='bf16', channels_last=True)
OUTPUTS = Step(OURS, outputs=True)


def compared_steps(formats: Sequence[str], compile_modes: Sequence[str], eager: bool = True) -> list[Step]:
    """The baseline first; then each lever of KDGANModel alone, and together.

    Args:
        formats: The number formats that are fast here; without bf16 its rows are left out.
        compile_modes: How compiled steps are compiled; none: there are no such steps.
        eager: Whether all others are among them, or only what compiled ones are compared with.
    """
    alone = [FP32, FP32_CHANNELS_LAST, Step(OURS, teacher_amp='bf16'), Step(OURS, amp='bf16', teacher_amp='bf16'),
             Step(OURS, 'pruned'), OUTPUTS, replace(OUTPUTS, cached=True)]
    together = [DEFAULT, BF16, Step(OURS, 'pruned', 'bf16', 'bf16', channels_last=True),
                *(replace(BF16, outputs=True, cached=cached) for cached in (False, True))]
    compiled = [step for mode in compile_modes for step in (
        compiled_bf16(mode), replace(compiled_bf16(mode), compile_d=False), Step(OURS, compile_mode=mode))]
    others = [STANDARD, *alone, *together] if eager else [BF16]
    return [step for step in [BASELINE, *others, *compiled]
            if {step.amp, step.teacher_amp} <= set(formats)]


def compiled_bf16(mode: str) -> Step:
    return Step(OURS, amp='bf16', teacher_amp='bf16', channels_last=True, compile_mode=mode)


@dataclass(frozen=True)
class Setting:
    """What all steps of a comparison have in common.

    Attributes:
        options: Those of a KDGANModel run; BasicSR's models read of them what they know.
        teachers: The files of the teachers, by their name in `Step`.
        device: 'cpu' or 'cuda'.
        threads: PyTorch's threads on the CPU.
        batch: Images a step.
        lr_size: Side of the low-resolution images.
    """

    options: dict[str, Any]
    teachers: dict[str, str]
    device: str
    threads: int
    batch: int
    lr_size: int


def write_teachers(weights: str | None, folder: Path) -> tuple[dict[str, str], dict[str, int]]:
    """Write the two teachers' files.

    Returns:
        Paths and numbers of parameters, by the names in `Step`.

    Raises:
        CheckpointError: `weights` cannot be used.
        PruningError: The network cannot be pruned that far.
    """
    net = load_network(weights)
    pruned = prune(net, layout='growth', ratio=RATIO, round_to=DEFAULT_ROUND_TO, importance='l2').network
    nets = {'unpruned': net, 'pruned': pruned}
    paths = {name: str(folder / f'{name}.pth') for name in nets}
    for name, path in paths.items():
        write_network_file(path, nets[name].state_dict())
    return paths, {name: sum(parameter.numel() for parameter in net.parameters()) for name, net in nets.items()}


def read_options(path: Path, device: str, lr_size: int, folder: Path) -> dict[str, Any]:
    """Options of a KDGANModel run for its training steps alone: its networks, losses, optimizers and EMA.

    Both networks start random and learn from the first iteration on; the GAN loss is ESRGANModel's.
    """
    opt = yaml.safe_load(path.read_text())
    opt.update(num_gpu=int(device == 'cuda'), dist=False, rank=0, world_size=1, is_train=True, auto_resume=False)
    opt['path'] = {'models': str(folder), 'training_states': str(folder)}
    opt['network_d']['input_size'] = opt['datasets']['train']['gt_size'] = opt['scale'] * lr_size
    opt['train'].update(relativistic=True, net_d_init_iters=0)
    return opt


class TrainingStep:
    """A step on a fixed random batch: what a training loop calls `optimize_parameters` for.

    The values in the log are part of it, writing them and checkpoints are not.

    Attributes:
        model: The model that trains.
        teacher: The network that teaches it, or runs beside its step.
    """

    def __init__(self, step: Step, setting: Setting) -> None:
        torch.backends.cudnn.benchmark = True  # as in BasicSR's train.py
        torch.set_num_threads(setting.threads)
        torch.manual_seed(0)
        opt = copy.deepcopy(setting.options) | {'model_type': step.model}
        if step.model == OURS:
            opt['teacher'] = {'path': setting.teachers[step.teacher], 'amp': step.teacher_amp}
            opt['train'].update(amp=step.amp, channels_last=step.channels_last,
                                compile={'mode': step.compile_mode} if step.compile_mode else False)
            if step.outputs:
                opt['train']['distill_opt'] = {'type': 'ResponseDistillLoss'}
            if step.cached:
                opt['teacher'].update(cache='outputs', cache_border=4)
                _use_an_image(opt, Path(setting.teachers[step.teacher]).parent)
            our_options.validate(opt, is_train=True)
            if step.cached:  # which preflight fills in
                folder = Path(setting.teachers[step.teacher]).parent
                opt['datasets']['train']['teacher_outputs'] = str(folder / 'outputs')
        self.model = _build_silently(opt)
        if not step.compile_d:
            self.model.net_d._compiled_call_impl = None  # undoes nn.Module.compile()
        self.distils = step.model == OURS
        self.teacher: nn.Module = self.model.net_teacher if self.distils else build_from_file(
            setting.teachers[step.teacher]).requires_grad_(False).eval().to(setting.device)
        size, scale = setting.lr_size, opt['scale']
        data = {name: torch.rand(setting.batch, 3, side, side)
                for name, side in (('lq', size), ('gt', scale * size), ('teacher', scale * size))}
        self.model.feed_data(data if step.cached else {name: data[name] for name in ('lq', 'gt')})
        self._iterations = itertools.count(1)

    def __call__(self) -> None:
        if not self.distils:
            with torch.no_grad():
                self.teacher(self.model.lq)
        self.model.optimize_parameters(next(self._iterations))


def _use_an_image(opt: dict[str, Any], folder: Path) -> None:
    """Give the options a training set of one small image, over which the teacher runs when the model is built."""
    train = opt['datasets']['train']
    for kind in ('gt', 'lq'):
        train[f'dataroot_{kind}'] = str(folder / kind)
        write_image(folder / kind / '0.png', np.zeros((8, 8, 3), np.uint8))
    train.update(phase='train', scale=opt['scale'])


def _build_silently(opt: dict[str, Any]) -> Any:
    logging.disable(logging.WARNING)  # every model tells its networks and losses at length
    try:
        return build_model(opt)
    finally:
        logging.disable(logging.NOTSET)


def peak_memories(steps: Sequence[Step], setting: Setting) -> list[float | None]:
    """`peak_of_step` of each, one after another, in processes of their own."""
    with multiprocessing.get_context('spawn').Pool(1, maxtasksperchild=1) as pool:
        return [pool.apply(peak_of_step, (step, setting)) for step in tqdm(steps, desc='peak memory', unit='step')]


def peak_of_step(step: Step, setting: Setting) -> float | None:
    """GiB: on a GPU what PyTorch's tensors took at most, on a CPU this whole process, where the system tells."""
    run = TrainingStep(step, setting)
    for _ in range(WARM_UP + 1):
        run()
    return torch.cuda.max_memory_allocated() / 1024**3 if setting.device == 'cuda' else peak_memory()
