"""Networks that BasicSR has no options for, opened by spandrel from their tensors alone.

`spandrel` (MIT, https://github.com/chaiNNer-org/spandrel) knows some forty architectures by the names and shapes of
their tensors. Its own call runs in inference mode, whose tensors no loss can use, clamps the output to [0, 1] and pads
the image; here a network is called directly, like one of BasicSR.
"""
from __future__ import annotations

import textwrap
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from basicsr_kd.errors import CheckpointError

if TYPE_CHECKING:
    from spandrel import ImageModelDescriptor

_PURPOSES = ('SR', 'Restoration')


def open_with_spandrel(state: Mapping[str, Tensor]) -> ImageModelDescriptor[nn.Module]:
    """Open a state dict with spandrel: the network with its weights, scale, channels and the sizes it takes.

    Args:
        state: As `basicsr_kd.checkpoint.read_state_dict` returns it, so nothing is unpickled here.

    Raises:
        CheckpointError: Spandrel does not know the architecture, it cannot be built, or it is not for enlarging or
            restoring images. The text has no file name: it is put behind what our own reading of the file says.
    """
    import spandrel  # not above: registering the plugin imports this module, and spandrel is slow to import

    try:
        opened = spandrel.ModelLoader('cpu').load_from_state_dict(dict(state))  # a copy: some architectures add to it
    except spandrel.UnsupportedModelError:
        raise CheckpointError(f'spandrel {spandrel.__version__} does not know it either') from None
    except Exception as error:  # whatever an architecture's own code raises
        reason = textwrap.shorten(str(error) or type(error).__name__, 200)
        raise CheckpointError(f'spandrel {spandrel.__version__} cannot open it either: {reason}') from None
    if not isinstance(opened, spandrel.ImageModelDescriptor) or opened.purpose not in _PURPOSES:
        raise CheckpointError(f'spandrel takes it for {opened.architecture.name}, a network for {opened.purpose}; '
                              f'expected one for {" or ".join(_PURPOSES)}')
    return opened


def as_module(opened: ImageModelDescriptor[nn.Module]) -> nn.Module:
    """The network in spandrel's description, to be called like one of BasicSR, in evaluation mode.

    Its modules have the paths of `opened.model`, but with `model.` in front for the few architectures (MMRealSR, FBCNN,
    DRUNet …) that spandrel calls with more than the image, or of whose output it takes a part.

    Returns:
        A module that takes (n, c, h, w), RGB in [0, 1], and gives (n, c, scale·h, scale·w), about [0, 1] but not
        clamped. Nothing is padded: h and w must fit `opened.size_requirements`. It must run under `no_grad`: in
        evaluation mode some architectures (PLKSR) overwrite what a gradient would need.
    """
    net = opened.model if _is_called_plainly(opened) else _Called(opened)
    net.register_forward_pre_hook(_copy_image)
    return net.eval()


class _Called(nn.Module):
    """A network that is called as spandrel calls it."""

    def __init__(self, opened: ImageModelDescriptor[nn.Module]) -> None:
        super().__init__()
        self.model = opened.model
        self._call = opened._call_fn

    def forward(self, image: Tensor) -> Tensor:
        return self._call(self.model, image)


def _is_called_plainly(opened: ImageModelDescriptor[nn.Module]) -> bool:
    """Whether spandrel's call is `model(image)`: then an identity in place of the model gives the image back."""
    image = torch.zeros(1, opened.input_channels, 8, 8)
    try:
        return opened._call_fn(nn.Identity(), image) is image
    except AttributeError:  # the call looks at the model
        return False


def _copy_image(net: nn.Module, args: tuple[Any, ...]) -> Tensor:
    """A hook for networks that write into their input (RCAN): the caller's image is the student's too."""
    return args[0].clone()
