"""The photos of an ablation: some held out for every choice, the others cut into sub-images to train on."""
import json
import os
import random
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from functools import partial
from pathlib import Path

from common.photos import PrepareError, Settings, prepare_photo
from prepare_images import MOST_WORKERS, claim_output, find_photos
from tqdm import tqdm

PARTS = ('train', 'held_out')
SPLIT_FILE = 'split.json'


def split(names: Sequence[str], held_out: int) -> dict[str, list[str]]:
    """Divide photos; the same names always give the same parts.

    Raises:
        PrepareError: nothing would be left to train on.
    """
    if len(names) <= held_out:
        raise PrepareError(f'{len(names)} photos are too few to hold out {held_out} and train on the others.')
    chosen = random.Random(0).sample(sorted(names), held_out)
    return {'train': sorted(set(names) - set(chosen)), 'held_out': sorted(chosen)}


def prepare_data(photos: Path, folder: Path, held_out: int, sub_size: int) -> None:
    """Write `folder`/train (sub-images) and `folder`/held_out (whole photos), each with HR/ and LRx4/.

    What is there already is kept, so running it again costs a moment.

    Raises:
        PrepareError: there are no photos, or the folder was made from others.
    """
    found = find_photos(photos, recursive=False)
    parts = split(list(found), held_out)
    file = folder / SPLIT_FILE
    if file.exists() and json.loads(file.read_text()) != parts:
        raise PrepareError(f'{folder} was made from other photos than {photos} has now, or with another number held '
                           'out. Choose another --data or remove that folder.')
    source = str(photos.resolve())
    settings = {'train': Settings(source, sub_size=sub_size, step=sub_size), 'held_out': Settings(source)}
    for part in PARTS:
        claim_output(folder / part, settings[part])
    file.write_text(json.dumps(parts, indent=2) + '\n')
    with ProcessPoolExecutor(min(os.cpu_count() or 1, MOST_WORKERS)) as pool, tqdm(
            total=len(found), desc='photos', unit='photo') as bar:
        for part in PARTS:
            job = partial(prepare_photo, output=folder / part, settings=settings[part])
            for outcome in pool.map(job, [found[name] for name in parts[part]], parts[part]):
                bar.update()
                if outcome.left_out:
                    raise PrepareError(f'{outcome.photo}: {outcome.left_out}. Take it out of {photos}.')


def check_data(folder: Path) -> None:
    """Make sure that an earlier call has prepared the photos.

    Raises:
        PrepareError: it has not.
    """
    if not (folder / SPLIT_FILE).is_file():
        raise PrepareError(f'{folder} holds no prepared photos; name a folder of photos: --photos DIR.')
