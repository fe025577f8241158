"""A plan: the candidates, best first, and a file that keeps what has been measured."""
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
        planner: Prunes and measures.
        candidates: The ways of pruning.
        file: A .json file that keeps finished work: the same plan, started again, goes on from there.
        say: Is told what comes next.

    Returns:
        The measured candidates, the best first, and the reasons why others were not measured.

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
    """The candidates for which no other is both faster and nearer to the original."""
    return [one for one in found if not any(
        other.time <= one.time and other.scores['psnr'] >= one.scores['psnr'] and other is not one for other in found)]


def seconds_of(planner: Planner, candidates: Sequence[Candidate], forward: float) -> float:
    """An estimate of how many seconds a plan takes.

    Args:
        planner: A planner that has not been used yet.
        candidates: The ways of pruning.
        forward: Seconds that the network takes for one calibration image.
    """
    images = len(planner.images) * forward
    by_obs = any(one.importance == 'obs' for one in candidates)
    try:
        blocks = len(planner.blocks_job.blocks)
    except PruningError:  # the network has no blocks
        blocks = 0
    return images * (4 + 12 * by_obs + 11 * min(REFITTED, len(candidates)) + blocks) + 60


def _key(planner: Planner) -> str:
    """Everything that a plan depends on, as one text."""
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
