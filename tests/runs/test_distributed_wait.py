"""What one process of a distributed run does while the others wait."""
from __future__ import annotations

import time
from datetime import timedelta
from pathlib import Path

import torch.distributed as dist
from helpers.warm import run_processes

from basicsr_kd.runs.distributed import leave_process_group, on_master_first

LIMIT = 2  # seconds that a collective waits


def one_of_two(rank: int, folder: Path) -> None:
    dist.init_process_group('gloo', init_method=f'file://{folder}/meeting', rank=rank, world_size=2,
                            timeout=timedelta(seconds=LIMIT))

    def prune() -> str:
        time.sleep(LIMIT + 2)
        return 'pruned'

    assert [on_master_first(prune), on_master_first(lambda: 'at once')] == ['pruned', 'at once']
    leave_process_group()


def test_rank_0_may_take_longer_than_a_collective_waits(tmp_path):
    run_processes(one_of_two, (tmp_path,), 2)
