"""A list is done in its order, whoever does it."""

import threading

import pytest

from workers.executor import Local


@pytest.mark.parametrize("jobs", [1, 3])
def test_values_come_in_the_order_of_the_items(jobs: int) -> None:
    assert Local(jobs).map(lambda number: number * number, range(9)) == [number * number for number in range(9)]
    assert Local(jobs).map(lambda number: number, []) == []


def test_several_are_done_at_a_time() -> None:
    """Each waits for the other: one after the other they would wait for ever."""
    meeting = threading.Barrier(2, timeout=60)
    assert sorted(Local(2).map(lambda _: meeting.wait(), range(2))) == [0, 1]


@pytest.mark.parametrize("jobs", [1, 2])
def test_what_is_raised_is_raised(jobs: int) -> None:
    with pytest.raises(ZeroDivisionError):
        Local(jobs).map(lambda number: 1 // number, [1, 0])
