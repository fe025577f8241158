"""The sections of an options file that BasicSR reads, as structs, with our keys beside its own.

The comment beside a key is its description: `scripts/options_reference.py` makes documentation of it. Imports
neither torch nor BasicSR.
"""
from __future__ import annotations

from typing import Annotated, Any, Literal

import msgspec
from msgspec import Meta

from basicsr_kd.options.convert import Section
from basicsr_kd.options.train import TrainOptions

Text = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=1)]
Frequency = Annotated[int, Meta(ge=0)]
"""Iterations from one to the next; 0: never."""
Share = Annotated[float, Meta(ge=0, le=1)]
NotNegative = Annotated[float, Meta(ge=0)]


class TopOptions(Section, kw_only=True):
    """The options file itself."""
    name: str  # of the run, and of its folder in experiments/ or results/
    model_type: Text  # the model that trains
    scale: Count  # how many times larger the output is
    datasets: dict[str, Any]  # train, val, val_2, …; or test, test_2, …
    path: dict[str, Any]  # files to start from
    # GPUs of this process; 0: the CPU; auto: those that are there
    num_gpu: Annotated[int, Meta(ge=0)] | Literal['auto']
    # of random numbers; default: drawn, and written to the log
    manual_seed: Annotated[int, Meta(ge=0, le=2**32 - 1000)] | None = None
    network_g: dict[str, Any] | None = None  # the generator: type: and its arguments
    network_d: dict[str, Any] | None = None  # the discriminator: type: and its arguments
    train: dict[str, Any] | None = None  # losses, optimizers, pace
    val: dict[str, Any] | None = None  # how results are measured and saved
    logger: dict[str, Any] | None = None  # what is written when
    dist_params: dict[str, Any] | None = None  # of distributed runs under Slurm
    find_unused_parameters: bool = False  # of PyTorch's DistributedDataParallel
    teacher: dict[str, Any] | None = None  # the network to distil from
    student: dict[str, Any] | None = None  # how the student starts
    prune: dict[str, Any] | list[dict[str, Any]] | None = None  # what is taken away


class PathOptions(Section):
    """`path:`."""
    pretrain_network_g: Text | None = None  # weights that the generator starts with
    pretrain_network_d: Text | None = None  # weights that the discriminator starts with
    param_key_g: Text | None = None  # which of the weights of that file
    param_key_d: Text | None = None  # which of the weights of that file
    strict_load_g: bool = True  # whether all tensors must be there
    strict_load_d: bool = True  # whether all tensors must be there
    resume_state: Text | None = None  # the training state to go on from
    # networks that do not start as they were saved with that state
    ignore_resume_networks: list[str] | str | None = None
    # filled in; of a newer BasicSR than 1.4.2: the folder in which runs have theirs
    experiments_root: str | None = None
    results_root: str | None = None  # the same for tests
    models: str | None = None  # filled in
    training_states: str | None = None  # filled in
    log: str | None = None  # filled in
    visualization: str | None = None  # filled in


class WandbOptions(Section):
    """`logger.wandb:`."""
    project: Text | None = None  # default: Weights & Biases is not used
    resume_id: str | None = None  # of the run there to go on with


class LoggerOptions(Section):
    """`logger:`."""
    print_freq: Frequency = 100  # iterations from line to line; 0: never
    # iterations from one set of networks and state to the next; 0: only at the end
    save_checkpoint_freq: Frequency = 5000
    use_tb_logger: bool = False  # whether TensorBoard gets losses and scores
    wandb: WandbOptions | None = None  # Weights & Biases, through TensorBoard
    keep_last: Count | None = None  # ours: sets of networks and state that stay; default: all
    on_save_error: Literal['stop', 'continue'] = 'stop'  # ours: where a disk is full or read-only


class DistOptions(Section):
    """`dist_params:`."""
    backend: Literal['nccl', 'gloo'] = 'nccl'  # on GPUs; without any it is gloo
    # where processes meet, under Slurm; default: MASTER_PORT, else 29500
    port: Annotated[int, Meta(ge=1, le=65535)] | None = None


class MultiStepOptions(Section, tag_field='type', tag='MultiStepLR', kw_only=True):
    """`train.scheduler:` of type MultiStepLR: a rate that falls in steps."""
    milestones: list[Annotated[int, Meta(ge=0)]]  # iterations at which it falls
    gamma: NotNegative = 0.1  # what is left of it each time
    # iterations at which it starts anew
    restarts: list[Annotated[int, Meta(ge=0)]] = msgspec.field(default_factory=lambda: [0])
    # parts of the first rate it then has
    restart_weights: list[NotNegative] = msgspec.field(default_factory=lambda: [1])
    last_epoch: Literal[-1] = -1  # PyTorch's, for a fresh start


class MultiStepRestartOptions(MultiStepOptions, tag='MultiStepRestartLR', kw_only=True):
    """`train.scheduler:` of type MultiStepRestartLR, another name of MultiStepLR."""


class CosineOptions(Section, tag_field='type', tag='CosineAnnealingRestartLR', kw_only=True):
    """`train.scheduler:` of type CosineAnnealingRestartLR: a rate that falls as a cosine, and starts anew."""
    periods: list[Count]  # iterations from start to start
    # parts of the first rate it then has
    restart_weights: list[NotNegative] = msgspec.field(default_factory=lambda: [1])
    eta_min: NotNegative = 0  # the least rate
    last_epoch: Literal[-1] = -1  # PyTorch's, for a fresh start


AnyScheduler = MultiStepOptions | MultiStepRestartOptions | CosineOptions


class TrainSection(TrainOptions, kw_only=True):
    """`train:`: BasicSR's keys and ours."""
    total_iter: Count  # iterations
    scheduler: AnyScheduler  # how learning rates fall
    optim_g: dict[str, Any]  # the generator's optimizer: type:, lr: and its arguments
    optim_d: dict[str, Any] | None = None  # the discriminator's optimizer
    warmup_iter: Annotated[int, Meta(ge=-1)] = -1  # iterations in which learning rates rise; -1: none
    ema_decay: Annotated[float, Meta(ge=0, lt=1)] = 0  # of the generator's weights averaged over iterations; 0: none
    pixel_opt: dict[str, Any] | None = None  # loss on pixels: type: and its arguments
    perceptual_opt: dict[str, Any] | None = None  # loss on features of VGG19
    gan_opt: dict[str, Any] | None = None  # loss by the discriminator
    net_d_iters: Count = 1  # the generator learns in every n-th iteration
    net_d_init_iters: Annotated[int, Meta(ge=0)] = 0  # iterations in which the discriminator learns alone


class BackendOptions(Section):
    """`io_backend:` of a set of images."""
    type: Literal['disk', 'lmdb']  # files in folders, or an LMDB


class AnySet(Section, kw_only=True):
    """What every set of images has in `datasets:`."""
    name: Text  # in the log and in folders of results
    type: Text  # the kind of set
    io_backend: BackendOptions  # where images are
    phase: str | None = None
    scale: Count | None = None  # as the file's own
    dataset_enlarge_ratio: Annotated[float, Meta(gt=0, le=100_000)] = 1  # passes an epoch
    use_shuffle: bool = True  # of old files; nothing reads it: training always shuffles
    # cuda: the next batch goes to the GPU meanwhile, and needs pin_memory: true
    prefetch_mode: Literal['cpu', 'cuda'] | None = None
    num_prefetch_queue: Count = 1  # batches kept ready with prefetch_mode: cpu
    pin_memory: bool = False  # memory that a GPU copies faster from
    persistent_workers: bool | None = None  # workers stay between epochs; default: they do, where there are any


class _StoredSet(AnySet, kw_only=True):
    meta_info_file: str | None = None  # a list of the images to take; default: all
    mean: list[float] | None = None  # taken off, by channel
    std: list[float] | None = None  # divided by, by channel
    color: Literal['y'] | None = None  # y: luma alone


class PairedSection(_StoredSet, kw_only=True):
    """A set of type PairedImageDataset: pairs of low resolution and ground truth."""
    dataroot_gt: Text  # folder or .lmdb of ground truth
    dataroot_lq: Text  # folder or .lmdb of low resolution
    filename_tmpl: Text = '{}'  # name of an LR file by that of its ground truth
    gt_size: Count | None = None  # side of the crops, in pixels of ground truth
    use_hflip: bool = False  # mirror at random
    use_flip: bool = False  # an old name of use_hflip, which nothing reads
    use_rot: bool = False  # turn at random
    num_worker_per_gpu: Annotated[int, Meta(ge=0, le=512)] = 0  # processes that load images
    batch_size_per_gpu: Count = 1  # crops a batch and process
    cache: Literal['ram'] | None = None  # ours: all images decoded once, at the start
    # ours, in training: images that do not decode and are passed over; one more, and the run saves and ends
    max_bad_images: Annotated[int, Meta(ge=0)] = 0


class PhotoSection(_StoredSet, kw_only=True):
    """A set of type SingleImageDataset: images without ground truth."""
    dataroot_lq: Text  # folder or .lmdb of images
