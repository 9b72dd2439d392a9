"""A class for every pixel: the array half of a task that is not in the house."""

from collections.abc import Mapping, Sequence

import numpy as np

from measures.tolerance import DECISIONS, Tolerance
from records.golden import Golden
from records.tensor import Array, Arrays

METRIC = "pixel accuracy"
DECIDED_BY = ("scores",)


def pair(actual: Arrays, golden: Arrays) -> tuple[Arrays, Array]:
    return actual, np.zeros(len(golden["scores"]), np.int64)


def decide(outputs: Arrays) -> Array:
    scores = outputs["scores"]  # (N, C, H, W)
    return np.where(np.isfinite(scores).all(axis=1), scores.argmax(axis=1), -1)


def margin(outputs: Arrays) -> Array:
    two = np.sort(outputs["scores"], axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0])


def score(outputs: Arrays, truth: Arrays) -> float:
    return float((decide(outputs) == truth["mask"]).mean())


def labelled(truth: Arrays) -> Array:
    return truth["mask"]


def names(labels: Sequence[str]) -> Mapping[int, str]:
    return {**dict(enumerate(labels)), -1: "no number"}


def tolerances(precision: str) -> tuple[Tolerance, ...]:
    return DECISIONS


def weakness(golden: Golden, labels: Sequence[str]) -> str:
    return "" if len(np.unique(golden.truth["mask"])) > 1 else "all pixels are of one class"


def draw(picture: Array, decision: Array) -> Array:
    drawn = picture.copy()
    drawn[decision == 1] = (255, 0, 0)
    return drawn
