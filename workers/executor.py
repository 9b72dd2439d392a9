"""Where the steps of a run are done: one function over a list, here in threads that each hold a worker.

    measurements = Local(jobs=2).map(measure, rows)         # in the order of the rows

Nothing else knows whether it is this machine or many.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Protocol, TypeVar

Item = TypeVar("Item")
Value = TypeVar("Value")


class Executor(Protocol):
    """What does a function for every item of a list."""

    @property
    def jobs(self) -> int:
        """How many are done at a time: what is timed beside others is not to be believed."""

    def map(self, function: Callable[[Item], Value], items: Sequence[Item]) -> list[Value]:
        """Return the function's values in the order of the items; raise what it raises."""


@dataclass(frozen=True)
class Local:
    """This machine."""

    jobs: int = 1

    def map(self, function: Callable[[Item], Value], items: Sequence[Item]) -> list[Value]:
        """Return the function's values in the order of the items; raise what it raises."""
        if self.jobs == 1:
            return [function(item) for item in items]
        with ThreadPoolExecutor(self.jobs) as pool:
            return list(pool.map(function, items))
