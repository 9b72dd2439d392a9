"""Executors: they call one function for every item of a list, here in threads that each hold a worker.

    measurements = Local(jobs=2).map(measure, rows)         # in the order of the rows

Nothing else knows whether the calls run on this machine or on many.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


class Executor(Protocol):
    """Anything that calls a function for every item of a list."""

    @property
    def jobs(self) -> int:
        """Return how many calls run at a time: with more than one, timings are not to be believed."""

    def map(self, function: Callable[[Item], Value], items: Sequence[Item]) -> list[Value]:
        """Return the function's values in the order of the items; raise what it raises."""


@dataclass(frozen=True)
class Local:
    """An executor on this machine."""

    jobs: int = 1

    def map(self, function: Callable[[Item], Value], items: Sequence[Item]) -> list[Value]:
        """Return the function's values in the order of the items; raise what it raises."""
        if self.jobs == 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(self.jobs) as pool:
            return list(pool.map(function, items))
