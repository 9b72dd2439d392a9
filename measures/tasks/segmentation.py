"""A class for every pixel: the greatest logit decides, and the mean IoU of the classes says what that is worth.

The mean IoU is that of the Pascal VOC and Cityscapes benchmarks: of each class its pixels in both, by those in either,
counted over all samples; then the mean over the classes that occur.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from measures.colours import colour
from measures.tasks import Fair, Pairs
from measures.tolerance import DECISIONS, Tolerance
from records.errors import AGAIN
from records.golden import Golden
from records.tensor import Array, Arrays

METRIC = "mIoU"
IN_PLACE = True
MEAN_OF_SAMPLES = False
SENSITIVE_DB = 0.0
FLOAT_MODULES = ()
DECIDED_BY = ("logits",)
VOID = 255
"""Class of a pixel of which nobody says what it is: it counts nowhere."""
SHADE = 0.5
"""Share of a class's colour in a picture that is drawn on."""


def pair(actual: Arrays, golden: Arrays, fair: Fair) -> Pairs:
    """Return logits (N, K, H, W) as they are: each has its place."""
    return Pairs.in_place(actual, golden)


def decide(outputs: Arrays) -> Array:
    """Return the class of each pixel (N, H, W) int64 of logits (N, K, H, W); -1 where one is no number."""
    logits = outputs["logits"]
    return np.where(np.isfinite(logits).all(axis=1), logits.argmax(axis=1), -1)


def margin(outputs: Arrays) -> Array:
    """Return the greatest of logits (N, K, H, W) less the second greatest (N, H, W)."""
    two = np.partition(outputs["logits"], -2, axis=1)[:, -2:]
    return np.asarray(two[:, 1] - two[:, 0])


def score(outputs: Arrays, truth: Arrays) -> float:
    """Return the mean IoU of logits (N, K, H, W) against classes (N, H, W) uint8; NaN where every pixel is void."""
    made, right, count = decide(outputs), truth["classes"], outputs["logits"].shape[1]
    known = right != VOID
    pairs = right[known].astype(np.int64) * (count + 1) + made[known] + 1  # the first column: no number
    both = np.bincount(pairs, minlength=count * (count + 1)).reshape(count, count + 1)
    hits = np.diagonal(both, offset=1)
    either = both.sum(axis=1) + both.sum(axis=0)[1:] - hits
    return float((hits[either > 0] / either[either > 0]).mean()) if known.any() else float("nan")


def scores(outputs: Arrays, truth: Arrays) -> Mapping[str, float]:
    """Return mean IoU, and the share of pixels that are right."""
    known = truth["classes"] != VOID
    right = (decide(outputs) == truth["classes"])[known]
    return {METRIC: score(outputs, truth), "pixel accuracy": float(right.mean()) if known.any() else float("nan")}


def labelled(truth: Arrays) -> Array:
    """Return the class of each pixel (N, H, W) int64; `VOID` where nobody says what it is."""
    return truth["classes"].astype(np.int64)


def names(labels: Sequence[str]) -> Mapping[int, str]:
    """Return each class's label."""
    return {**dict(enumerate(labels)), VOID: "void", -1: "no number"}


def tolerances(precision: str) -> tuple[Tolerance, ...]:
    """Return what is allowed of pixels and mean IoU: the same in every precision."""
    return DECISIONS


def weakness(golden: Golden, labels: Sequence[str]) -> str:
    """Say what is wrong with the classes of the pixels, so that an artifact that always gives one could pass."""
    logits = golden.outputs.get("logits")
    if logits is None or logits.ndim != 4:
        return f"no logits of one value for each class and pixel. {AGAIN}."
    if logits.shape[1] != len(labels):
        return f"{logits.shape[1]} values for each pixel, but {len(labels)} labels. {AGAIN}."
    truth = golden.truth.get("classes")
    if truth is None:  # nobody said what is right: that decisions vary is asked of every task
        return ""
    if truth.shape != (len(logits), *logits.shape[2:]) or truth.dtype.kind not in "iu":
        return f"classes are {truth.dtype} {truth.shape}, and logits {logits.shape}: one for each pixel. {AGAIN}."
    known = np.unique(truth[truth != VOID])
    if len(known) < 2:
        return f"all pixels are of one class, so a broken artifact could be right on all. {AGAIN}."
    if known[-1] >= len(labels):
        return f"class {int(known[-1])}, but there are {len(labels)} ({', '.join(labels[:5])}…). {AGAIN}."
    return ""


def told(outputs: Arrays, labels: Sequence[str]) -> list[str]:
    """Return the classes, each with its share of the pixels."""
    classes = decide({"logits": outputs["logits"][None]})[0]
    values, counts = np.unique(classes, return_counts=True)
    called = names(labels)
    order = np.argsort(-counts, kind="stable")
    return [f"{called.get(int(values[place]), '?')} {counts[place] / classes.size:.0%}" for place in order]


def draw(picture: Array, outputs: Arrays, labels: Sequence[str]) -> Array:
    """Return the picture (H, W, 3) uint8 with each pixel shaded in its class's colour; the first class is not."""
    classes = decide({"logits": outputs["logits"][None]})[0]
    if classes.shape != picture.shape[:2]:
        return picture
    shades = np.array([colour(label) for label in range(len(labels))], np.float64)[classes]
    mixed = np.where((classes > 0)[..., None], (1 - SHADE) * picture + SHADE * shades, picture)
    return np.round(mixed).astype(np.uint8)
