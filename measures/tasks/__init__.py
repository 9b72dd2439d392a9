"""What a task's outputs decide and what that is worth, on arrays: one task, one file, named as in the checkpoint.

    task = load("classification")
    task.decide(golden.outputs)                # (N,) int64

Decisions are integers of any shape after the samples' axis: a class for an image, one for each pixel, one for each box.
Only a task knows what they stand for. Its other half, which needs torch, is the file of that name in `pipeline/tasks/`.
"""

import importlib
import pkgutil
from collections.abc import Collection, Mapping, Sequence
from typing import Protocol, cast

from measures.tolerance import Tolerance
from records.errors import unknown
from records.golden import Golden
from records.tensor import Array, Arrays


class Task(Protocol):
    """The interface of a task file."""

    METRIC: str
    """What `score` gives."""
    DECIDED_BY: Collection[str]
    """Names of the outputs that decisions are made of."""

    def pair(self, actual: Arrays, golden: Arrays) -> tuple[Arrays, Array]:
        """Return actual outputs (N, …) in golden's order, and how many parts of each sample had no partner (N,)."""

    def decide(self, outputs: Arrays) -> Array:
        """Return what outputs (N, …) by name decide: integers (N, …), -1 where outputs are no numbers.

        It calls nothing of its file: its source goes into the scripts that reproduce a row.
        """

    def margin(self, outputs: Arrays) -> Array:
        """Return by how much each decision was made, in the outputs' unit, in the decisions' shape."""

    def score(self, outputs: Arrays, truth: Arrays) -> float:
        """Return the metric of outputs (N, …) by name against the truth (N, …) by name; higher is better."""

    def labelled(self, truth: Arrays) -> Array:
        """Return the decisions that the truth asks for, in the decisions' shape."""

    def names(self, labels: Sequence[str]) -> Mapping[int, str]:
        """Return what each decision is called; labels: the checkpoint's."""

    def tolerances(self, precision: str) -> tuple[Tolerance, ...]:
        """Return what is allowed of decisions and metric."""

    def weakness(self, golden: Golden, labels: Sequence[str]) -> str:
        """Say why parity on these samples would prove nothing, and what to do; empty: it would prove something."""

    def draw(self, picture: Array, decision: Array) -> Array:
        """Return a sample's picture (H, W, 3) uint8 with its decision (…) drawn on it."""


def names() -> list[str]:
    """Return every task."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Task:
    """Return the task of that name. Raises BadInput."""
    if name not in names():
        raise unknown("task", name, names())
    return cast(Task, importlib.import_module(f"measures.tasks.{name}"))


def measures(precision: str) -> list[str]:
    """Return what any task measures of decisions in a precision: `agreement`, `metric_fall`."""
    rows = [row.measure for name in names() for row in load(name).tolerances(precision)]
    return list(dict.fromkeys(rows))
