"""Training clips of TecoGAN: ground truth only, since the model makes the low resolution on its device."""
from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from basicsr.data.transforms import augment
from basicsr.utils import FileClient, imfrombytes, img2tensor
from torch import Tensor
from torch.utils.data import Dataset

from basicsr_kd.data.clips import PARTITIONS, Clip, find_clips, read_listing, words
from basicsr_kd.data.ram import ImageName, RamImages
from basicsr_kd.data.tecogan_degradation import BORDER
from basicsr_kd.errors import BadImageError, ClipError, OptionsError
from basicsr_kd.options.clips import ClipTrainOptions, read_section

LR_MULTIPLE = 8  # FNet halves its input three times
_MOST_SHIFT = 4  # pixels from frame to frame, if one frame is moved


class TecoGANTrainDataset(Dataset):
    """Random crops of clips, one crop from each frame on (`type: TecoGANTrainDataset`).

    As in TecoGAN (Chu et al., TOG 2020) and TecoGAN-PyTorch: a clip that ends too early is gone through backwards; now
    and then (`moving_first_frame`) one frame is moved by a few pixels from frame to frame instead, so that the flow
    learns from a motion that is known exactly; crops are flipped, turned, and their time reversed.

    Args:
        opt: A section of `datasets:`; the keys are those of `basicsr_kd.options.clips.ClipTrainOptions`.
            `dataroot_gt` has one folder for each clip, or is BasicSR's LMDB with keys `clip/frame`.

    Raises:
        OptionsError: A key is unknown, a value is wrong, or the low-resolution crop is no multiple of 8.
        ClipError: As in `find_clips`, or frames are smaller than the crop.
        BadImageError: With `cache: ram`, a frame cannot be read.
    """

    def __init__(self, opt: Mapping[str, Any]) -> None:
        self.opt = opt
        self.options = read_section(opt, ClipTrainOptions)
        check_crop(self.options.gt_size, self.options.scale, f'datasets.{self.options.phase}.gt_size')
        self.side = self.options.gt_size + 2 * BORDER
        validation = PARTITIONS.get(self.options.val_partition or '', ())
        listed = read_listing(self.options.meta_info_file) if self.options.meta_info_file else None
        found = find_clips(self.options.dataroot_gt, self.options.io_backend.type, listed)
        self.clips = [clip for clip in found if clip.name not in validation]
        if not self.clips:
            raise ClipError(f'All clips of {self.options.dataroot_gt} are for validation, by val_partition: '
                            f'{self.options.val_partition}. Expected others beside them.')
        for clip in self.clips:
            self._must_hold_crop(clip)
        self.starts = [(clip, start) for clip in self.clips for start in range(len(clip.frames))]
        self.file_client: FileClient | RamImages | None = None  # an LMDB is opened in the process that reads from it
        if self.options.cache:
            self.file_client = RamImages(*self.files())

    def __len__(self) -> int:
        """The number of frames: a crop begins at each."""
        return len(self.starts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        """One crop of a clip; if a frame does not decode, the next crop whose frames all do.

        Returns:
            `gt`: (t, 3, gt_size + 8, gt_size + 8) RGB float32 in [0, 1], with the border of 4 pixels that
            `gaussian_downsample` uses up, so that the ground truth is `gt[..., 4:-4, 4:-4]`; `key`: clip/first frame;
            `broken`: the frames that do not decode and were therefore passed over, one line for each.

        Raises:
            ClipError: A frame has another size than its clip.
            BadImageError: Every crop has a frame that does not decode.
        """
        broken: list[str] = []
        for further in range(len(self)):
            try:
                return {**self._crop((index + further) % len(self)), 'broken': '\n'.join(broken)}
            except BadImageError as error:
                broken += [error.path] if error.path not in broken else []
        raise BadImageError(broken[0], 'cannot be read as an image, and no crop of these clips goes without such')

    def _crop(self, index: int) -> dict[str, Any]:
        clip, start = self.starts[index]
        options = self.options
        moving = random.random() < options.moving_first_frame
        indices = [start] * options.num_frame if moving else reflected(start, options.num_frame, len(clip.frames))
        room = clip.size[0] - self.side, clip.size[1] - self.side
        corners = moving_corners(room, options.num_frame, _MOST_SHIFT if moving else 0)
        frames = {number: self._read(clip, number) for number in set(indices)}
        crops = [frames[number][top:top + self.side, left:left + self.side].copy()
                 for number, (top, left) in zip(indices, corners, strict=True)]
        if options.random_reverse and random.random() < 0.5:
            crops.reverse()
        return {'gt': _to_tensor(augment(crops, options.use_hflip, options.use_rot)), 'key': f'{clip.name}/{start}'}

    def files(self) -> tuple[list[ImageName], FileClient]:
        """All frames, and the client that reads their files."""
        return [(frame, 'gt') for clip in self.clips for frame in clip.frames], self._open()

    def _open(self) -> FileClient:
        lmdb = {'db_paths': self.options.dataroot_gt, 'client_keys': 'gt'}
        backend = self.options.io_backend.type
        return FileClient(backend, **(lmdb if backend == 'lmdb' else {}))

    def _read(self, clip: Clip, number: int) -> np.ndarray:
        """A frame (h, w, 3) BGR uint8."""
        if self.file_client is None:
            self.file_client = self._open()
        content = self.file_client.get(clip.frames[number], 'gt')
        image = imfrombytes(content) if content else None
        if image is None:
            raise BadImageError(clip.frames[number], f'in {self.options.dataroot_gt} cannot be read as an image. '
                                                     'Replace it.')
        if image.shape[:2] != clip.size:
            raise ClipError(f'{clip.frames[number]} in {self.options.dataroot_gt} has {words(image.shape[:2])}, '
                            f'expected {words(clip.size)} as its clip. Replace it, or correct the list of sizes.')
        return image

    def _must_hold_crop(self, clip: Clip) -> None:
        if min(clip.size) >= self.side:
            return
        step = LR_MULTIPLE * self.options.scale
        most = (min(clip.size) - 2 * BORDER) // step * step
        raise ClipError(f'{clip.frames[0]} has {words(clip.size)}, too few for gt_size {self.options.gt_size} and a '
                        f'border of {BORDER} pixels for the blur. ' +
                        (f'Set gt_size to {most} at most, or take the clip away.' if most > 0 else 'Take it away.'))


def check_crop(gt_size: int, scale: int, key: str) -> None:
    """Check that FNet can take a crop's low resolution.

    Args:
        gt_size: Side of the ground truth's crop.
        scale: How many times smaller the low resolution is.
        key: What the options file calls `gt_size`.

    Raises:
        OptionsError: The crop's side in low resolution is no multiple of 8.
    """
    step = LR_MULTIPLE * scale
    if gt_size % step:
        below = gt_size // step * step
        raise OptionsError(f'{key}: found {gt_size}, which gives low-resolution crops of {gt_size / scale:g} pixels; '
                           f'expected a multiple of {LR_MULTIPLE} there: gt_size '
                           f'{f"{below} or " if below else ""}{below + step}')


def reflected(start: int, num: int, length: int) -> list[int]:
    """`num` frame numbers from `start` on, turning round at the ends of the clip: 0 1 2 1 0 1 … for `length` 3."""
    period = 2 * (length - 1)
    return [min(number % period, -number % period) for number in range(start, start + num)]


def moving_corners(room: tuple[int, int], num: int, most: int) -> np.ndarray:
    """Corners of `num` crops, each moved by up to `most` whole pixels in each direction from the one before.

    A crop that would leave the frame stops at its edge.

    Args:
        room: By how many pixels the frame is higher and wider than the crop.
        num: The number of crops.
        most: The largest move in pixels; 0: all crops have the same place.

    Returns:
        (num, 2) top and left, whole numbers in [0, room].
    """
    shifts = [(round(random.uniform(-most, most)), round(random.uniform(-most, most))) for _ in range(num)]
    walk = np.cumsum(shifts, axis=0)
    lowest, highest = -walk.min(axis=0), np.subtract(room, walk.max(axis=0))
    first = [random.randint(low, max(low, high)) for low, high in zip(lowest.tolist(), highest.tolist(), strict=True)]
    return np.clip(walk + first, 0, room)


def _to_tensor(images: Sequence[np.ndarray]) -> Tensor:
    """Turn t images (h, w, 3) BGR uint8 into (t, 3, h, w) RGB float32 in [0, 1]."""
    return torch.stack(img2tensor(list(images))) / 255
