"""What all processes of a distributed run must have in common before it creates anything."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from basicsr_kd.errors import OptionsError
from basicsr_kd.runs.changes import flat
from basicsr_kd.runs.distributed import from_all_ranks
from basicsr_kd.runs.resume import saved_iterations

# what BasicSR fills in on each machine: drawn at random, or by its GPUs and folders
_OF_A_MACHINE = {'rank', 'manual_seed', 'num_gpu', 'root_path'} | {
    f'path.{key}' for key in ('experiments_root', 'results_root', 'models', 'training_states', 'log', 'visualization')}


def options_of_ranks(opt: dict[str, Any]) -> list[dict[str, Any]]:
    """What the options file of each rank says, flat, by the keys' paths; every rank must take part.

    With `--auto_resume` the state that a rank finds is among it: one that finds none would start anew.
    """
    mine = {key: value for key, value in dict(flat(opt)).items() if key not in _OF_A_MACHINE}
    if opt.get('auto_resume'):
        mine['path.resume_state'] = next((f'{iteration}.state' for iteration in saved_iterations(opt['path'])), None)
    return from_all_ranks(mine)


def must_agree(options: Sequence[dict[str, Any]]) -> None:
    """All ranks have the same options; with different ones they would wait for each other, or train different things.

    Args:
        options: As `options_of_ranks` returns them.

    Raises:
        OptionsError: The first key that differs.
    """
    first = options[0]
    for rank, other in enumerate(options):
        for key in (*first, *other):
            if first.get(key) != other.get(key):
                raise OptionsError(f'{key}: {first.get(key)!r} on rank 0, {other.get(key)!r} on rank {rank}; all ranks '
                                   'need the same options file, --force_yml and experiments folder')
