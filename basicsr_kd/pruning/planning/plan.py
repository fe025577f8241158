"""A plan: the candidates in the order in which they were found to be good, and a file that keeps what is done."""
from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path

from basicsr_kd.errors import PruningError
from basicsr_kd.pruning.planning.candidates import Candidate
from basicsr_kd.pruning.planning.planner import Found, Planner, Trial
from basicsr_kd.utils.files import write_whole

REFITTED = 5
"""How many of the candidates are refitted and measured."""
Say = Callable[[str], None]


def plan(planner: Planner, candidates: Sequence[Candidate], file: Path, say: Say) -> tuple[list[Found], dict[str, str]]:
    """Try candidates and measure the best of them.

    Args:
        planner: Prunes.
        candidates: The ways.
        file: Keeps what is done, .json: another plan of the same goes on from there.
        say: Is told what comes next.

    Returns:
        What was measured, the best first, and why others were not.

    Raises:
        PruningError: No candidate reaches the budget.
    """
    key = _key(planner)
    done = _read(file, key)
    trials: list[Trial] = []
    left_out: dict[str, str] = {}
    for candidate in candidates:
        say(f'pruning: {candidate.name}')
        try:
            trials.append(planner.try_out(candidate))
        except PruningError as error:
            left_out[candidate.name] = str(error).removeprefix('prune: ').removeprefix('plan: ')
    if not trials:
        raise PruningError('plan: no way of pruning reaches the budget. ' + ' '.join(
            f'{name}: {why}' for name, why in left_out.items()))
    trials.sort(key=lambda trial: trial.error)
    for trial in trials[REFITTED:]:
        left_out[trial.candidate.name] = (f'not refitted: {REFITTED} others were nearer before it (its mean squared '
                                          f'error {trial.error:.2g}, theirs up to {trials[REFITTED - 1].error:.2g})')
    found: list[Found] = []
    for trial in trials[:REFITTED]:
        name = trial.candidate.name
        if name not in done:
            say(f'refitting and measuring: {name}')
            done[name] = planner.measure(trial)
            file.parent.mkdir(parents=True, exist_ok=True)
            write_whole(file, json.dumps({'of': key, 'found': [asdict(one) for one in done.values()]}, indent=2))
        found.append(done[name])
    return sorted(found, key=lambda one: -one.scores['psnr']), left_out


def front(found: Sequence[Found]) -> list[Found]:
    """Those that no other is both faster and nearer than."""
    return [one for one in found if not any(
        other.time <= one.time and other.scores['psnr'] >= one.scores['psnr'] and other is not one for other in found)]


def seconds_of(planner: Planner, candidates: Sequence[Candidate], forward: float) -> float:
    """About how long a plan takes.

    Args:
        planner: Not used yet.
        candidates: The ways.
        forward: Seconds that the network takes for one calibration image.
    """
    images = len(planner.images) * forward
    by_obs = any(one.importance == 'obs' for one in candidates)
    try:
        blocks = len(planner.blocks_job.blocks)
    except PruningError:  # it has none
        blocks = 0
    return images * (4 + 12 * by_obs + 11 * min(REFITTED, len(candidates)) + blocks) + 60


def _key(planner: Planner) -> str:
    """What a plan depends on."""
    digest = hashlib.sha256()
    for tensor in (*planner.net.state_dict().values(), planner.images, planner.judge):
        digest.update(tensor.contiguous().numpy().tobytes())
    return f'{planner.budget.said}, round_to {planner.round_to}, {planner.place.words()}, {digest.hexdigest()[:16]}'


def _read(file: Path, key: str) -> dict[str, Found]:
    try:
        kept = json.loads(file.read_text('utf-8'))
        return {one['name']: Found(**one) for one in kept['found']} if kept['of'] == key else {}
    except (OSError, ValueError, KeyError, TypeError):
        return {}
