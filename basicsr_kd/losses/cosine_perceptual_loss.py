"""TecoGAN's perceptual loss: the angle between features of VGG19."""
from __future__ import annotations

import http.client
from collections.abc import Sequence

import torch
import torch.nn.functional as F
from basicsr.archs.vgg_arch import VGG_PRETRAIN_PATH, VGGFeatureExtractor
from torch import Tensor, nn

from basicsr_kd.errors import BackboneError


class CosinePerceptualLoss(nn.Module):
    """Σ over layers of 1 − the mean cosine of the features of two images, over all positions.

    Chu, Xie, Mayer, Leal-Taixé, Thuerey: "Learning Temporal Coherence via Self-Supervision for GAN-based Video
    Generation" (TecoGAN), ACM TOG 39(4), 2020; layers and weight as in its code and in TecoGAN-PyTorch. The length of
    a feature vector does not count, unlike in BasicSR's `PerceptualLoss`.

    VGG19's weights (550 MB) are BasicSR's file `experiments/pretrained_models/vgg19-dcbb9e9d.pth` or those in PyTorch's
    cache, into which they are downloaded.

    Args:
        loss_weight: The factor on the sum.
        layers: Names of VGG19's layers, as BasicSR's `VGGFeatureExtractor` has them.

    Raises:
        ValueError: VGG19 does not have a layer.
        BackboneError: VGG19's weights are missing and cannot be downloaded.
    """

    def __init__(self, loss_weight: float = 0.2,
                 layers: Sequence[str] = ('relu2_2', 'relu3_4', 'relu4_4', 'relu5_4')) -> None:
        super().__init__()
        self.loss_weight = loss_weight
        self.layers = list(layers)
        try:
            self.vgg = VGGFeatureExtractor(self.layers, vgg_type='vgg19')
        except (OSError, RuntimeError, http.client.HTTPException) as error:  # RuntimeError: its SHA-256 is another
            raise BackboneError(f'the weights of VGG19 are not on this machine and cannot be downloaded ({error}). Put '
                                'vgg19-dcbb9e9d.pth, from https://download.pytorch.org/models, at '
                                f'{VGG_PRETRAIN_PATH}') from error
        except ValueError as error:
            raise ValueError(f'CosinePerceptualLoss: layers are {self.layers}, expected names such as relu2_2: '
                             f'{error}') from None

    def forward(self, output: Tensor, gt: Tensor) -> tuple[Tensor, None]:
        """The weighted loss and None: there is no style loss, which BasicSR's `PerceptualLoss` also returns.

        Args:
            output: Images (n, 3, h, w), RGB around [0, 1].
            gt: Images of the same shape; no gradient goes there.
        """
        found = self.vgg(output)
        with torch.no_grad():
            expected = self.vgg(gt)
        losses = [1 - F.cosine_similarity(found[layer], expected[layer], dim=1).mean() for layer in self.layers]
        return self.loss_weight * torch.stack(losses).sum(), None
