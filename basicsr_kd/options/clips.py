"""The sections of `datasets:` that are video clips, whole: BasicSR's keys and ours."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from basicsr_kd.options.convert import Section, convert

_T = TypeVar('_T', bound='ClipOptions')


class DiskOptions(Section):
    """`io_backend:` of a test set."""
    type: Literal['disk'] = 'disk'


class BackendOptions(Section):
    """`io_backend:` of a training set."""
    type: Literal['disk', 'lmdb'] = 'disk'


class ClipOptions(Section):
    """The keys of every set of clips."""
    name: str
    type: str
    phase: str  # which BasicSR fills in, and the scale
    scale: Annotated[int, msgspec.Meta(ge=1)]
    meta_info_file: str | None = None  # the clips to take, as BasicSR's meta_info_REDS_GT.txt; left out: all
    val_partition: Literal['REDS4', 'official'] | None = None  # of REDS: left out in training, alone in test
    # BasicSR's, for its loader
    prefetch_mode: Literal['cpu', 'cuda'] | None = None
    num_prefetch_queue: int = 1
    pin_memory: bool = False
    persistent_workers: bool = False


class ClipTrainOptions(ClipOptions, kw_only=True):
    """A section of type TecoGANTrainDataset."""
    dataroot_gt: str
    num_worker_per_gpu: Annotated[int, msgspec.Meta(ge=0)]
    batch_size_per_gpu: Annotated[int, msgspec.Meta(ge=1)]
    dataset_enlarge_ratio: Annotated[float, msgspec.Meta(gt=0)] = 1
    io_backend: BackendOptions = msgspec.field(default_factory=BackendOptions)
    cache: Literal['ram'] | None = None  # all frames decoded once, at the start
    num_frame: Annotated[int, msgspec.Meta(ge=2)] = 10
    gt_size: Annotated[int, msgspec.Meta(ge=1)] = 128
    use_hflip: bool = True
    use_rot: bool = True
    random_reverse: bool = True
    moving_first_frame: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3  # how often one frame is moved, as a clip


class ClipTestOptions(ClipOptions):
    """A section of type TecoGANTestDataset."""
    dataroot_gt: str | None = None
    dataroot_lq: str | None = None
    io_backend: DiskOptions = msgspec.field(default_factory=DiskOptions)


def read_section(opt: Mapping[str, Any], kind: type[_T]) -> _T:
    """A section with its defaults.

    Args:
        opt: The section, as BasicSR hands it to a data set.
        kind: What it must be.

    Raises:
        OptionsError: The key's path, what was found, what is possible.
    """
    path = f'datasets.{opt.get("phase")}'
    backend = BackendOptions if kind is ClipTrainOptions else DiskOptions
    return convert(dict(opt), kind, path, {path: kind, f'{path}.io_backend': backend})
