"""Images that are damaged, or other than they seem, in every place of a run: what becomes of a short training."""
import copy
import os
import random
import shutil
import struct
import zlib
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cv2
import lmdb
import numpy as np
from PIL import Image

from basicsr_kd.data.header_sizes import header_sizes
from basicsr_kd.report import markdown_table
from studies.damaged_files import Tried
from studies.mutated_options import Bench, Mutation, run

ENDS = ('refused', 'ended', 'ran', 'traceback', 'moved', 'hung', 'crashed')
"""Refused before the run; ended by it in one line, what was learned saved; ran, the image named or as good as any."""
_FOLDERS = ('HR', 'LRx4', 'clips')


class ImageBench:
    """Trainings on pairs (files and LMDB), photos and clips, cut down to the smallest.

    Args:
        folder: where all of it goes; it is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._bench = Bench(folder)
        for name in _FOLDERS:
            shutil.move(folder / name, folder / 'whole' / name)
        files = self._bench.files()
        self.runs = {'pairs': files['kd_esrgan_s16.yml'], 'photos': files['kd_realesrgan_compact.yml'],
                     'clips': files['kd_tecogan_b5.yml']}
        self.runs['pairs of an LMDB'] = copy.deepcopy(self.runs['pairs'])
        for opt in self.runs.values():
            opt['train']['total_iter'] = 2
            opt['val'] = {**(opt.get('val') or {}), 'val_freq': 2}
            opt['logger']['print_freq'] = 1

    def places(self) -> list[tuple[str, str, str]]:
        """Run, phase and key of each folder of images."""
        return [(name, phase, key) for name, opt in self.runs.items() for phase, dataset in opt['datasets'].items()
                for key in ('dataroot_gt', 'dataroot_lq') if key in dataset]

    def tried(self, place: tuple[str, str, str], how: str, rng: random.Random) -> Tried:
        """What becomes of a run one of whose images is damaged; `max_bad_images` is 0 or 1."""
        name, phase, key = place
        opt = copy.deepcopy(self.runs[name])
        self._fresh()
        damaged = self.folder / 'damaged'
        shutil.copytree(opt['datasets'][phase][key], damaged)
        images = sorted(path for path in damaged.rglob('*.png'))
        _DAMAGES[how](rng.choice(images), rng)
        opt['datasets'][phase][key] = str(damaged)
        if name == 'pairs of an LMDB':
            for folder in ('dataroot_gt', 'dataroot_lq'):
                opt['datasets']['train'][folder] = self._lmdb(Path(opt['datasets']['train'][folder]), folder)
            opt['datasets']['train']['io_backend'] = {'type': 'lmdb'}
        opt['datasets']['train']['max_bad_images'] = most = rng.randrange(2)
        outcome = run(Mutation(f'{name}, {phase}, {key}', how, opt), self.folder)
        end = 'ended' if ' saved' in outcome.said and outcome.end in ('refused', 'moved') else outcome.end
        return Tried(f'{name}, {phase}', f'{how} ({key}, max_bad_images {most})', end, outcome.said)

    def _fresh(self) -> None:
        for name in ('damaged', 'dataroot_gt.lmdb', 'dataroot_lq.lmdb', 'experiments', *_FOLDERS):
            shutil.rmtree(self.folder / name, ignore_errors=True)
        for name in _FOLDERS:
            shutil.copytree(self.folder / 'whole' / name, self.folder / name)

    def _lmdb(self, images: Path, name: str) -> str:
        """An LMDB of a folder; its list tells of what does not decode what it was when it did."""
        whole = self.folder / 'whole' / ('HR' if name == 'dataroot_gt' else 'LRx4')
        target = self.folder / f'{name}.lmdb'
        target.mkdir()
        lines = []
        with lmdb.open(str(target), map_size=2**28) as database, database.begin(write=True) as writer:
            for path in sorted(path for path in images.iterdir() if path.is_file()):
                writer.put(path.stem.encode(), path.read_bytes())
                sizes = header_sizes([str(path), str(whole / path.name)])
                width, height = sizes[str(path)] or sizes[str(whole / path.name)] or (0, 0)
                lines.append(f'{path.name} ({height},{width},3) 1\n')
        (target / 'meta_info.txt').write_text(''.join(lines))
        return str(target)


def damaged(bench: ImageBench, count: int, seed: int) -> Iterator[Tried]:
    """So many trainings, each with another damaged image."""
    rng = random.Random(seed)
    for _ in range(count):
        yield bench.tried(rng.choice(bench.places()), rng.choice(list(_DAMAGES)), rng)


def _rewrite(change: Callable[[bytes, random.Random], bytes]) -> Callable[[Path, random.Random], None]:
    def write(path: Path, rng: random.Random) -> None:
        path.write_bytes(change(path.read_bytes(), rng))
    return write


def _redraw(change: Callable[[np.ndarray], np.ndarray]) -> Callable[[Path, random.Random], None]:
    def write(path: Path, rng: random.Random) -> None:
        image = cv2.imread(str(path))
        assert image is not None
        cv2.imwrite(str(path), change(image))
    return write


def _noise(content: bytes, rng: random.Random) -> bytes:
    start = rng.randrange(40, len(content))
    length = rng.randint(1, len(content) - start)
    return content[:start] + rng.randbytes(length) + content[start + length:]


def _claims(content: bytes, rng: random.Random) -> bytes:
    """A PNG whose header, with a right checksum, says 60,000 x 60,000."""
    header = b'IHDR' + struct.pack('>II', 60000, 60000) + content[24:29]
    return content[:12] + header + struct.pack('>I', zlib.crc32(header)) + content[33:]


def _as(kind: str, mode: str) -> Callable[[Path, random.Random], None]:
    def write(path: Path, rng: random.Random) -> None:
        with Image.open(path) as image:
            image.convert(mode).save(path, kind)
    return write


def _animated(path: Path, rng: random.Random) -> None:
    with Image.open(path) as image:
        frames = [image.convert('P'), image.rotate(90).convert('P')]
    frames[0].save(path, 'GIF', save_all=True, append_images=frames[1:])


def _gone(put: Callable[[Path], Any] | None) -> Callable[[Path, random.Random], None]:
    def replace(path: Path, rng: random.Random) -> None:
        path.unlink()
        if put:
            put(path)
    return replace


_DAMAGES: dict[str, Callable[[Path, random.Random], None]] = {
    'empty': _rewrite(lambda content, rng: b''),
    'cut short': _rewrite(lambda content, rng: content[:rng.randrange(len(content))]),
    'a header alone': _rewrite(lambda content, rng: content[:60] + bytes(len(content) - 60)),
    'noise': _rewrite(_noise),
    'a bit': _rewrite(lambda content, rng: content[:50] + bytes([content[50] ^ 1]) + content[51:]),
    'text': _rewrite(lambda content, rng: b'<html>404</html>'),
    'claims 60,000 x 60,000': _rewrite(_claims),
    'half as large': _redraw(lambda image: image[::2, ::2]),
    'a row less': _redraw(lambda image: image[1:]),
    '1 x 1': _redraw(lambda image: image[:1, :1]),
    'grey': _redraw(lambda image: image[:, :, 0]),
    '16 bits': _redraw(lambda image: image.astype(np.uint16) * 257),
    'alpha': _redraw(lambda image: cv2.cvtColor(image, cv2.COLOR_BGR2BGRA)),
    'a JPEG': _as('JPEG', 'RGB'),
    'a CMYK JPEG': _as('JPEG', 'CMYK'),
    'a palette': _as('PNG', 'P'),
    'an animation': _animated,
    'gone': _gone(None),
    'a folder': _gone(Path.mkdir),
    'a link to nothing': _gone(lambda path: os.symlink('nothing', path)),
}


def all_well(tried: list[Tried]) -> bool:
    """Whether each was refused or ended in one line, or ran."""
    return all(one.end in ('refused', 'ended', 'ran') for one in tried)


def tried_table(tried: list[Tried]) -> str:
    """How many of each place ended how, and each that should not have ended so."""
    rows = []
    for place in sorted({one.file for one in tried}):
        counts = Counter(one.end for one in tried if one.file == place)
        rows.append([place, *(f'{counts[end]:,}' for end in ENDS)])
    bad = [f'- {one.file}, {one.how}: {one.end}: {one.said}' for one in tried if not all_well([one])]
    return '\n\n'.join([markdown_table([f'{len(tried):,} trainings', *ENDS], rows), *(['\n'.join(bad)] if bad else [])])
