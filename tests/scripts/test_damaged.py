"""scripts/torture.py --files and --data, in short: damaged files and images are refused in a line, or do no harm."""
from __future__ import annotations

import pickle
from pathlib import Path

from helpers.warm import run_processes
from studies import damaged_files, damaged_images

FILES, TRAININGS = 60, 12


def files(rank: int, folder: Path) -> None:
    """In a process without threads: `in_child` forks, and a fork of one that had some may wait for them forever."""
    bench = damaged_files.FileBench(folder / 'bench')
    (folder / 'results').write_bytes(pickle.dumps(list(damaged_files.damaged(bench, FILES, seed=0))))


def trainings(rank: int, folder: Path) -> None:
    bench = damaged_images.ImageBench(folder / 'bench')
    (folder / 'results').write_bytes(pickle.dumps(list(damaged_images.damaged(bench, TRAININGS, seed=0))))


def test_files_of_networks(tmp_path):
    run_processes(files, (tmp_path,), 1)
    tried = pickle.loads((tmp_path / 'results').read_bytes())
    table = damaged_files.tried_table(tried)
    assert damaged_files.all_well(tried), table
    hostile = tried[FILES:]
    assert len(hostile) > 20 and all(one.end == 'refused' for one in hostile), hostile
    assert not (tmp_path / 'bench' / 'harmed').exists()
    assert {'refused', 'same'} <= {one.end for one in tried} and '| net.pth ' in table


def test_images_of_trainings(tmp_path):
    run_processes(trainings, (tmp_path,), 1)
    tried = pickle.loads((tmp_path / 'results').read_bytes())
    assert damaged_images.all_well(tried), damaged_images.tried_table(tried)
    assert {'refused', 'ran'} <= {one.end for one in tried}
