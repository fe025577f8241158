"""Make three test sets of one folder of photos, for the three things that people enlarge.

  python scripts/domain_sets.py --input photos_val --output datasets/domains --num 20

writes clean/{HR,LRx4}, bicubic low resolution; as_is/LRx4, the photos themselves, 256x256 pixels of their middle, as
people give them to an upscaler; degraded/{HR,LRx4}, Real-ESRGAN's blur, noise and JPEG, three variants a photo. The
same command gives the same files. How near a network is to its teacher in all three:

  basicsr-kd evaluate --weights student.pth bicubic --teacher teacher.pth \\
      --lr datasets/domains/clean/LRx4 datasets/domains/as_is/LRx4 datasets/domains/degraded/LRx4
"""
import argparse
import sys
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import yaml
from basicsr.data.transforms import mod_crop
from common.photos import downscale
from degrade_images import degrade, read_options
from tqdm import tqdm

from basicsr_kd.data import RealESRGANPhotoDataset
from basicsr_kd.errors import BasicSRKDError, EvaluationError
from basicsr_kd.utils.images import image_files, middle, read_image, write_image

SIDE = 256
VARIANTS = 3
OPTIONS = Path(__file__).parents[1] / 'options' / 'kd_realesrgan_s16b6.yml'


def every_nth(photos: list[Path], number: int | None) -> list[Path]:
    """So many photos, from the whole of the folder."""
    if number is None or number >= len(photos):
        return photos
    return [photos[index * len(photos) // number] for index in range(number)]


def check_new(output: Path) -> None:
    """Raise an EvaluationError if a folder to make has something in it."""
    if output.exists() and any(output.iterdir()):
        raise EvaluationError(f'--output {output} is not empty. Expected a new folder.')


def images_of(photos: RealESRGANPhotoDataset, index: int, opt: dict, seed: int) -> Iterator[tuple[str, np.ndarray]]:
    """What a photo gives to the sets: paths without ending, and BGR uint8.

    Raises:
        BadImageError: The photo cannot be read.
    """
    path, scale = Path(photos.paths[index]), opt['scale']
    photo = read_image(path)
    whole = mod_crop(photo, scale)
    yield f'clean/HR/{path.stem}', whole
    yield f'clean/LRx{scale}/{path.stem}', downscale(whole, scale)
    yield f'as_is/LRx{scale}/{path.stem}', middle(photo, SIDE)
    for variant in range(1, VARIANTS + 1):
        lq, hr = degrade(photos, index, opt, f'{seed}.{variant}')
        yield f'degraded/HR/{path.stem}_{variant}', hr
        yield f'degraded/LRx{scale}/{path.stem}_{variant}', lq


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--input', type=Path, required=True, help='folder of photos')
    parser.add_argument('--output', type=Path, required=True, help='folder to make')
    parser.add_argument('--num', type=int, help='so many of the photos, evenly chosen (default: all)')
    parser.add_argument('--opt', type=Path, default=OPTIONS,
                        help='options file with the degradation (default: %(default)s)')
    parser.add_argument('--seed', type=int, default=0, help='default: 0')
    args = parser.parse_args(arguments)
    try:
        if args.num is not None and args.num < 1:
            raise EvaluationError(f'--num is {args.num}. Expected at least 1.')
        check_new(args.output)
        opt = read_options(args.opt, args.input)
        photos = RealESRGANPhotoDataset(opt['datasets']['train'])
        photos.paths = [str(path) for path in every_nth(image_files(args.input), args.num)]
        for index in tqdm(range(len(photos)), unit='photo', disable=not sys.stderr.isatty()):
            for name, image in images_of(photos, index, opt, args.seed):
                write_image(args.output / f'{name}.png', image)
    except (BasicSRKDError, OSError, yaml.YAMLError) as error:
        sys.exit(f'domain_sets: {error}')
    print(f'clean, as_is and degraded of {len(photos)} photos in {args.output}.')


if __name__ == '__main__':
    main()
