"""Options files with one thing wrong, or at least other: what becomes of each when a run is started with it."""
import copy
import math
import random
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import yaml
from basicsr.archs import build_network

from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.report import markdown_table
from studies.in_child import end_of, in_child
from studies.killed_runs import TINY

OPTIONS = Path(__file__).resolve().parents[2] / 'options'
SECONDS = 120
"""A run of one iteration that takes longer hangs."""
_COMPACT = {'type': 'SRVGGNetCompact', 'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_conv': 2, 'upscale': 4,
            'act_type': 'prelu'}
_SMALL = {'SRVGGNetCompact': _COMPACT, 'FRNet': {'type': 'FRNet', 'nf': 4, 'nb': 2},
          'VGGStyleDiscriminator': {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 2},
          'UNetDiscriminatorSN': {'type': 'UNetDiscriminatorSN', 'num_in_ch': 3, 'num_feat': 2}}
_VALUES: list[Any] = [None, -1, 0, 1, 2, 1e9, -0.5, 0.5, math.nan, math.inf, '', 'nonsense', '1e-2', [], {}, [1, 'x'],
                      {'type': 'nonsense'}, True, False, [[]], 10**12]
_WORDS = ['extra', 'type', 'tpye']


@dataclass(frozen=True)
class Mutation:
    """A changed file."""

    file: str
    what: str
    options: dict[str, Any]


@dataclass(frozen=True)
class Outcome:
    """What became of it."""

    file: str
    what: str
    end: str
    """'refused', 'ran', 'traceback', 'hung', 'crashed' or 'moved': refused after the earlier run's folder was moved."""
    said: str


class Bench:
    """Small images, networks and clips, and every options file cut down to them.

    Args:
        folder: where all of it goes; it is made.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        rng = np.random.default_rng(0)
        for name, side in (('HR', 160), ('LRx4', 40), ('clips/001', 160)):
            (folder / name).mkdir(parents=True)
            for index in range(10 if 'clips' in name else 4):
                small = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
                cv2.imwrite(str(folder / name / f'{index:03d}.png'), cv2.resize(small, (side, side)))
        (folder / 'list.txt').write_text(''.join(f'{index:03d}.png\n' for index in range(4)))
        for name, network in (('rrdb', {'type': 'RRDBNet', **TINY}), ('compact', _COMPACT), ('clip', _SMALL['FRNet']),
                              ('vgg', _SMALL['VGGStyleDiscriminator']), ('unet', _SMALL['UNetDiscriminatorSN'])):
            write_checkpoint(folder / f'{name}.pth', build_network(dict(network)).state_dict())

    def files(self) -> dict[str, dict[str, Any]]:
        """Every options file for one of our models, cut down."""
        found = {path.name: yaml.safe_load(path.read_text('utf-8')) for path in sorted(OPTIONS.glob('*.yml'))}
        ours = {name: opt for name, opt in found.items() if opt['model_type'] not in ('SRModel', 'SRGANModel',
                                                                                      'ESRGANModel')}
        return {name: self._small(opt) for name, opt in ours.items()}

    def _small(self, opt: dict[str, Any]) -> dict[str, Any]:
        opt['num_gpu'] = 0
        of_clips = opt['model_type'] == 'TecoGANModel'
        compact = 'Compact' in str((opt.get('network_g') or {}).get('type'))
        weights = 'clip' if of_clips else 'compact' if compact else 'rrdb'
        for key in ('network_g', 'network_d'):
            if key in opt:
                rrdb = 'RRDB' in opt[key]['type']
                opt[key] = {'type': opt[key]['type'], **TINY} if rrdb else dict(_SMALL.get(opt[key]['type'], opt[key]))
        for phase, dataset in opt['datasets'].items():
            for key, folder in (('dataroot_gt', 'clips' if of_clips else 'HR'), ('dataroot_lq', 'LRx4')):
                if key in dataset:
                    dataset[key] = str(self.folder / folder)
            dataset.pop('meta_info', None)
            if not of_clips and dataset.get('meta_info_file'):
                dataset['meta_info_file'] = str(self.folder / 'list.txt')
            if phase == 'train':
                dataset.update(num_worker_per_gpu=0, batch_size_per_gpu=2, dataset_enlarge_ratio=10)
                if 'gt_size' in dataset:
                    dataset['gt_size'] = 128
                if 'num_frame' in dataset or of_clips:
                    dataset['num_frame'] = 3
                if dataset['type'] == 'RealESRGANDataset':
                    dataset['crop_size'] = 160
                    dataset.pop('dataset_enlarge_ratio')
                    opt.update(gt_size=64, queue_size=2)
        if opt['path'].get('pretrain_network_g'):
            opt['path']['pretrain_network_g'] = str(self.folder / f'{weights}.pth')
        if opt['path'].get('pretrain_network_d'):
            unet = opt['network_d']['type'] == 'UNetDiscriminatorSN'
            opt['path']['pretrain_network_d'] = None if of_clips else str(
                self.folder / ('unet.pth' if unet else 'vgg.pth'))
        if opt.get('teacher'):
            same = (opt.get('student') or {}).get('init') == 'teacher' and compact
            opt['teacher']['path'] = str(self.folder / f'{"clip" if of_clips else "compact" if same else "rrdb"}.pth')
        for prune in (opt.get('prune'), (opt.get('teacher') or {}).get('prune')):
            for step in prune if isinstance(prune, list) else [prune] if prune else []:
                step['round_to'] = 1
                if 'keep' in step:
                    step['keep'] = 1
                step.setdefault('calibration', {}).update(num=2, size=32)
                if 'ratio' in step and step.get('layout') != 'unstructured':
                    step['ratio'] = min(step['ratio'], 0.3)
        if 'train' in opt:
            train = opt['train']
            train.pop('perceptual_opt', None)  # whose weights are a download
            train.update(total_iter=1, net_d_init_iters=0)
            if train['scheduler']['type'] == 'MultiStepLR':
                train['scheduler']['milestones'] = [1]
            train.setdefault('pixel_opt', {'type': 'L1Loss'})
        for name, metric in list(((opt.get('val') or {}).get('metrics') or {}).items()):
            if metric['type'] not in ('calculate_psnr', 'calculate_ssim'):
                del opt['val']['metrics'][name]  # backbones are downloads, and take their time
        return opt


def places(opt: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """The paths of all values of a file."""
    items = opt.items() if isinstance(opt, dict) else enumerate(opt) if isinstance(opt, list) else ()
    for key, value in items:
        yield (*path, key)
        yield from places(value, (*path, key))


def mutations(files: dict[str, dict[str, Any]], count: int, seed: int) -> list[Mutation]:
    """So many changed files: a key that is gone, misspelt or new, a value that is another."""
    rng = random.Random(seed)
    every = [(name, path) for name, opt in files.items() for path in places(opt)]
    return [_short(_mutated(name, files[name], path, rng)) for name, path in (rng.choice(every) for _ in range(count))]


def _short(mutation: Mutation) -> Mutation:
    """The same with two iterations, where it asks for a million: that is no fault."""
    train = mutation.options.get('train')
    if isinstance(train, dict) and isinstance(train.get('total_iter'), (int, float)) and train['total_iter'] > 2:
        train['total_iter'] = 2
    return mutation


def _mutated(name: str, opt: dict[str, Any], path: tuple[Any, ...], rng: random.Random) -> Mutation:
    changed = copy.deepcopy(opt)
    parent: Any = changed
    for key in path[:-1]:
        parent = parent[key]
    last, where = path[-1], ':'.join(map(str, path))
    kind = rng.choice(['value', 'value', 'value', 'gone', 'misspelt', 'new', 'negative'])
    if kind == 'negative' and isinstance(parent[last], (int, float)):
        parent[last] = -parent[last]
        return Mutation(name, f'{where} = {parent[last]!r}', changed)
    if kind == 'gone':
        del parent[last]
        return Mutation(name, f'without {where}', changed)
    if kind == 'misspelt' and isinstance(last, str) and len(last) > 3:
        place = rng.randrange(len(last) - 1)
        word = last[:place] + last[place + 1] + last[place] + last[place + 2:]
        if word != last:
            parent[word] = parent.pop(last)
            return Mutation(name, f'{where} as {word}', changed)
    if kind == 'new' and isinstance(parent[last], dict):
        word = rng.choice(_WORDS)
        parent[last][word] = rng.choice(_VALUES)
        return Mutation(name, f'{where}:{word} = {parent[last][word]!r}', changed)
    parent[last] = rng.choice(_VALUES)
    return Mutation(name, f'{where} = {parent[last]!r}', changed)


def run(mutation: Mutation, folder: Path) -> Outcome:
    """Start a training or test of one iteration in a process of its own, beside an earlier run of its name."""
    options, log = folder / 'mutated.yml', folder / 'mutated.log'
    options.write_text(yaml.safe_dump(mutation.options, sort_keys=False))
    earlier = [folder / 'experiments' / path.stem / 'models' / 'earlier' for path in [Path(mutation.file)]]
    for file in earlier:
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    trains = 'train' in mutation.options or 'teacher' in mutation.options
    status, said = in_child(lambda: _start(options, folder, trains), folder, log, SECONDS)
    end = end_of(status, said)
    moved = end == 'refused' and not all(file.exists() for file in earlier)
    return Outcome(mutation.file, mutation.what, 'moved' if moved else end, _last_line(said))


def _start(options: Path, folder: Path, trains: bool) -> None:
    from basicsr_kd import test, train
    sys.argv = ['train.py', '-opt', str(options)]
    (train if trains else test).main(str(folder))


def _last_line(said: str) -> str:
    ours = [line for line in said.splitlines() if line.startswith('basicsr_kd:')]
    lines = ours or said.splitlines()
    return lines[-1] if lines else ''


def outcome_table(outcomes: list[Outcome]) -> str:
    """How many ended how, and each that should not have ended so."""
    counts = Counter(outcome.end for outcome in outcomes)
    rows = [[end, f'{counts[end]:,}'] for end in ('refused', 'ran', 'traceback', 'moved', 'hung', 'crashed')]
    bad = [f'- {one.file}, {one.what}: {one.end}: {one.said}' for one in outcomes
           if one.end not in ('refused', 'ran')]
    return markdown_table(['options files, mutated', f'{len(outcomes):,}'], rows) + '\n\n' + '\n'.join(bad)


def as_json(outcomes: list[Outcome]) -> list[dict[str, Any]]:
    return [asdict(outcome) for outcome in outcomes]
