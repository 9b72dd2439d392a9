"""Boxes around things: which are found, of which class, and the mean average precision of that.

An artifact's boxes are paired with golden's first (`measures.boxes`), for they may be found in another order.
"""

from collections.abc import Mapping, Sequence

import numpy as np

from measures.average_precision import average_precision
from measures.boxes import ELSEWHERE, Found, fit, lost, pair
from measures.colours import colour
from measures.distance import NOTHING
from measures.tolerance import OR_ONE_SAMPLE, Tolerance
from records.errors import AGAIN
from records.golden import Golden
from records.tensor import Array, Arrays

__all__ = [
    "DECIDED_BY", "FLOAT_MODULES", "IN_PLACE", "MEAN_OF_SAMPLES", "METRIC", "SENSITIVE_DB", "decide", "draw",
    "labelled", "margin", "names", "pair", "score", "scores", "told", "tolerances", "weakness",
]  # fmt: skip
METRIC = "mAP"
IN_PLACE = False
MEAN_OF_SAMPLES = False
SENSITIVE_DB = 15.0
"""One step left 33 dB on the default network, where a transparent picture lost one box of 16, 24 on random weights."""
FLOAT_MODULES = ("proposals", "decode")
DECIDED_BY = ("labels", "count")
SHOWN = 0.3
"""Score from which a box is told and drawn."""
BEYOND = 8
"""Pixels outside of a picture that are drawn on at most: of a side that is a billion long, Pillow draws all of it."""
UNKNOWN = -1
"""Label behind the last box of a sample's truth."""
TURNED = 0.05
"""Share of golden's boxes that other roundings may lose: of a Mask R-CNN with random weights it is 0.006."""
CROWDED = 0.05
"""Share of golden's samples that may show more things than the model can give."""


def decide(outputs: Arrays) -> Array:
    """Return the label of each box (N, D) int64, -2 (`NOTHING`) behind the last of a sample."""
    labels = outputs["labels"].astype(np.int64)
    there = np.arange(labels.shape[1]) < outputs["count"].reshape(-1, 1)
    return np.where(there, labels, -2)


def margin(outputs: Arrays) -> Array:
    """Return an endless margin for each decision (N, D): which are left to rounding, `pair` has found out."""
    return np.full(outputs["labels"].shape, np.inf)


def score(outputs: Arrays, truth: Arrays) -> float:
    """Return COCO's mean average precision, over IoU 0.50 to 0.95; NaN without anything to find.

    outputs: as a model gives them. truth: boxes (N, M, 4) and labels (N, M), `UNKNOWN` behind the last.
    """
    return average_precision(outputs, truth)[0]


def scores(outputs: Arrays, truth: Arrays) -> Mapping[str, float]:
    """Return COCO's mean average precision over IoU 0.50 to 0.95, and that at 0.50."""
    over_all, at_half = average_precision(outputs, truth)
    return {METRIC: over_all, "mAP@50": at_half}


def labelled(truth: Arrays) -> Array:
    """Return the labels of what is to be found (N, M) int64, `NOTHING` behind the last; in no order."""
    labels = truth["labels"].astype(np.int64)
    return np.where(labels < 0, NOTHING, labels)


def names(labels: Sequence[str]) -> Mapping[int, str]:
    """Return each class's label."""
    return {**dict(enumerate(labels)), NOTHING: "nothing", ELSEWHERE: "elsewhere"}


_FALL = "What a conversion may surely (95 %) cost a release, in the metric's unit."
_FLOAT = (
    Tolerance(
        "agreement",
        1.0,
        upper=False,
        unit="",
        reason="Every box has its partner of the same class, but for those that allowed noise decides about: at the "
        "score's threshold, at the overlap's, at the last rank (ties are counted apart).",
        source="a box more or less is another answer; what float32 may change is counted as a tie",
    ),
    Tolerance("metric_fall", 0.005, upper=True, unit="", reason=_FALL, source="a choice, not a measurement"),
)
_INTEGER = (
    Tolerance(
        "agreement",
        0.98,
        upper=False,
        unit=OR_ONE_SAMPLE,
        reason="Of a hundred boxes two may be found by one of both alone, or of another class, besides ties.",
        source="a choice: what integers may change of an answer",
    ),
    Tolerance("metric_fall", 0.01, upper=True, unit="", reason=_FALL, source="a choice, not a measurement"),
)


def tolerances(precision: str) -> tuple[Tolerance, ...]:
    """Return what is allowed of boxes that are found and of mean average precision."""
    return _FLOAT if precision in {"float32", "float16"} else _INTEGER


def weakness(golden: Golden, labels: Sequence[str]) -> str:
    """Say what is wrong with golden's boxes, so that an artifact that finds nothing could pass."""
    outputs = golden.outputs
    if missing := [name for name in ("boxes", "scores", "labels", "count") if name not in outputs]:
        return f"no output {missing[0]}. {AGAIN}."
    if not outputs["count"].any():
        return f"PyTorch itself finds nothing on any of {len(outputs['count'])} samples. Train longer. {AGAIN}."
    decided = decide(outputs)
    if decided.max() >= len(labels):
        return f"label {int(decided.max())}, but there are {len(labels)} classes ({', '.join(labels[:5])}…). {AGAIN}."
    if golden.rivals and not fit(golden.rivals, outputs["scores"].shape):
        shapes = ", ".join(f"{name} {values.shape}" for name, values in golden.rivals.items())
        return f"its rivals are {shapes}, not of each of {outputs['scores'].shape} boxes. {AGAIN}."
    if (share := lost(outputs, golden.rivals)) > TURNED:
        return (
            f"of PyTorch's boxes {share:.0%} are gone when it is rounded otherwise ({TURNED:.0%} allowed), so parity "
            f"would compare rounding. Train longer. {AGAIN}."
        )
    truth = golden.truth.get("labels")
    if truth is None:
        return ""
    if truth.ndim != 2 or golden.truth.get("boxes", truth).shape != (*truth.shape, 4):
        return f"labels are {truth.dtype} {truth.shape}, not one for each box. {AGAIN}."
    if truth.max(initial=-1) >= len(labels):
        return f"label {int(truth.max())}, but there are {len(labels)} classes ({', '.join(labels[:5])}…). {AGAIN}."
    things, room = (truth >= 0).sum(axis=1), outputs["scores"].shape[1]
    if (things > room).mean() > CROWDED:
        return (
            f"{int((things > room).sum())} of {len(things)} samples show more than the {room} boxes that the model "
            f"gives at most, {int(things.max())} of them. Give a greater detection.detections. {AGAIN}."
        )
    return ""


def told(outputs: Arrays, labels: Sequence[str]) -> list[str]:
    """Return the boxes of `SHOWN` and better, in pixels of the input."""
    found = Found.of({name: values[None] for name, values in outputs.items()}, 0)
    return [
        f"{labels[label] if 0 <= label < len(labels) else label} {value:.2f} at "
        f"({', '.join(f'{side:.0f}' for side in box)})"
        for box, value, label in zip(found.boxes, found.scores, found.labels.tolist(), strict=True)
        if value >= SHOWN
    ]


def draw(picture: Array, outputs: Arrays, labels: Sequence[str]) -> Array:
    """Return the picture (H, W, 3) uint8 with the boxes of `SHOWN` and better on it, each with its label and score."""
    from PIL import Image, ImageDraw

    canvas = Image.fromarray(picture)
    pen = ImageDraw.Draw(canvas)
    found = Found.of({name: values[None] for name, values in outputs.items()}, 0)
    for box, value, label in zip(found.boxes, found.scores, found.labels, strict=True):
        if not (np.isfinite(box).all() and value >= SHOWN):
            continue
        name = labels[label] if 0 <= label < len(labels) else str(label)
        seen = np.clip(box, -BEYOND, [side + BEYOND for side in (*canvas.size, *canvas.size)])
        low, high = np.minimum(seen[:2], seen[2:]), np.maximum(seen[:2], seen[2:])
        pen.rectangle([*low, *high], outline=colour(int(label)), width=2)
        text = f"{name} {value:.2f}"
        corner = float(low[0]) + 2, max(0.0, float(low[1]) - 10)
        pen.rectangle(pen.textbbox(corner, text), fill=colour(int(label)))
        pen.text(corner, text, fill="black")
    return np.asarray(canvas)
