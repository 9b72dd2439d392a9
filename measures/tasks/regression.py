"""Whatever a network gives, without a decision: its outputs are compared value by value, and nothing else is said.

A network of which nobody says what it decides is of this task, too.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from measures.tasks import Fair, Pairs
from measures.tolerance import Tolerance
from records.golden import Golden
from records.tensor import Array, Arrays

METRIC = ""
"""There is none."""
IN_PLACE = True
MEAN_OF_SAMPLES = True
SENSITIVE_DB = 0.0
FLOAT_MODULES = ()
DECIDED_BY = ()


def pair(actual: Arrays, golden: Arrays, fair: Fair) -> Pairs:
    """Return outputs (N, …) as they are: each value has its place."""
    return Pairs.in_place(actual, golden)


def decide(outputs: Arrays) -> Array:
    """Return no decision for each of the samples: (N, 0) int64."""
    return np.zeros((len(next(iter(outputs.values()))), 0), np.int64)


def margin(outputs: Arrays) -> Array:
    """Return the margins of no decisions: (N, 0)."""
    return np.zeros((len(next(iter(outputs.values()))), 0))


def score(outputs: Arrays, truth: Arrays) -> float:
    """Return NaN: there is no metric."""
    return float("nan")


def scores(outputs: Arrays, truth: Arrays) -> Mapping[str, float]:
    """Return nothing: there is no metric."""
    return {}


def labelled(truth: Arrays) -> Array:
    """Return no decisions: (0, 0)."""
    return np.zeros((0, 0), np.int64)


def names(labels: Sequence[str]) -> Mapping[int, str]:
    """Return no names, for there are no decisions."""
    return {}


def tolerances(precision: str) -> tuple[Tolerance, ...]:
    """Return nothing that is allowed of decisions: there are none."""
    return ()


def weakness(golden: Golden, labels: Sequence[str]) -> str:
    """Say nothing: whether outputs vary is asked of every task."""
    return ""


def told(outputs: Arrays, labels: Sequence[str]) -> list[str]:
    """Return the outputs."""
    return [f"{name} {np.array2string(values, precision=4, threshold=8)}" for name, values in outputs.items()]


def draw(picture: Array, outputs: Arrays, labels: Sequence[str]) -> Array:
    """Return the picture (H, W, 3) uint8 as it is."""
    return picture
