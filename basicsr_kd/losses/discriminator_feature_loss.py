"""Discriminator-cooperated distillation: features compared as the teacher's discriminator sees them."""
from __future__ import annotations

import functools
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from basicsr_kd.distillation.layers import match_layers
from basicsr_kd.distillation.taps import FeatureTaps
from basicsr_kd.errors import LayerError
from basicsr_kd.losses.distill_loss import DistillLoss, check_criterion, error

IMAGE_MEAN, IMAGE_STD = 0.5, 0.25  # about those of photos in [0, 1]
LAYERS = {  # at a half, a quarter and an eighth of the resolution, by the discriminator's class
    'VGGStyleDiscriminator': ('bn0_1', 'bn1_1', 'bn2_1'),  # behind BatchNorm: layers and channels of similar scale
    'UNetDiscriminatorSN': ('conv1', 'conv2', 'conv3'),  # on the way down, each of spectral norm 1
}


class DiscriminatorFeatureLoss(DistillLoss):
    """After DCD (Hu et al.: "Discriminator-Cooperated Feature Map Distillation for GAN Compression", CVPR 2023).

    A layer's feature maps of student and teacher are made into images, and the features that the teacher's
    discriminator finds in these images are compared: Σ over the generators' layers Σ over the discriminator's layers of
    the mean error. A map becomes an image in three steps:
        1. One fixed linear map takes the teacher's channels to the image's. Its rows are orthonormal, from a fixed
           seed. (Before that, the student's learnable adapter has brought its features to the teacher's channels.)
        2. One scale and shift for each channel, the same for both sides, brings the teacher's maps of this batch to
           mean 0.5 and standard deviation 0.25, the range of images.
        3. Bilinear interpolation to the size of images that the discriminator takes.

    Differences from DCD: there each side has its own connector (1x1 convolution, BatchNorm, ReLU), learned with the
    student, the maps are not resized (a PatchGAN takes any size), and the discriminator also learns. Here the teacher's
    side is fixed, because a learnable one may agree with the student on next to nothing: a connector that gives a
    constant on both sides makes the loss zero. And the discriminator is frozen, including its BatchNorm.

    A layer costs two passes through the discriminator at full image size and one backward pass, so name few layers.
    Without names it is one layer, the last of the default pairs.

    Args:
        discriminator_layers: Module paths or globs in the discriminator; default: `LAYERS`.
        criterion: 'l1' (absolute difference, as in DCD), 'l2' (squared difference, MSE) or 'charbonnier'.
        loss_weight: The factor on the sum over layers.

    Raises:
        ValueError: An unknown criterion.
    """

    adapts = True
    one_layer = True

    def __init__(self, discriminator_layers: Sequence[str] | None = None, criterion: str = 'l1',
                 loss_weight: float = 1.0) -> None:
        super().__init__(loss_weight)
        self.discriminator_layers = discriminator_layers
        self.criterion = check_criterion(criterion)
        self._taps: FeatureTaps | None = None  # it holds the discriminator, which is thus no submodule and not saved

    def attach(self, discriminator: nn.Module, size: tuple[int, int]) -> None:
        """Give the loss its discriminator and freeze it, once and before `forward`.

        Args:
            discriminator: The teacher's discriminator, on the features' device; give a copy if it trains elsewhere. It
                stays in evaluation mode and without gradient.
            size: The (h, w) of the images that the discriminator takes.

        Raises:
            LayerError: A layer matches no module of the discriminator, or the discriminator has no default layers or no
                convolution.
            TapError: A layer does not give a single (n, c, h, w) tensor.
        """
        convs = [module for module in discriminator.modules() if isinstance(module, nn.Conv2d)]
        if not convs:
            raise LayerError(f'the discriminator ({type(discriminator).__name__}) has no Conv2d, which would tell the '
                             'channels of the images it takes')
        kind = type(discriminator).__name__
        if self.discriminator_layers is None and kind not in LAYERS:
            raise LayerError('discriminator_layers is left out, and there are defaults only for '
                             f'{" and ".join(LAYERS)}; the discriminator is {kind}: name its layers')
        discriminator.requires_grad_(False).eval()
        self._image_shape = (convs[0].in_channels, *size)
        names = []
        for pattern in self.discriminator_layers or LAYERS[kind]:
            names += match_layers(pattern, discriminator, 'discriminator')
        self._taps = FeatureTaps(discriminator, names)
        self._taps.probe(torch.full((1, *self._image_shape), IMAGE_MEAN))  # finds taps that an activation overwrites

    def layer_loss(self, student: Tensor, teacher: Tensor) -> Tensor:
        """The loss of one layer; both sides are (n, c_teacher, h, w).

        Raises:
            RuntimeError: No discriminator was attached.
        """
        if self._taps is None:
            raise RuntimeError('DiscriminatorFeatureLoss has no discriminator; call attach() before')
        student_image, teacher_image = self._as_images(student, teacher)
        with torch.no_grad():
            expected = self._seen_in(teacher_image, self._taps)
        found = self._seen_in(student_image, self._taps)
        return torch.stack([error(self.criterion, found[name], expected[name]).mean() for name in found]).sum()

    def _as_images(self, student: Tensor, teacher: Tensor) -> tuple[Tensor, Tensor]:
        channels, *size = self._image_shape
        to_image = _orthonormal(channels, teacher.shape[1], teacher.device)
        with torch.autocast(teacher.device.type, enabled=False):
            maps = [torch.einsum('ic,nchw->nihw', to_image, features) for features in (student, teacher)]
        std, mean = torch.std_mean(maps[1], dim=(0, 2, 3), correction=0, keepdim=True)
        scale = IMAGE_STD / std.clamp_min(1e-5)
        left, right = (F.interpolate((m - mean) * scale + IMAGE_MEAN, size, mode='bilinear') for m in maps)
        return left, right

    @staticmethod
    def _seen_in(image: Tensor, taps: FeatureTaps) -> dict[str, Tensor]:
        """The discriminator's features of images (n, c, h, w), in fp32, by module path."""
        with taps:
            taps.net(image)
        return {name: features.float() for name, features in taps.take().items()}


@functools.cache
def _orthonormal(rows: int, columns: int, device: torch.device) -> Tensor:
    """A matrix (rows, columns), always the same, with orthonormal rows (orthonormal columns if there are fewer)."""
    return nn.init.orthogonal_(torch.empty(rows, columns), generator=torch.Generator().manual_seed(0)).to(device)
