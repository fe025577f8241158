"""Times calls that take turns, so that a slow moment of the machine affects all of them."""
from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from typing import TypeVar

import numpy as np
from tqdm import tqdm

WARM_UP = 2  # turns that do not count
LEAST_TURNS = 3  # turns that count, however long they take: quartiles of fewer would say nothing

_Key = TypeVar('_Key')
Call = Callable[[], object]
"""A call that returns only once all its work is done, on a GPU, too."""


def time_in_turns(calls: Mapping[_Key, Call], turns: int, budget: float = math.inf,
                  progress: bool = False) -> tuple[dict[_Key, list[float]], dict[_Key, str]]:
    """Time calls, each once a turn; every turn starts with another call.

    Args:
        calls: The calls to time, by any key.
        turns: How often each call runs; before that, two more turns are a warm-up.
        budget: Seconds after which no new turn starts, once there are three.
        progress: Whether to show a bar.

    Returns:
        The time of each turn by call, and the reasons for calls that failed, which are not run again and have no times.
    """
    taken: dict[_Key, list[float]] = {key: [] for key in calls}
    failures: dict[_Key, str] = {}
    started = time.perf_counter()
    with tqdm(total=(WARM_UP + turns) * len(calls), desc='timing', disable=not progress,
              bar_format='{desc} {bar} {n_fmt}/{total_fmt} {elapsed}') as bar:
        for turn in range(-WARM_UP, turns):
            if turn >= LEAST_TURNS and time.perf_counter() - started > budget:
                break
            keys = list(taken)
            for position in range(len(keys)):
                key = keys[(turn + position) % len(keys)]
                try:
                    seconds = _seconds(calls[key])
                except Exception as error:  # whatever the network's own code raises
                    failures[key] = reason(error)
                    del taken[key]
                    continue
                if turn >= 0:
                    taken[key].append(seconds)
                bar.update()
    return taken, failures


def quartiles(seconds: list[float]) -> tuple[float, float, float]:
    """Lower quartile, median and upper quartile."""
    low, median, high = np.quantile(seconds, [0.25, 0.5, 0.75]).tolist()
    return low, median, high


def reason(error: Exception) -> str:
    """What went wrong, in one line; PyTorch appends a stack to it."""
    return f'{type(error).__name__}: {str(error).strip().partition(chr(10))[0]}'


def _seconds(call: Call) -> float:
    start = time.perf_counter()
    call()
    return time.perf_counter() - start
