"""Real-ESRGAN's second-order degradation: low resolution made of ground truth, batch by batch, on any device."""
from __future__ import annotations

import copy
from collections.abc import Mapping
from typing import Any

import torch
from basicsr.models.realesrgan_model import RealESRGANModel
from basicsr.utils import DiffJPEG, USMSharp
from torch import Tensor


class SecondOrderDegradation:
    """The degradation of BasicSR's RealESRGANModel, by its own code: the same seed gives the same tensors.

    Blur, resize, noise and JPEG, twice over, then a sinc filter (Wang et al.: "Real-ESRGAN: Training Real-World Blind
    Super-Resolution with Pure Synthetic Data", ICCVW 2021). BasicSR has it in a method of its model, whose `__init__`
    wants a GPU; this class has all attributes that the method reads.

    Args:
        opt: Options with `scale` and the keys of `basicsr_kd.options.realesrgan.SynthesisOptions`.
        device: The device to work on.
        pool: How many pairs wait to be mixed with later ones, since all images of a batch are resized alike
            (`queue_size`); a multiple of the batch size. 0: each batch comes back as it is.

    Attributes:
        usm_sharpener: Sharpens images (n, c, h, w) in [0, 1].
    """

    is_train = True
    _synthesise = RealESRGANModel.feed_data

    def __init__(self, opt: Mapping[str, Any], device: torch.device, pool: int = 0) -> None:
        self.opt, self.device, self.queue_size = opt, device, pool
        # a copy: all DiffJPEGs share BasicSR's tables as one parameter, and moving one to a device would move all
        self.jpeger = copy.deepcopy(DiffJPEG(differentiable=False)).to(device)
        # colours are last in its output's memory; on a CPU PyTorch's reflection keeps that, and filter2D cannot view it
        self.jpeger.register_forward_hook(lambda module, args, image: image.contiguous())
        self.usm_sharpener = _PlanewiseUSM().to(device)
        if pool:  # BasicSR's code finds this pool; the one it makes itself would be on a GPU
            sides = opt['gt_size'] // opt['scale'], opt['gt_size']
            self.queue_lr, self.queue_gt = (torch.zeros(pool, 3, side, side, device=device) for side in sides)
            self.queue_ptr = 0

    def __call__(self, data: Mapping[str, Any]) -> tuple[Tensor, Tensor, Tensor]:
        """Make low resolution of a batch, and cut and mix the pairs.

        Args:
            data: A batch of BasicSR's RealESRGANDataset: `gt` (n, 3, h, w), RGB in [0, 1], h and w multiples of the
                scale and at least `gt_size`; `kernel1`, `kernel2` and `sinc_kernel` (n, 21, 21).

        Returns:
            Low resolution (n, 3, gt_size / scale, gt_size / scale), rounded to 8 bits, the ground truth (n, 3, gt_size,
            gt_size) and that sharpened; RGB in [0, 1].
        """
        self.lq: Tensor
        self.gt: Tensor
        self.gt_usm: Tensor
        self._synthesise(data)
        return self.lq, self.gt, self.gt_usm

    def _dequeue_and_enqueue(self) -> None:
        if self.queue_size:
            RealESRGANModel._dequeue_and_enqueue(self)

    def pool(self) -> dict[str, Any]:
        """The waiting pairs, to be saved; as bytes if they came from bytes."""
        return {'lq': _in_bytes(self.queue_lr), 'gt': _in_bytes(self.queue_gt), 'full_to': self.queue_ptr}

    def set_pool(self, pool: Mapping[str, Any]) -> None:
        """Go on with the pairs that `pool` returned."""
        self.queue_lr, self.queue_gt = (_from_bytes(pool[name]).to(self.device) for name in ('lq', 'gt'))
        self.queue_ptr = pool['full_to']


def _in_bytes(images: Tensor) -> Tensor:
    images = images.cpu()
    small = (images * 255).round().clamp(0, 255).byte()
    return small if torch.equal(_from_bytes(small), images) else images


def _from_bytes(images: Tensor) -> Tensor:
    return images.float() / 255 if images.dtype == torch.uint8 else images


class _PlanewiseUSM(USMSharp):
    """BasicSR's USMSharp with the same result, but each colour is an image with its own kernel.

    On a CPU, PyTorch computes such depthwise convolutions in a quarter of the time.
    """

    kernel: Tensor

    def forward(self, img: Tensor, weight: float = 0.5, threshold: float = 10) -> Tensor:
        if img.device.type != 'cpu':
            return super().forward(img, weight, threshold)
        planes = img.flatten(0, 1).unsqueeze(1)
        self.kernel = self.kernel[:1].expand(len(planes), -1, -1)
        return super().forward(planes, weight, threshold).view_as(img)
