"""metrics/timing.py: calls of any kind take turns."""
from __future__ import annotations

import pytest

from basicsr_kd.metrics.timing import WARM_UP, quartiles, time_in_turns


def test_calls_take_turns_and_each_turn_starts_with_another():
    record: list[str] = []
    taken, failures = time_in_turns({name: lambda name=name: record.append(name) for name in 'abc'}, turns=3)

    turns = [''.join(record[start:start + 3]) for start in range(0, len(record), 3)]
    assert len(turns) == WARM_UP + 3 and set(turns) == {'abc', 'bca', 'cab'}
    assert {name: len(seconds) for name, seconds in taken.items()} == {'a': 3, 'b': 3, 'c': 3} and not failures


def test_what_fails_later_has_no_times_and_the_others_go_on():
    left = [3]

    def ends() -> None:
        left[0] -= 1
        if not left[0]:
            raise ValueError('no memory\nstack')
    taken, failures = time_in_turns({1: ends, 2: lambda: None}, turns=4)

    assert list(taken) == [2] and len(taken[2]) == 4 and failures == {1: 'ValueError: no memory'}


def test_quartiles_are_around_the_median():
    assert quartiles([5.0, 1.0, 2.0, 3.0, 4.0]) == pytest.approx((2.0, 3.0, 4.0))
