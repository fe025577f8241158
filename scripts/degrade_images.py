"""Make a test set as Real-ESRGAN's training makes low resolution: blur, resize, noise and JPEG, twice over.

  python scripts/degrade_images.py --opt options/kd_realesrgan_s16b6.yml --input photos_val --output datasets/photos_val

writes <output>/HR/*.png and <output>/LRx4/*.png with the same file names, for PairedImageDataset and `basicsr-kd
evaluate`. HR is cut to a multiple of the scale. The degradation and the scale are those of the options file. What an
image gets depends on its name and --seed alone: the same command gives the same files, wherever and in whatever order.
"""
import argparse
import sys
import zlib
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from basicsr.data.transforms import mod_crop
from basicsr.utils import img2tensor, tensor2img
from torch.utils.data import default_collate
from tqdm import tqdm

from basicsr_kd.data import RealESRGANPhotoDataset
from basicsr_kd.data.realesrgan_degradation import SecondOrderDegradation
from basicsr_kd.data.seeds import seeded
from basicsr_kd.errors import BasicSRKDError, EvaluationError, OptionsError
from basicsr_kd.options.realesrgan import check_synthesis, smallest_crop
from basicsr_kd.utils.images import read_image, write_image


def read_options(path: Path, images: Path) -> dict[str, Any]:
    """The options file, with the images in the place of its training set.

    Raises:
        OptionsError: It lacks what low resolution is made with, or has it wrong.
    """
    opt = yaml.safe_load(path.read_text(encoding='utf-8'))
    training = ((opt or {}).get('datasets') or {}).get('train') if isinstance(opt, dict) else None
    if not training or not opt.get('scale'):
        raise OptionsError(f'{path} has no scale or no datasets.train; expected an options file of KDRealESRGANModel, '
                           'PruneRealESRGANModel or RealESRGANModel')
    training.update(name='photos', type='RealESRGANDataset', dataroot_gt=str(images), meta_info=None,
                    io_backend={'type': 'disk'})
    check_synthesis(opt)
    return opt


def degrade(photos: RealESRGANPhotoDataset, index: int, opt: dict[str, Any],
            seed: int | str) -> tuple[np.ndarray, np.ndarray]:
    """Make low resolution of a whole photo.

    BasicSR's code cuts squares, so the photo is first made one by mirroring, as RealESRGANDataset does with photos that
    are too small; what was added is cut off again.

    Args:
        photos: The photos; of each it draws the kernels.
        index: Which one.
        opt: Options with `scale` and the keys of `basicsr_kd.options.realesrgan.SynthesisOptions`.
        seed: Another one gives other degradations.

    Returns:
        Low resolution (h // scale, w // scale, 3) and the part of the photo that it shows, BGR uint8.

    Raises:
        BadImageError: The photo cannot be read.
    """
    path, scale = Path(photos.paths[index]), opt['scale']
    photo = mod_crop(read_image(path), scale)
    height, width = photo.shape[:2]
    side = max(height, width, smallest_crop(opt))
    square = cv2.copyMakeBorder(photo, 0, side - height, 0, side - width, cv2.BORDER_REFLECT_101)
    with seeded(zlib.crc32(f'{seed} {path.stem}'.encode())):
        sample = {**photos[index], 'gt': img2tensor(square.astype(np.float32) / 255)}
        lq = SecondOrderDegradation({**opt, 'gt_size': side}, torch.device('cpu'))(default_collate([sample]))[0]
    return tensor2img(lq)[:height // scale, :width // scale], photo


def target_names(photos: RealESRGANPhotoDataset, output: Path) -> list[str]:
    """A file name for each photo.

    Raises:
        EvaluationError: Two photos would get the same, or the output would replace the photos themselves.
    """
    names = [f'{Path(path).stem}.png' for path in photos.paths]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice:
        raise EvaluationError(f'Two images would both become {twice}. Expected names that differ without their ending.')
    if (output / 'HR').resolve() == Path(photos.paths[0]).parent.resolve():
        raise EvaluationError(f'--output {output} would replace the images of --input. Expected another folder.')
    return names


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--opt', type=Path, required=True, help='options file with the degradation')
    parser.add_argument('--input', type=Path, required=True, help='folder of images')
    parser.add_argument('--output', type=Path, required=True, help='folder to make; gets HR/ and LRx<scale>/')
    parser.add_argument('--seed', type=int, default=0, help='default: 0')
    args = parser.parse_args(arguments)
    try:
        opt = read_options(args.opt, args.input)
        photos = RealESRGANPhotoDataset(opt['datasets']['train'])
        names = target_names(photos, args.output)
        for index, name in enumerate(tqdm(names, unit='image', disable=not sys.stderr.isatty())):
            lq, hr = degrade(photos, index, opt, args.seed)
            for folder, image in (('HR', hr), (f'LRx{opt["scale"]}', lq)):
                write_image(args.output / folder / name, image)
    except (BasicSRKDError, OSError, yaml.YAMLError) as error:
        sys.exit(f'degrade_images: {error}')
    print(f'{len(photos)} pairs in {args.output}/HR and {args.output}/LRx{opt["scale"]}.')


if __name__ == '__main__':
    main()
