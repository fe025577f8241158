"""Make the HR and LR folders that BasicSR's PairedImageDataset reads, from a folder of photos.

A training set, cut into overlapping 480 px sub-images, which load much faster than whole photos:
  python scripts/prepare_images.py --input DIV2K_train_HR --output datasets/DIV2K_train --sub-size 480 --step 240

A test or validation set, whole photos, cropped to a multiple of the scale:
  python scripts/prepare_images.py --input Set5/original --output datasets/Set5 --scale 4

Both write <output>/HR/*.png and <output>/LRx4/*.png with the same file names; LR is made with BasicSR's MATLAB-like
bicubic. Running it again does what is left to do; a changed photo is made again; changed settings are refused.
"""
import argparse
import json
import os
import sys
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict
from functools import partial
from pathlib import Path

from common.photos import Outcome, PrepareError, Settings, prepare_photo
from tqdm import tqdm

from basicsr_kd.utils.images import SUFFIXES

SETTINGS_FILE = 'prepare_images.json'
MOST_WORKERS = 16
"""By default; each holds a whole photo in memory several times over."""


def find_photos(folder: Path, recursive: bool) -> dict[str, Path]:
    """Photos by output name without ending; a photo in a sub-folder gets the folder's name in front.

    Raises:
        PrepareError: no such folder, no photo in it, or two photos that would get the same name.
    """
    if not folder.is_dir():
        raise PrepareError(f'--input {folder} is not a folder.')
    found: dict[str, Path] = {}
    for path in sorted(folder.glob('**/*' if recursive else '*')):
        if path.suffix.lower() not in SUFFIXES or path.name.startswith('.') or not path.is_file():
            continue
        stem = '_'.join(path.relative_to(folder).with_suffix('').parts)
        if stem in found:
            raise PrepareError(f'{found[stem]} and {path} would both become {stem}.png; rename one of them.')
        found[stem] = path
    if not found:
        hint = '' if recursive else ' Photos in its sub-folders are taken with --recursive.'
        raise PrepareError(f'no photo ({", ".join(sorted(SUFFIXES))}) in --input {folder}.{hint}')
    return found


def claim_output(output: Path, settings: Settings) -> None:
    """Make the output folders, or check that they were made with the same settings.

    Raises:
        PrepareError: they hold something else.
    """
    wanted = asdict(settings)
    file = output / SETTINGS_FILE
    folders = [output / 'HR', output / f'LRx{settings.scale}']
    if file.exists():
        before = json.loads(file.read_text())
        changes = [f'{key}: {before.get(key)} before, {value} now' for key, value in wanted.items()
                   if before.get(key) != value]
        if changes:
            raise PrepareError(f'{output} was made with other settings ({"; ".join(changes)}). Choose another --output '
                               'or remove that folder.')
        return
    if any(folder.exists() and any(folder.iterdir()) for folder in folders):
        raise PrepareError(f'{output} holds images that this script did not make. Choose another --output.')
    for folder in folders:
        folder.mkdir(parents=True, exist_ok=True)
    file.write_text(json.dumps(wanted, indent=2) + '\n')


def prepare(output: Path, settings: Settings, workers: int) -> list[Outcome]:
    """Prepare every photo of `settings.input`; outcomes come in the order of the names.

    Raises:
        PrepareError: see `find_photos` and `claim_output`, or not a single photo could be used.
    """
    source = Path(settings.input)
    if settings.recursive and output.resolve().is_relative_to(source.resolve()):
        raise PrepareError(f'--output {output} lies inside --input {source}: --recursive would read its own results.')
    photos = find_photos(source, settings.recursive)
    claim_output(output, settings)
    outcomes = []
    with ProcessPoolExecutor(min(workers, len(photos))) as pool:
        job = partial(prepare_photo, output=output, settings=settings)
        for outcome in tqdm(pool.map(job, photos.values(), photos.keys()), total=len(photos), unit='photo'):
            outcomes.append(outcome)
            if outcome.left_out:
                tqdm.write(f'{outcome.photo}: left out, {outcome.left_out}')
            elif outcome.note:
                tqdm.write(f'{outcome.photo}: {outcome.note}')
    if not any(outcome.pairs for outcome in outcomes):
        (output / SETTINGS_FILE).unlink()  # nothing was made, so the next try may have other settings
        raise PrepareError(f'none of the {len(photos)} photos in {source} could be used; the lines above say why. '
                           'Smaller ones are taken with a smaller --sub-size, or whole without it.')
    return outcomes


def summary(outcomes: list[Outcome], output: Path, scale: int) -> str:
    """One line on how many photos were made, found finished and left out."""
    pairs = sum(outcome.pairs for outcome in outcomes)
    made = sum(outcome.made for outcome in outcomes)
    left_out = sum(bool(outcome.left_out) for outcome in outcomes)
    return (f'{pairs} pairs in {output}/HR and {output}/LRx{scale}: {made} photos made, '
            f'{len(outcomes) - made - left_out} finished before, {left_out} left out.')


def parse_args() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument('--input', type=Path, required=True, help='folder of photos')
    parser.add_argument('--output', type=Path, required=True, help='folder to make; gets HR/ and LRx<scale>/')
    parser.add_argument('--scale', type=int, default=4, help='default: 4')
    parser.add_argument('--sub-size', type=int, help='cut sub-images of this many HR pixels (training sets)')
    parser.add_argument('--step', type=int, help='distance between sub-images in HR pixels (default: --sub-size)')
    parser.add_argument('--thresh', type=int, default=0,
                        help='a rest of up to this many HR pixels gets no sub-image of its own (default: 0)')
    parser.add_argument('--recursive', action='store_true', help='take photos in sub-folders too')
    parser.add_argument('--workers', type=int, default=min(os.cpu_count() or 1, MOST_WORKERS),
                        help=f'processes (default: one a core, {MOST_WORKERS} at most)')
    return parser.parse_args()


def main() -> None:
    args = parse_args()
    step = args.sub_size if args.step is None else args.step
    try:
        settings = Settings(str(args.input.resolve()), args.scale, args.sub_size, step, args.thresh, args.recursive)
        print(summary(prepare(args.output, settings, max(1, args.workers)), args.output, args.scale))
    except (PrepareError, OSError) as error:
        sys.exit(f'prepare_images: {error}')
    except BrokenProcessPool:
        sys.exit('prepare_images: a worker process was killed, most often for lack of memory. Run the same command '
                 'again with fewer --workers; finished photos are kept.')
    except KeyboardInterrupt:
        sys.exit('prepare_images: stopped. Run the same command again to go on; finished photos are kept.')


if __name__ == '__main__':
    main()
