"""The sections of `datasets:` that are video clips, whole: BasicSR's keys and ours."""
from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Literal, TypeVar

import msgspec

from basicsr_kd.options.convert import Section, convert

_T = TypeVar('_T', bound='ClipOptions')


class DiskOptions(Section):
    """`io_backend:` of a test set."""
    type: Literal['disk'] = 'disk'  # files in folders


class BackendOptions(Section):
    """`io_backend:` of a training set."""
    type: Literal['disk', 'lmdb'] = 'disk'  # files in folders, or an LMDB


class ClipOptions(Section):
    """The keys of every set of clips."""
    name: Annotated[str, msgspec.Meta(min_length=1)]  # in the log and in folders of results
    type: str  # the kind of set
    phase: str  # which BasicSR fills in, and the scale
    scale: Annotated[int, msgspec.Meta(ge=1)]
    meta_info_file: str | None = None  # the clips to take, as BasicSR's meta_info_REDS_GT.txt; default: all
    val_partition: Literal['REDS4', 'official'] | None = None  # of REDS: left out in training, alone in test
    # BasicSR's, for its loader
    prefetch_mode: Literal['cpu', 'cuda'] | None = None
    num_prefetch_queue: int = 1  # batches kept ready with prefetch_mode: cpu
    pin_memory: bool = False  # memory that a GPU copies faster from
    persistent_workers: bool = False  # workers stay between epochs


class ClipTrainOptions(ClipOptions, kw_only=True):
    """A section of type TecoGANTrainDataset."""
    dataroot_gt: str  # a folder with a folder of frames a clip, or an .lmdb
    num_worker_per_gpu: Annotated[int, msgspec.Meta(ge=0, le=512)]  # processes that load frames
    batch_size_per_gpu: Annotated[int, msgspec.Meta(ge=1)]  # clips a batch and process
    dataset_enlarge_ratio: Annotated[float, msgspec.Meta(gt=0, le=100_000)] = 1  # passes an epoch
    io_backend: BackendOptions = msgspec.field(default_factory=BackendOptions)  # where frames are
    # frames that do not decode, whose clips are passed over; one more, and the run saves and ends
    max_bad_images: Annotated[int, msgspec.Meta(ge=0)] = 0
    cache: Literal['ram'] | None = None  # all frames decoded once, at the start
    num_frame: Annotated[int, msgspec.Meta(ge=2)] = 10  # frames of a clip in training
    gt_size: Annotated[int, msgspec.Meta(ge=1)] = 128  # side of the crops, in pixels of ground truth
    use_hflip: bool = True  # mirror at random
    use_rot: bool = True  # turn at random
    random_reverse: bool = True  # play backwards at random
    moving_first_frame: Annotated[float, msgspec.Meta(ge=0, le=1)] = 0.3  # how often one frame is moved, as a clip


class ClipTestOptions(ClipOptions):
    """A section of type TecoGANTestDataset."""
    dataroot_gt: str | None = None  # a folder with a folder of frames a clip
    dataroot_lq: str | None = None  # the same in low resolution; default: made of ground truth
    io_backend: DiskOptions = msgspec.field(default_factory=DiskOptions)  # where frames are


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
