"""A class for every pixel: the array half of a task that is not in the house."""

from collections.abc import Mapping, Sequence

import numpy as np

from measures.tasks import Fair, Pairs
from measures.tolerance import DECISIONS, Tolerance
from records.golden import Golden
from records.tensor import Array, Arrays

METRIC = "pixel accuracy"
IN_PLACE = True
MEAN_OF_SAMPLES = True
SENSITIVE_DB = 0.0
FLOAT_MODULES = ()
DECIDED_BY = ("scores",)


def pair(actual: Arrays, golden: Arrays, fair: Fair) -> Pairs:
    return Pairs.in_place(actual, golden)


def decide(outputs: Arrays) -> Array:
    scores = outputs["scores"]  # (N, C, H, W)
    return np.where(np.isfinite(scores).all(axis=1), scores.argmax(axis=1), -1)


def margin(outputs: Arrays) -> Array:
    two = np.sort(outputs["scores"], axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0])


def score(outputs: Arrays, truth: Arrays) -> float:
    return float((decide(outputs) == truth["mask"]).mean())


def scores(outputs: Arrays, truth: Arrays) -> Mapping[str, float]:
    return {METRIC: score(outputs, truth)}


def labelled(truth: Arrays) -> Array:
    return truth["mask"]


def names(labels: Sequence[str]) -> Mapping[int, str]:
    return {**dict(enumerate(labels)), -1: "no number"}


def tolerances(precision: str) -> tuple[Tolerance, ...]:
    return DECISIONS


def weakness(golden: Golden, labels: Sequence[str]) -> str:
    return "" if len(np.unique(golden.truth["mask"])) > 1 else "all pixels are of one class"


def told(outputs: Arrays, labels: Sequence[str]) -> list[str]:
    return []


def draw(picture: Array, outputs: Arrays, labels: Sequence[str]) -> Array:
    drawn = picture.copy()
    drawn[outputs["scores"].argmax(axis=0) == 1] = (255, 0, 0)
    return drawn
