"""Whatever a network gives, without a decision: its outputs are compared value by value, and nothing else is said.

A network of which nobody says what it decides is of this task, too.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from measures.tolerance import Tolerance
from records.golden import Golden
from records.tensor import Array, Arrays

METRIC = ""
"""There is none."""
DECIDED_BY = ()


def pair(actual: Arrays, golden: Arrays) -> tuple[Arrays, Array]:
    """Return outputs (N, …) as they are: each value has its place, so none (N,) is without a partner."""
    return actual, np.zeros(len(next(iter(golden.values()))), np.int64)


def decide(outputs: Arrays) -> Array:
    """Return no decision for each of the samples: (N, 0) int64."""
    return np.zeros((len(next(iter(outputs.values()))), 0), np.int64)


def margin(outputs: Arrays) -> Array:
    """Return the margins of no decisions: (N, 0)."""
    return np.zeros((len(next(iter(outputs.values()))), 0))


def score(outputs: Arrays, truth: Arrays) -> float:
    """Return NaN: there is no metric."""
    return float("nan")


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


def draw(picture: Array, decision: Array) -> Array:
    """Return the picture (H, W, 3) uint8 as it is."""
    return picture
