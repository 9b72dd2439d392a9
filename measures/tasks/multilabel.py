"""Any number of labels per image: each class whose logit is above 0 is there, and mean average precision says what that
is worth.

Average precision is that of a ranking, without interpolation: of each sample that has the class, the share of those
ranked as high that have it, too; the mean over these samples
(https://scikit-learn.org/stable/modules/generated/sklearn.metrics.average_precision_score.html). Then the mean over the
classes that occur.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from measures.colours import colour
from measures.distance import NOTHING
from measures.tasks import Fair, Pairs
from measures.tolerance import DECISIONS, Tolerance
from records.errors import AGAIN
from records.golden import Golden
from records.tensor import Array, Arrays

METRIC = "mAP"
IN_PLACE = True
MEAN_OF_SAMPLES = False
SENSITIVE_DB = 0.0
FLOAT_MODULES = ()
DECIDED_BY = ("logits",)
UNKNOWN = 255
"""In the truth, of a class of which nobody says whether it is there: it counts nowhere."""
UNSAID = -3
"""What `labelled` has for such a class."""


def pair(actual: Arrays, golden: Arrays, fair: Fair) -> Pairs:
    """Return logits (N, K) as they are: each has its place."""
    return Pairs.in_place(actual, golden)


def decide(outputs: Arrays) -> Array:
    """Return (N, K) int64 of logits (N, K): a class's own number where it is there, -2 (`NOTHING`) where it is not.

    -1 where a logit is no number.
    """
    logits = outputs["logits"]
    there = np.where(logits > 0, np.arange(logits.shape[1]), -2)
    return np.where(np.isfinite(logits), there, -1)


def margin(outputs: Arrays) -> Array:
    """Return how far each of logits (N, K) lies from 0."""
    return np.asarray(np.abs(outputs["logits"]))


def score(outputs: Arrays, truth: Arrays) -> float:
    """Return the mean average precision of logits (N, K) against `present` (N, K); NaN where no class is there."""
    each = average_precision(outputs["logits"], truth["present"])
    known = each[np.isfinite(each)]
    return float(known.mean()) if len(known) else float("nan")


def average_precision(logits: Array, present: Array) -> Array:
    """Return the average precision of each class (K,), of logits (N, K); NaN of a class that no sample has.

    present: (N, K) uint8, 1 where the class is there, 0 where not, else `UNKNOWN`.
    """
    values = np.full(logits.shape[1], np.nan)
    for label in range(logits.shape[1]):
        known = present[:, label] != UNKNOWN
        right = present[known, label] == 1
        if not right.any():
            continue
        ranks = np.nan_to_num(logits[known, label].astype(np.float64), nan=-np.inf, posinf=np.inf, neginf=-np.inf)
        order = np.argsort(-ranks, kind="stable")
        ranked = ranks[order]
        last = np.append(ranked[1:] != ranked[:-1], True)  # of equal logits, which are taken together
        hits, taken = np.cumsum(right[order])[last], np.flatnonzero(last) + 1
        values[label] = (np.diff(hits, prepend=0) * hits / taken).sum() / hits[-1]
    return values


def scores(outputs: Arrays, truth: Arrays) -> Mapping[str, float]:
    """Return mean average precision, and F1 of all decisions together: twice the hits, by those made and asked for."""
    known = truth["present"] != UNKNOWN
    made, right = (decide(outputs) >= 0)[known], (truth["present"] == 1)[known]
    either = int(made.sum() + right.sum())
    return {METRIC: score(outputs, truth), "F1": 2 * int((made & right).sum()) / either if either else float("nan")}


def labelled(truth: Arrays) -> Array:
    """Return (N, K) int64: a class's own number where it is there, `NOTHING` where not, `UNSAID` where unknown."""
    present = truth["present"]
    there = np.where(present == 1, np.arange(present.shape[1]), NOTHING)
    return np.where(present == UNKNOWN, UNSAID, there)


def names(labels: Sequence[str]) -> Mapping[int, str]:
    """Return each class's label."""
    return {**dict(enumerate(labels)), NOTHING: "nothing", UNSAID: "unknown", -1: "no number"}


def tolerances(precision: str) -> tuple[Tolerance, ...]:
    """Return what is allowed of classes that either finds, and of the metric: the same in every precision."""
    return DECISIONS


def weakness(golden: Golden, labels: Sequence[str]) -> str:
    """Say what is wrong with decisions or truth, so that an artifact that always decides alike could pass."""
    logits = golden.outputs.get("logits")
    if logits is None or logits.ndim != 2:
        return f"no logits of one value for each class. {AGAIN}."
    if logits.shape[1] != len(labels):
        return f"{logits.shape[1]} values, but {len(labels)} labels. {AGAIN}."
    decided = decide(golden.outputs)
    if (decided == decided[:1]).all():
        what = f"the same {int((decided[0] >= 0).sum())} of {len(labels)} classes"
        return f"PyTorch itself finds {what} in all {len(decided)} samples. Train longer. {AGAIN}."
    truth = golden.truth.get("present")
    if truth is None:  # nobody said what is right: that decisions vary is asked above
        return ""
    if truth.shape != logits.shape or truth.dtype.kind not in "iu":
        return f"present is {truth.dtype} {truth.shape}, and logits {logits.shape}: one for each class. {AGAIN}."
    if other := sorted(set(np.unique(truth).tolist()) - {0, 1, UNKNOWN}):
        return f"present has the value {other[0]}; 0, 1 and {UNKNOWN} (unknown) are known. {AGAIN}."
    if not ((truth == 1).any(axis=0) & (truth == 0).any(axis=0)).any():
        return (
            f"no class is in some of {len(truth)} samples and not in others, so no ranking is wrong. Hold out images "
            f"with and without each. {AGAIN}."
        )
    return ""


def told(outputs: Arrays, labels: Sequence[str]) -> list[str]:
    """Return the classes that are there, each with the sigmoid of its logit."""
    logits = outputs["logits"].astype(np.float64)
    order = np.argsort(-logits, kind="stable")
    return [
        f"{labels[place] if place < len(labels) else place} {1 / (1 + np.exp(-logits[place])):.2f}"
        for place in order[logits[order] > 0].tolist()
    ]


def draw(picture: Array, outputs: Arrays, labels: Sequence[str]) -> Array:
    """Return the picture (H, W, 3) uint8 with the classes that are there written on it, one below the other."""
    from PIL import Image, ImageDraw

    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    for row, place in enumerate(np.flatnonzero(outputs["logits"] > 0).tolist()):
        name, corner = labels[place] if place < len(labels) else str(place), (2, 2 + 12 * row)
        pen.rectangle(pen.textbbox(corner, name), fill=colour(place))
        pen.text(corner, name, fill="black")
    return np.asarray(canvas)
