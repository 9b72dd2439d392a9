"""What a task's outputs decide and what that is worth, on arrays: one task, one file, named as in the checkpoint.

    task = load("classification")
    task.decide(golden.outputs)                # (N,) int64

Decisions are integers of any shape after the samples' axis: a class for an image, one for each pixel, one for each box.
Only a task knows what they stand for. Its other half, which needs torch, is the file of that name in `pipeline/tasks/`.
"""

import importlib
import pkgutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol, cast

import numpy as np

from measures.tolerance import Tolerance
from records.errors import unknown
from records.golden import Golden
from records.tensor import Array, Arrays

ROUNDING = 2.0**-17
"""Share of an output's greatest value that float32's rounding may come to behind a whole network: 64 of its steps."""
NOTHING_KNOWN: Arrays = {}
NO_THRESHOLDS: Mapping[str, float] = {}


@dataclass(frozen=True)
class Fair:
    """What leaves a decision to rounding: noise that is allowed, and the thresholds that the model itself decides by.

    Of none of both, every difference counts.
    """

    noise: Mapping[str, float] = field(default_factory=dict)
    """By output, in its unit."""
    thresholds: Mapping[str, float] = field(default_factory=dict)
    """By the task's own names: a checkpoint's `decoding`."""
    rivals: Arrays = field(default_factory=dict)
    """(N, …) by the task's own names: what golden all but chose for each sample, as `Golden.rivals`; empty: unknown."""

    @classmethod
    def of_rounding(cls, reference: Arrays, thresholds: Mapping[str, float], rivals: Arrays = NOTHING_KNOWN) -> "Fair":
        """Return what float32 leaves to rounding of outputs (N, …), where nobody knows their noise floor yet."""
        floats = {
            name: rows for name, rows in reference.items() if rows.size and np.issubdtype(rows.dtype, np.floating)
        }
        greatest = {
            name: float(np.abs(rows, where=np.isfinite(rows), out=np.zeros_like(rows)).max())
            for name, rows in floats.items()
        }
        return cls({name: ROUNDING * value for name, value in greatest.items()}, thresholds, rivals)


@dataclass(frozen=True)
class Pairs:
    """Actual outputs, each part of them in the place of its partner in golden."""

    outputs: Arrays
    """(N, …) by name."""
    ties: Array
    """(N,) int64: parts of each sample that only one of both has, and that rounding decides about."""

    @classmethod
    def in_place(cls, actual: Arrays, golden: Arrays) -> "Pairs":
        """Return outputs whose every value has its place already."""
        return cls(actual, np.zeros(len(next(iter(golden.values()))), np.int64))


class Task(Protocol):
    """The interface of a task file."""

    METRIC: str
    """What `score` gives."""
    IN_PLACE: bool
    """True if each decision has its place, which the truth has a label for; False: things are found in any order."""
    MEAN_OF_SAMPLES: bool
    """True if the score of samples is the mean of each one's own."""
    DECIDED_BY: Collection[str]
    """Names of the outputs that decisions are made of."""

    SENSITIVE_DB: float
    """Decibels by which a step of an image's values may change the outputs further than a classifier's: of two boxes
    that score alike another one may be the best."""
    FLOAT_MODULES: Collection[str]
    """Modules of the model, at its top, that stay in float32 in every precision: they decide, and compute nothing."""

    def pair(self, actual: Arrays, golden: Arrays, fair: Fair) -> Pairs:
        """Return actual outputs (N, …) in golden's order: both have the same names, shapes and types."""

    def decide(self, outputs: Arrays) -> Array:
        """Return what outputs (N, …) by name decide: integers (N, …), -1 where outputs are no numbers.

        -2 (`distance.NOTHING`): there is nothing.

        It calls nothing of its file: its source goes into the scripts that reproduce a row.
        """

    def margin(self, outputs: Arrays) -> Array:
        """Return by how much each decision was made, in the outputs' unit, in the decisions' shape."""

    def score(self, outputs: Arrays, truth: Arrays) -> float:
        """Return the metric of outputs (N, …) by name against the truth (N, …) by name; higher is better."""

    def scores(self, outputs: Arrays, truth: Arrays) -> Mapping[str, float]:
        """Return the metric by name, and what else is usual to say beside it."""

    def labelled(self, truth: Arrays) -> Array:
        """Return the decisions that the truth asks for, (N, …); in the decisions' shape, if each has its place."""

    def names(self, labels: Sequence[str]) -> Mapping[int, str]:
        """Return what each decision is called; labels: the checkpoint's."""

    def tolerances(self, precision: str) -> tuple[Tolerance, ...]:
        """Return what is allowed of decisions and metric."""

    def weakness(self, golden: Golden, labels: Sequence[str]) -> str:
        """Say why parity on these samples would prove nothing, and what to do; empty: it would prove something."""

    def told(self, outputs: Arrays, labels: Sequence[str]) -> list[str]:
        """Return what the outputs (…) of one sample decide in words, the surest first."""

    def draw(self, picture: Array, outputs: Arrays, labels: Sequence[str]) -> Array:
        """Return a sample's picture (H, W, 3) uint8 with what its outputs (…) decide drawn on it."""


def names() -> list[str]:
    """Return every task."""
    return sorted(module.name for module in pkgutil.iter_modules(__path__))


def load(name: str) -> Task:
    """Return the task of that name. Raises BadInput."""
    if name not in names():
        raise unknown("task", name, names())
    return cast(Task, importlib.import_module(f"measures.tasks.{name}"))


def in_order(
    task: Task,
    values: Arrays,
    reference: Arrays,
    thresholds: Mapping[str, float] = NO_THRESHOLDS,
    rivals: Arrays = NOTHING_KNOWN,
) -> Arrays:
    """Return outputs (N, …), what is found in each sample in a reference's order, where both are float32's or better.

    What rounding decides about is no distance: a noise floor would be as wide as two boxes are apart.
    """
    return task.pair(values, reference, Fair.of_rounding(reference, thresholds, rivals)).outputs


def measures(precision: str) -> list[str]:
    """Return what any task measures of decisions in a precision: `agreement`, `metric_fall`."""
    rows = [row.measure for name in names() for row in load(name).tolerances(precision)]
    return list(dict.fromkeys(rows))
