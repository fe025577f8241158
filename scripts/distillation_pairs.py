"""Make one training set of the three domains of scripts/domain_sets.py, to distil a network for all of them.

  python scripts/domain_sets.py --input photos --output datasets/domains_train
  python scripts/distillation_pairs.py --domains datasets/domains_train --output datasets/x4plus_pairs

writes LRx4, HR and meta_info.txt, which names clean photos and photos as they are as often as there are degraded
variants of them, so that each domain is a third of what is drawn. Photos as they are have no ground truth; BasicSR's
PairedImageDataset gets their bicubic enlargement in its place. So the set is for losses towards a teacher's output
alone (`distill_opt: {type: ResponseDistillLoss}`, and a pixel_opt of weight 0).
"""
import argparse
import shutil
import sys
from pathlib import Path

from domain_sets import VARIANTS, check_new
from tqdm import tqdm

from basicsr_kd.errors import BasicSRKDError
from basicsr_kd.metrics.bicubic import bicubic
from basicsr_kd.utils.images import image_files, middle, read_image, write_image

SIDE = 128
"""Of photos as they are, so much of their middle."""


def make_pairs(domains: Path, output: Path, scale: int) -> list[str]:
    """Write the pairs, and return the lines of meta_info.txt.

    Raises:
        EvaluationError: A domain is missing, or has no images.
        BadImageError: An image cannot be read.
        OSError: A file cannot be written.
    """
    lines = []
    for domain, times in (('clean', VARIANTS), ('as_is', VARIANTS), ('degraded', 1)):
        for file in tqdm(image_files(domains / domain / f'LRx{scale}'), domain, disable=not sys.stderr.isatty()):
            name = f'{domain}_{file.name}'
            low, high = output / f'LRx{scale}' / name, output / 'HR' / name
            for path in (low, high):
                path.parent.mkdir(parents=True, exist_ok=True)
            if domain == 'as_is':
                image = middle(read_image(file), SIDE)
                write_image(low, image)
                write_image(high, bicubic(image, scale))
            else:
                shutil.copyfile(file, low)
                shutil.copyfile(domains / domain / 'HR' / file.name, high)
            lines += [name] * times
    return lines


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--domains', type=Path, required=True, help='what scripts/domain_sets.py wrote')
    parser.add_argument('--output', type=Path, required=True, help='folder to make')
    parser.add_argument('--scale', type=int, default=4, help='of the domains (default: 4)')
    args = parser.parse_args(arguments)
    try:
        check_new(args.output)
        lines = make_pairs(args.domains, args.output, args.scale)
        (args.output / 'meta_info.txt').write_text('\n'.join(lines) + '\n')
    except (BasicSRKDError, OSError) as error:
        sys.exit(f'distillation_pairs: {error}')
    print(f'{len(set(lines))} pairs in {args.output}, {len(lines)} lines in meta_info.txt.')


if __name__ == '__main__':
    main()
