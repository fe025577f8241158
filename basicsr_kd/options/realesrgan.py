"""The keys of KDRealESRGANModel and PruneRealESRGANModel that other models do not have, with the names of Real-ESRGAN's
options files. Imports neither torch nor BasicSR.
"""
from __future__ import annotations

import math
from typing import Annotated, Any, Literal

import msgspec

from basicsr_kd.errors import OptionsError
from basicsr_kd.options.basicsr_sections import AnySet, BackendOptions
from basicsr_kd.options.convert import Section, check_keys, convert_ours
from basicsr_kd.options.our_models import REALESRGAN_MODELS, our_model

PHOTO_SETS = ('RealESRGANDataset', 'RealESRGANDataset_basicsr')
TRAIN_KEYS = {'ldl_opt'}
CROP = 400
"""The side of what BasicSR's RealESRGANDataset gives, in pixels."""
_BLUR, _USM = 21, 51  # sides of its kernels: blur and sinc filter, sharpening

_NotNegative = Annotated[float, msgspec.Meta(ge=0)]
_Factor = Annotated[float, msgspec.Meta(gt=0, le=10)]
_Quality = Annotated[float, msgspec.Meta(ge=1, le=100)]
_Share = Annotated[float, msgspec.Meta(ge=0, le=1)]
_Count = Annotated[int, msgspec.Meta(ge=1)]
_UpDownKeep = tuple[_NotNegative, _NotNegative, _NotNegative]
_Kernel = Literal['iso', 'aniso', 'generalized_iso', 'generalized_aniso', 'plateau_iso', 'plateau_aniso']


class TargetOptions(Section):
    """What the losses compare with, and whether low resolution is made at all."""
    high_order_degradation: bool = True  # whether low resolution is made in training
    l1_gt_usm: bool = True  # pixel loss against sharpened ground truth
    percep_gt_usm: bool = True  # perceptual loss against sharpened ground truth
    gan_gt_usm: bool = True  # adversarial loss against sharpened ground truth


class SynthesisOptions(Section):
    """The two degradations; ranges are from … to."""
    resize_prob: _UpDownKeep  # how often up, down, as it is
    resize_range: tuple[_Factor, _Factor]  # factors of resizing
    gaussian_noise_prob: _Share  # how often noise is Gaussian, else Poisson
    noise_range: tuple[_NotNegative, _NotNegative]  # sigma of Gaussian noise, grey levels
    poisson_scale_range: tuple[_NotNegative, _NotNegative]  # scale of Poisson noise
    gray_noise_prob: _Share  # how often noise is grey
    jpeg_range: tuple[_Quality, _Quality]  # JPEG quality
    second_blur_prob: _Share  # how often it is blurred a second time
    resize_prob2: _UpDownKeep  # how often up, down, as it is the second time
    resize_range2: tuple[_Factor, _Factor]  # factors of resizing the second time
    gaussian_noise_prob2: _Share  # how often noise is Gaussian, else Poisson the second time
    noise_range2: tuple[_NotNegative, _NotNegative]  # sigma of Gaussian noise, grey levels the second time
    poisson_scale_range2: tuple[_NotNegative, _NotNegative]  # scale of Poisson noise the second time
    gray_noise_prob2: _Share  # how often noise is grey the second time
    jpeg_range2: tuple[_Quality, _Quality]  # JPEG quality the second time
    gt_size: _Count  # side of the crops, in pixels of ground truth
    queue_size: _Count = 180  # pairs that wait to be mixed into later batches


class PhotoOptions(AnySet, kw_only=True):
    """The keys of a training set of type RealESRGANDataset that must be right before it runs."""
    dataroot_gt: str  # folder or .lmdb of photos
    # ours: photos that do not decode and are passed over; one more, and the run saves and ends
    max_bad_images: Annotated[int, msgspec.Meta(ge=0)] = 0
    kernel_list: list[_Kernel]  # kinds of blur
    kernel_prob: list[_NotNegative]  # how often each
    blur_kernel_size: Annotated[int, msgspec.Meta(ge=1, le=21)]  # largest side of a kernel
    blur_sigma: tuple[_NotNegative, _NotNegative]  # its sigma, from … to
    betag_range: tuple[_NotNegative, _NotNegative]  # shape of generalized kernels
    betap_range: tuple[_NotNegative, _NotNegative]  # shape of plateau kernels
    sinc_prob: _Share  # how often a sinc filter
    kernel_list2: list[_Kernel]  # kinds of blur the second time
    kernel_prob2: list[_NotNegative]  # how often each the second time
    blur_kernel_size2: Annotated[int, msgspec.Meta(ge=1, le=21)]  # largest side of a kernel the second time
    blur_sigma2: tuple[_NotNegative, _NotNegative]  # its sigma, from … to the second time
    betag_range2: tuple[_NotNegative, _NotNegative]  # shape of generalized kernels the second time
    betap_range2: tuple[_NotNegative, _NotNegative]  # shape of plateau kernels the second time
    sinc_prob2: _Share  # how often a sinc filter the second time
    final_sinc_prob: _Share  # how often a sinc filter at the end
    use_hflip: bool  # mirror at random
    use_rot: bool  # turn at random
    num_worker_per_gpu: Annotated[int, msgspec.Meta(ge=0, le=512)]  # processes that load images
    batch_size_per_gpu: _Count  # crops a batch and process
    meta_info: str | None = None  # default: all photos of dataroot_gt
    gt_size: _Count | None = None  # not used: that of the file itself is
    crop_size: _Count | None = None  # ours: of what low resolution is made; default: 400, as in BasicSR


TOP_KEYS = {*TargetOptions.__struct_fields__, *SynthesisOptions.__struct_fields__}


def synthesises(opt: dict[str, Any]) -> bool:
    """Whether the model of these options makes its low resolution in training."""
    return our_model(opt['model_type']) in REALESRGAN_MODELS and opt.get('high_order_degradation', True)


def check_real_esrgan(opt: dict[str, Any]) -> list[str]:
    """Check what the Real-ESRGAN models have besides for training, and fill in defaults, in place.

    Returns:
        Warnings, a line each.

    Raises:
        OptionsError: A key that is missing or not possible, or a training set of another kind.
    """
    _convert(opt, TargetOptions, '')
    train = opt['train']
    warnings = []
    if train.get('ldl_opt') is not None:
        if train.get('gan_opt') is None:
            warnings.append('train.ldl_opt: not used, train.gan_opt is not given')
        elif not train.get('ema_decay'):
            raise OptionsError("train.ldl_opt compares with EMA's network; give train.ema_decay, e.g. 0.999")
    if synthesises(opt):
        return warnings + check_synthesis(opt)
    size = opt['datasets']['train'].get('gt_size')
    if isinstance(size, int) and size <= _USM // 2:
        raise OptionsError(f'datasets.train.gt_size: found {size}, expected at least {_USM // 2 + 1}, below which '
                           'images are too small to be sharpened')
    return warnings


def check_synthesis(opt: dict[str, Any]) -> list[str]:
    """Check what low resolution is made with, and fill in defaults, in place.

    Returns:
        Warnings, a line each.

    Raises:
        OptionsError: A key that is missing or not possible.
    """
    _convert(opt, SynthesisOptions, '')
    photos = opt['datasets']['train']
    check_keys(photos, PhotoOptions, 'datasets.train', {'datasets.train': PhotoOptions,
                                                        'datasets.train.io_backend': BackendOptions})
    _convert(photos, PhotoOptions, 'datasets.train')
    for key in ('', '2'):
        kernels, weights = photos[f'kernel_list{key}'], photos[f'kernel_prob{key}']
        if not kernels or len(kernels) != len(weights) or not sum(weights):
            raise OptionsError(f'datasets.train.kernel_prob{key}: found {weights} for {len(kernels)} kernels in '
                               f'kernel_list{key}, expected a share for each, not all zero')
    _check_sizes(opt, photos)
    if photos.get('gt_size') in (None, opt['gt_size']):
        return []
    return [f'datasets.train.gt_size: {photos["gt_size"]} is not used, gt_size of the file itself ({opt["gt_size"]}) '
            'is']


def smallest_crop(opt: dict[str, Any]) -> int:
    """The least side of an image that low resolution can be made of: a blur mirrors half its size at each border."""
    half, scale = _BLUR // 2, opt['scale']
    return max(math.ceil((half + 1) / min(opt['resize_range'][0], 1) / scale), half + 1) * scale


def check_training_set(opt: dict[str, Any]) -> None:
    """Photos are for the models that make low resolution of them, and pairs of images for the others.

    Raises:
        OptionsError: The training set is of the wrong kind.
    """
    found, model = opt['datasets']['train'].get('type'), str(our_model(opt['model_type']))
    if found in PHOTO_SETS and not synthesises(opt):
        raise OptionsError(f'datasets.train.type: {found} has no low resolution, which {model} does not make' +
                           (' with high_order_degradation: false; leave that out' if model in REALESRGAN_MODELS else
                            f'; use model_type: {REALESRGAN_MODELS[model.startswith("Prune")]}'))
    if found not in PHOTO_SETS and synthesises(opt):
        raise OptionsError(f'datasets.train.type: found {found}, expected RealESRGANDataset, of which {model} makes '
                           'low resolution (high_order_degradation: false takes pairs of images instead)')


def _convert(section: dict[str, Any], kind: type[Section], path: str) -> None:
    """Check the keys of a struct in a section that may have others, and fill in its defaults."""
    convert_ours(section, kind, path)
    for key, value in ((key, section[key]) for key in kind.__struct_fields__):
        where = f'{path}.{key}'.lstrip('.')
        if key.startswith('resize_prob') and not sum(value):
            raise OptionsError(f'{where}: found {list(value)}, expected how often to go up, down and to stay, not all '
                               'zero')
        if key.rstrip('2').endswith(('_range', '_sigma')) and value[0] > value[1]:
            raise OptionsError(f'{where}: found {list(value)}, expected the smaller number first')


def _check_sizes(opt: dict[str, Any], photos: dict[str, Any]) -> None:
    scale, size, pool, batch = opt['scale'], opt['gt_size'], opt['queue_size'], photos['batch_size_per_gpu']
    photos['crop_size'] = crop = photos['crop_size'] or CROP - CROP % scale
    least = smallest_crop(opt)
    if crop % scale or not least <= crop <= CROP:
        raise OptionsError(f'datasets.train.crop_size: found {crop}, expected a multiple of the scale ({scale}) from '
                           f'{least}, below which shrunk images (resize_range) are too small to be blurred, to {CROP}, '
                           'what BasicSR cuts out of a photo')
    if size % scale or not _USM // 2 < size <= crop:
        raise OptionsError(f'gt_size: found {size}, expected a multiple of the scale ({scale}) from {_USM // 2 + 1} to '
                           f'{crop} (datasets.train.crop_size), of which low resolution is made')
    if pool % batch:
        raise OptionsError(f'queue_size: found {pool}, expected a multiple of datasets.train.batch_size_per_gpu '
                           f'({batch}), such as {-(-pool // batch) * batch}')


def gt_size(opt: dict[str, Any]) -> int:
    """Height and width of the images that the discriminator sees in training."""
    return (opt if synthesises(opt) else opt['datasets']['train']).get('gt_size') or 128


def gt_size_key(opt: dict[str, Any]) -> str:
    """Where options say `gt_size`."""
    return 'gt_size' if synthesises(opt) else 'datasets.train.gt_size'
