"""What a small training takes while it runs, and loses when it is killed again and again. Reads Linux's /proc."""
import itertools
import re
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import torch
import yaml
from basicsr.archs.rrdbnet_arch import RRDBNet
from common.trainings import iteration
from torch.utils import _pytree

from basicsr_kd.checkpoint import write_checkpoint
from basicsr_kd.report import markdown_table

SAVED_EVERY, LOGGED_EVERY, VALIDATED_EVERY = 1, 5, 100
SECONDS_OF_TRAINING = 12
"""A process is killed at most so long after it took its first iteration, if it lives so long."""
PAGE_KIB = 4
TINY = {'num_in_ch': 3, 'num_out_ch': 3, 'num_feat': 8, 'num_block': 2, 'num_grow_ch': 4}
RESUMED = re.compile(r'Resuming training from epoch: \d+, iter: (\d+)')


@dataclass(frozen=True)
class Watched:
    """A training from start to end in one process and its two workers."""

    iterations: int
    seconds: float
    slope_kib: float
    """Of the main process's memory over the second half, KiB in 1,000 iterations."""
    peak_mib: float
    open_files: tuple[int, ...]
    """Of the main process: after a tenth of the iterations, after nine tenths, at most."""
    log_bytes: int
    journals_bytes: int
    """TensorBoard's files and validations.jsonl."""

    def table(self) -> str:
        early, late, most = self.open_files
        return markdown_table(['one training', ''], [
            ['iterations', f'{self.iterations:,} in {self.seconds:.0f} s'],
            ['memory of the main process, at most', f'{self.peak_mib:.0f} MiB'],
            ['its slope over the second half', f'{self.slope_kib:+.0f} KiB in 1,000 iterations'],
            ['open files after a tenth, after nine tenths, at most', f'{early}, {late}, {most}'],
            [f'log, a line every {LOGGED_EVERY} iterations', f'{self.log_bytes / 1024:.0f} KiB'],
            ['TensorBoard and validations.jsonl', f'{self.journals_bytes / 1024:.0f} KiB']])


@dataclass(frozen=True)
class Killed:
    """A training of the same options that was killed on its way."""

    moments: dict[str, int]
    """Kills by what the process was doing."""
    most_lost: int
    """Iterations done again, at most, as far as the log tells."""
    torn: int
    """Files with a final name that do not load."""
    not_resumed: int
    """Starts that did not go on from the newest set."""
    left_over: int
    """Temporary files after the last end."""
    different: list[str]
    """Files of the last set that are not those of the training that was not killed."""

    @property
    def nothing_lost(self) -> bool:
        return not (self.torn or self.not_resumed or self.left_over or self.different)

    def table(self) -> str:
        return markdown_table(['killed, and gone on with', ''], [
            *([f'SIGKILL {name}', str(count)] for name, count in sorted(self.moments.items())),
            [f'iterations done again after one, at most (saved every {SAVED_EVERY})', str(self.most_lost)],
            ['files with a final name that do not load', str(self.torn)],
            ['starts that did not go on from the newest set', str(self.not_resumed)],
            ['temporary files left at the end', str(self.left_over)],
            ['last set and scores against those of the training above',
             f'other: {", ".join(self.different)}' if self.different else 'the same bit for bit']])


class RunsStudy:
    """Trainings of a tiny KDGANModel on generated images, with discriminator, adapters and two workers.

    Args:
        folder: where all of it goes; it is made.
        iterations: of each training.
    """

    def __init__(self, folder: Path, iterations: int) -> None:
        self.folder, self.iterations = folder, iterations
        rng = np.random.default_rng(0)
        for name, side in (('HR', 144), ('LRx4', 36)):
            (folder / name).mkdir(parents=True)
            for index in range(7):
                small = rng.integers(0, 256, (9, 9, 3), dtype=np.uint8)
                cv2.imwrite(str(folder / name / f'{index}.png'), cv2.resize(small, (side, side)))
        torch.manual_seed(0)
        write_checkpoint(folder / 'teacher.pth', RRDBNet(**TINY).state_dict())

    def watch(self) -> Watched:
        """Train from start to end."""
        begun, samples = time.monotonic(), []
        with self._start('watched') as process:
            while process.poll() is None:
                done = self._iterations('watched')
                if done:
                    samples.append((done, *_memory_and_files(process.pid)))
                time.sleep(0.5)
        if process.returncode:
            raise SystemExit(f'The training failed; its log is {self._log("watched")}')
        taken = np.array([sample for sample in samples if sample[1]])  # without those of a process that has ended
        late = taken[taken[:, 0] > self.iterations / 2]
        root = self._root('watched')
        journals = [root / 'validations.jsonl', *(root.parents[1] / 'tb_logger').rglob('events*')]
        files = taken[:, 2].astype(int)
        return Watched(self.iterations, time.monotonic() - begun, 1000 * np.polyfit(late[:, 0], late[:, 1], 1)[0],
                       taken[:, 1].max() / 1024,
                       (*(int(files[taken[:, 0] >= part * self.iterations][0]) for part in (0.1, 0.9)),
                        int(files.max())),
                       sum(path.stat().st_size for path in root.glob('*.log')),
                       sum(path.stat().st_size for path in journals))

    def kill(self, count: int, seed: int) -> Killed:
        """Train with so many SIGKILLs at random moments, then to the end; to be compared with what `watch` left."""
        rng = np.random.default_rng(seed)
        moments: Counter[str] = Counter()
        torn = not_resumed = most_lost = 0
        root = self._root('killed')
        for number in range(count):
            newest, log = self._newest_set(), self._log('killed')
            start_of_log = log.stat().st_size if log.exists() else 0
            with self._start('killed') as process:
                # half of them while it trains, so that the other moments are met as well
                wanted = rng.uniform(0, SECONDS_OF_TRAINING)
                if number % 2:
                    while not self._iterations('killed', start_of_log) and process.poll() is None:
                        time.sleep(0.05)
                time.sleep(wanted)
                process.kill()
            if not process.returncode:
                break  # done before it was killed
            said = _tail(log, start_of_log)
            if (resumed := RESUMED.search(said)) and int(resumed[1]) != newest:
                not_resumed += 1
            reached = self._iterations('killed', start_of_log)
            if reached:
                most_lost = max(most_lost, reached - self._newest_set())
            moments[self._moment(reached)] += 1
            torn += sum(not _loads(path) for path in root.glob('[mt]*/*') if not path.name.endswith('.tmp'))
            print(f'kill {number + 1} of {count}: newest set {self._newest_set()}', flush=True)
        with self._start('killed') as process:
            process.wait()
        if process.returncode:
            raise SystemExit(f'The training failed; its log is {self._log("killed")}')
        return Killed(dict(moments), most_lost, torn, not_resumed, len(list(root.rglob('*.tmp'))), self._different())

    def _root(self, name: str) -> Path:
        return self.folder / name / 'experiments' / 'run'

    def _log(self, name: str) -> Path:
        return self.folder / f'{name}.log'

    def _start(self, name: str) -> subprocess.Popen[bytes]:
        folder = self.folder / name
        folder.mkdir(exist_ok=True)
        options = folder / 'run.yml'
        options.write_text(yaml.safe_dump(self._options(), sort_keys=False))
        with self._log(name).open('ab') as log:
            return subprocess.Popen([sys.executable, '-m', 'basicsr_kd.train', '-opt', options, '--auto_resume'],
                                    cwd=folder, stdout=log, stderr=subprocess.STDOUT)

    def _options(self) -> dict[str, Any]:
        pairs = {'name': 'generated', 'type': 'PairedImageDataset', 'dataroot_gt': str(self.folder / 'HR'),
                 'dataroot_lq': str(self.folder / 'LRx4'), 'io_backend': {'type': 'disk'}}
        adam = {'type': 'Adam', 'lr': 1e-4}
        return {
            'name': 'run', 'model_type': 'KDGANModel', 'scale': 4, 'num_gpu': 0, 'manual_seed': 0,
            'datasets': {'train': {**pairs, 'gt_size': 128, 'use_hflip': True, 'use_rot': True,
                                   'num_worker_per_gpu': 2, 'batch_size_per_gpu': 2, 'dataset_enlarge_ratio': 10},
                         'val': dict(pairs)},
            'network_g': {**TINY, 'type': 'SlimRRDBNet', 'num_feat': 4},
            'network_d': {'type': 'VGGStyleDiscriminator', 'num_in_ch': 3, 'num_feat': 2},
            'teacher': {'path': str(self.folder / 'teacher.pth')},
            'path': {'pretrain_network_g': None},
            'train': {'ema_decay': 0.99, 'optim_g': dict(adam), 'optim_d': dict(adam), 'total_iter': self.iterations,
                      'scheduler': {'type': 'MultiStepLR', 'milestones': [self.iterations // 2], 'gamma': 0.5},
                      'pixel_opt': {'type': 'L1Loss'}, 'gan_opt': {'type': 'GANLoss', 'gan_type': 'vanilla',
                                                                   'loss_weight': 5e-3},
                      'distill_opt': {'type': 'FeatureDistillLoss', 'loss_weight': 1e-2}},
            'val': {'val_freq': VALIDATED_EVERY, 'save_img': False,
                    'metrics': {'psnr': {'type': 'calculate_psnr', 'crop_border': 4}}},
            'logger': {'print_freq': LOGGED_EVERY, 'save_checkpoint_freq': SAVED_EVERY, 'use_tb_logger': True,
                       'keep_last': 3},
        }

    def _iterations(self, name: str, start_of_log: int = 0) -> int:
        """The last iteration that the log speaks of, 0 without one."""
        if not self._log(name).exists():
            return 0
        return max(filter(None, map(iteration, _tail(self._log(name), start_of_log).splitlines())), default=0)

    def _newest_set(self) -> int:
        states = self._root('killed').glob('training_states/*.state')
        return max((int(path.stem) for path in states), default=0)

    def _moment(self, reached: int) -> str:
        """What a process was doing when it was killed, by what it left."""
        root = self._root('killed')
        if not reached:
            return 'before its first iterations'
        networks = max((int(path.stem.split('_')[-1]) for path in root.glob('models/net_*.pth')), default=0)
        if networks > self._newest_set() or any(root.rglob('*.tmp')):
            return 'while it saved'
        return 'while it trained'

    def _different(self) -> list[str]:
        one, other = self._root('watched'), self._root('killed')
        names = [*(f'models/{net}_{which}.pth' for net, which in
                   itertools.product(('net_g', 'net_d'), (self.iterations, 'latest'))),
                 f'training_states/{self.iterations}.state']
        found = [name for name in names if not _same(_load(one / name), _load(other / name))]
        scores = 'validations.jsonl'
        return found + ([scores] if (one / scores).read_text() != (other / scores).read_text() else [])


def _load(path: Path) -> dict[str, Any]:
    content: dict[str, Any] = torch.load(path, weights_only=True)
    content.pop('options', None)  # which say where it lies
    return content


def _loads(path: Path) -> bool:
    try:
        return bool(_load(path))
    except Exception:  # whatever it is, the file cannot be used
        return False


def _same(one: Any, other: Any) -> bool:
    (leaves, shape), (others, shape_of_other) = _pytree.tree_flatten(one), _pytree.tree_flatten(other)
    return shape == shape_of_other and all(
        torch.equal(leaf, same) if isinstance(leaf, torch.Tensor) else leaf == same
        for leaf, same in zip(leaves, others, strict=True))


def _tail(path: Path, start: int) -> str:
    with path.open('rb') as file:
        file.seek(start)
        return file.read().decode(errors='replace')


def _memory_and_files(process: int) -> tuple[int, int]:
    """KiB in memory and open files; zeros of a process that has just ended."""
    try:
        pages = int(Path(f'/proc/{process}/statm').read_text().split()[1])
        return pages * PAGE_KIB, len(list(Path(f'/proc/{process}/fd').iterdir()))
    except (FileNotFoundError, ProcessLookupError, PermissionError):
        return 0, 0
