"""The training steps that bench_train.py compares: which there are, how one is built, how much memory it takes."""
import copy
import itertools
import logging
import multiprocessing
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml
from basicsr.models import build_model
from bench_networks import DEFAULT_ROUND_TO, load_network, peak_memory
from tqdm import tqdm

from basicsr_kd import options as our_options
from basicsr_kd.archs.from_file import build_from_file, write_network_file
from basicsr_kd.pruning import prune

OURS = 'KDGANModel'
REFERENCES = {'SRGANModel': 'whose GAN loss is the standard one too', 'ESRGANModel': 'whose GAN loss is relativistic'}
"""BasicSR's models, and how their step differs."""
OPTIONS = Path(__file__).parents[1] / 'options' / 'kd_esrgan_s16.yml'
RATIO = 0.3
"""By which the pruned teacher is pruned."""
WARM_UP = 2
"""Steps that do not count; the optimizers' state is there after the first."""


@dataclass(frozen=True)
class Step:
    """One kind of training step.

    Attributes:
        model: The name of its model class. BasicSR's know neither `amp` nor `channels_last`.
        teacher: Which one: 'unpruned' or 'pruned'. KDGANModel learns from it; with BasicSR's models it runs beside
            their step, without gradient.
        amp: As in the options.
        channels_last: As in the options.
    """

    model: str
    teacher: str
    amp: str = 'fp32'
    channels_last: bool = False

    @property
    def how(self) -> str:
        return f'{self.amp}, {"channels_last" if self.channels_last else "contiguous"}'

    @property
    def name(self) -> str:
        joint = ',' if self.model == OURS else ' + forward of the'
        return f'{self.model}{joint} {self.teacher} teacher, {self.how}'


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


def compared_steps(amp: str, channels_last: bool) -> list[Step]:
    """The reference first; KDGANModel in the memory order and format asked for, and as BasicSR's models run."""
    ours = dict.fromkeys([('fp32', False), (amp, channels_last)])
    return [*(Step(model, teacher) for model in REFERENCES for teacher in ('unpruned', 'pruned')),
            *(Step(OURS, teacher, *how) for how in ours for teacher in ('unpruned', 'pruned'))]


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

    Both networks start random and learn from the first iteration on; the GAN loss is the standard one.
    """
    opt = yaml.safe_load(path.read_text())
    opt.update(num_gpu=int(device == 'cuda'), dist=False, rank=0, world_size=1, is_train=True, auto_resume=False)
    opt['path'] = {'models': str(folder), 'training_states': str(folder)}
    opt['network_d']['input_size'] = opt['datasets']['train']['gt_size'] = opt['scale'] * lr_size
    opt['train'].update(relativistic=False, net_d_init_iters=0)
    return opt


def build_step(step: Step, setting: Setting) -> Callable[[], None]:
    """A function that does one step on a fixed random batch: what a training loop calls `optimize_parameters` for.

    The values in the log are part of it, writing them and checkpoints are not.
    """
    torch.backends.cudnn.benchmark = True  # as in BasicSR's train.py
    torch.set_num_threads(setting.threads)
    torch.manual_seed(0)
    opt = copy.deepcopy(setting.options) | {'model_type': step.model}
    teacher = None
    if step.model == OURS:
        opt['teacher'] = {'path': setting.teachers[step.teacher]}
        opt['train'].update(amp=step.amp, channels_last=step.channels_last)
        our_options.validate(opt, is_train=True)
    else:
        teacher = build_from_file(setting.teachers[step.teacher]).requires_grad_(False).eval().to(setting.device)
    model = _build_silently(opt)
    iterations = itertools.count(1)
    size = setting.lr_size
    model.feed_data({'lq': torch.rand(setting.batch, 3, size, size),
                     'gt': torch.rand(setting.batch, 3, opt['scale'] * size, opt['scale'] * size)})

    def run() -> None:
        if teacher is not None:
            with torch.no_grad():
                teacher(model.lq)
        model.optimize_parameters(next(iterations))

    return run


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
    run = build_step(step, setting)
    for _ in range(WARM_UP + 1):
        run()
    return torch.cuda.max_memory_allocated() / 1024**3 if setting.device == 'cuda' else peak_memory()
