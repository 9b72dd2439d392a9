"""One label per image: the greatest logit decides, and accuracy says what that is worth."""

from collections.abc import Mapping, Sequence

import numpy as np

from measures.tasks import Fair, Pairs
from measures.tolerance import DECISIONS, Tolerance
from records.errors import AGAIN
from records.golden import Golden
from records.tensor import Array, Arrays

METRIC = "accuracy"
IN_PLACE = True
MEAN_OF_SAMPLES = True
SENSITIVE_DB = 0.0
FLOAT_MODULES = ()
TOLD = 5
"""Classes that are told of a sample, the likeliest."""
DECIDED_BY = ("logits",)


def pair(actual: Arrays, golden: Arrays, fair: Fair) -> Pairs:
    """Return outputs (N, …) as they are: each value has its place."""
    return Pairs.in_place(actual, golden)


def decide(outputs: Arrays) -> Array:
    """Return the class (N,) int64 of logits (N, K); -1 where one is no number, which agrees with no class."""
    logits = outputs["logits"]
    return np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), -1)


def margin(outputs: Arrays) -> Array:
    """Return the greatest of logits (N, K) less the second greatest (N,)."""
    two = np.sort(outputs["logits"], axis=1)[:, -2:]
    return np.asarray(two[:, -1] - two[:, 0])


def score(outputs: Arrays, truth: Arrays) -> float:
    """Return the share of logits (N, K) that decide for their label (N,)."""
    return float((decide(outputs) == truth["labels"]).mean())


def scores(outputs: Arrays, truth: Arrays) -> Mapping[str, float]:
    """Return accuracy, and of more than five classes the share whose label is among the five greatest logits."""
    logits, labels = outputs["logits"], truth["labels"]
    if logits.shape[1] <= 5:
        return {METRIC: score(outputs, truth)}
    five = np.argpartition(logits, -5, axis=1)[:, -5:]
    return {METRIC: score(outputs, truth), "top-5 accuracy": float((five == labels[:, None]).any(axis=1).mean())}


def labelled(truth: Arrays) -> Array:
    """Return the labels (N,) int64."""
    return truth["labels"]


def names(labels: Sequence[str]) -> Mapping[int, str]:
    """Return each class's label."""
    return {**dict(enumerate(labels)), -1: "no number"}


def tolerances(precision: str) -> tuple[Tolerance, ...]:
    """Return what is allowed of decisions and accuracy: the same in every precision."""
    return DECISIONS


def weakness(golden: Golden, labels: Sequence[str]) -> str:
    """Say what is wrong with the labels, so that an artifact that always gives one class could pass."""
    logits = golden.outputs.get("logits")
    if logits is None or logits.ndim != 2:
        return f"no logits of one value for each class. {AGAIN}."
    count = logits.shape[1]
    if count != len(labels):
        return f"{count} values, but {len(labels)} labels. {AGAIN}."
    truth = golden.truth.get("labels")
    if truth is None:  # nobody said what is right: that decisions vary is asked of every task
        return ""
    if truth.ndim != 1 or truth.dtype.kind not in "iu":
        return f"labels are {truth.dtype} {truth.shape}, not one integer for each sample. {AGAIN}."
    if len(np.unique(truth)) < 2:
        return (
            f"all {len(truth)} labels are one class, so a broken artifact could be right on all. Hold out images of "
            f"every class. {AGAIN}."
        )
    if truth.min() < 0 or truth.max() >= len(labels):
        return f"label {int(truth.max())}, but there are {len(labels)} classes ({', '.join(labels[:5])}…). {AGAIN}."
    return ""


def told(outputs: Arrays, labels: Sequence[str]) -> list[str]:
    """Return the likeliest classes, each with its share of the softmax."""
    logits = outputs["logits"].astype(np.float64)
    shares = np.exp(logits - logits.max())
    shares /= shares.sum()
    best = np.argsort(-shares, kind="stable")[:TOLD]
    return [f"{labels[place] if place < len(labels) else place} {shares[place]:.2f}" for place in best.tolist()]


def draw(picture: Array, outputs: Arrays, labels: Sequence[str]) -> Array:
    """Return the picture (H, W, 3) uint8 as it is: a class is said, not drawn."""
    return picture
