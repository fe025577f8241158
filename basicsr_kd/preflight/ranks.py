"""The check that all processes of a distributed run have the same options before it creates anything."""
from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from basicsr_kd.errors import OptionsError
from basicsr_kd.runs.changes import flat
from basicsr_kd.runs.distributed import from_all_ranks
from basicsr_kd.runs.resume import saved_iterations

# BasicSR fills these in on each machine: at random, or from its GPUs and folders
_OF_A_MACHINE = {'rank', 'manual_seed', 'num_gpu', 'root_path'} | {
    f'path.{key}' for key in ('experiments_root', 'results_root', 'models', 'training_states', 'log', 'visualization')}


def options_of_ranks(opt: dict[str, Any]) -> list[dict[str, Any]]:
    """The options of each rank as a flat dict from the keys' paths to values; every rank must call this.

    With `--auto_resume` they include the state that a rank finds: a rank without one would start anew.
    """
    mine = {key: value for key, value in dict(flat(opt)).items() if key not in _OF_A_MACHINE}
    if opt.get('auto_resume'):
        mine['path.resume_state'] = next((f'{iteration}.state' for iteration in saved_iterations(opt['path'])), None)
    return from_all_ranks(mine)


def must_agree(options: Sequence[dict[str, Any]]) -> None:
    """Check that all ranks have the same options: else they would wait for each other, or train different things.

    Args:
        options: As `options_of_ranks` returns them.

    Raises:
        OptionsError: Options differ; the text names the first key.
    """
    first = options[0]
    for rank, other in enumerate(options):
        for key in (*first, *other):
            if first.get(key) != other.get(key):
                raise OptionsError(f'{key}: {first.get(key)!r} on rank 0, {other.get(key)!r} on rank {rank}; all ranks '
                                   'need the same options file, --force_yml and experiments folder')
