"""Boxes around things: which are found, of which class, and the mean average precision of that.

The same things may be found in another order, so an artifact's boxes are paired with golden's first, by class and by
how much they overlap. What only one of both has is a difference, unless rounding decides about it.
"""

import contextlib
import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from measures.colours import colour
from measures.distance import NOTHING
from measures.tasks import Fair, Pairs
from measures.tolerance import OR_ONE_SAMPLE, Tolerance
from records.errors import AGAIN
from records.golden import Golden
from records.tensor import Array, Arrays

METRIC = "mAP"
IN_PLACE = False
MEAN_OF_SAMPLES = False
SENSITIVE_DB = 15.0
"""One step left 33 dB on the default network, where a transparent picture lost one box of 16, 24 on random weights."""
FLOAT_MODULES = ("proposals", "decode")
DECIDED_BY = ("labels", "count")
ELSEWHERE = -1
"""Decision for a box of golden's class that is too far from golden's to be it."""
PAIRED = 0.5
"""IoU from which two boxes of a class may be of one thing, as in COCO's and Pascal VOC's benchmarks."""
FAIR_IOU = 0.05
"""IoU by which two boxes' overlap may miss the threshold of suppression and be a matter of rounding, at most."""
SHOWN = 0.3
"""Score from which a box is told and drawn."""
BEYOND = 8
"""Pixels outside of a picture that are drawn on at most: of a side that is a billion long, Pillow draws all of it."""
PIXEL = 1.0
"""Side below which a box's overlap with another says little: many a detector gives boxes of no area at the border."""
UNKNOWN = -1
"""Label behind the last box of a sample's truth."""
CROWDED = 0.05
"""Share of golden's samples that may show more things than the model can give."""


@dataclass(frozen=True)
class _Found:
    """What was found in one sample: K boxes."""

    boxes: Array
    """(K, 4) float64: x and y of two corners, in pixels."""
    scores: Array
    """(K,) float64."""
    labels: Array
    """(K,) int64."""
    full: bool
    """True if there is no room for more."""

    @classmethod
    def of(cls, outputs: Arrays, index: int) -> "_Found":
        """Return what outputs (N, …) say of a sample."""
        room = outputs["scores"].shape[1]
        count = int(np.clip(outputs["count"][index], 0, room))
        boxes, scores = (outputs[name][index, :count].astype(np.float64) for name in ("boxes", "scores"))
        return cls(boxes, scores, outputs["labels"][index, :count].astype(np.int64), count == room)


@dataclass(frozen=True)
class _Rivals:
    """What rounding may give in the place of each of K boxes of one sample."""

    boxes: Array
    """(K, R, 4) float64."""
    scores: Array
    """(K, R) float64, 0 where there is none."""
    least: float
    """The last candidate's score; −∞: unknown."""

    @classmethod
    def of(cls, rivals: Arrays, index: int, count: int) -> "_Rivals":
        """Return those of a sample's `count` boxes; of nothing that is known, none."""
        if not rivals:
            return cls(np.zeros((count, 0, 4)), np.zeros((count, 0)), -np.inf)
        boxes, scores = (rivals[name][index, :count].astype(np.float64) for name in ("boxes", "scores"))
        return cls(boxes, scores, float(rivals["least"][index]))


def pair(actual: Arrays, golden: Arrays, fair: Fair) -> Pairs:
    """Return boxes (N, D, 4), scores (N, D), labels (N, D) and count (N,), each box in the place of golden's.

    Another output has a value for each box: (N, D, …). What only one of both has is no distance of boxes. It is one of
    scores and of labels, unless it is fair: what golden alone has, scores 0 for `NOTHING`; what the artifact alone has
    takes a place that is free. Samples that hold no numbers are returned as they are.

    A box that is one of its partner's rivals, where golden's score leads by no more than allowed noise, is a tie, and
    its distance is that from the rival.
    """
    outputs = {name: np.array(values) for name, values in actual.items()}
    ties = np.zeros(len(golden["count"]), np.int64)
    for index in range(len(ties)):
        if all(np.array_equal(actual[name][index], golden[name][index]) for name in golden):
            continue
        if not all(np.isfinite(actual[name][index]).all() for name in ("boxes", "scores")):
            continue
        ours, theirs = _Found.of(actual, index), _Found.of(golden, index)
        if not 0 <= actual["count"][index] <= golden["scores"].shape[1]:  # an app would read what is not there
            ours = _Found(ours.boxes[:0], ours.scores[:0], ours.labels[:0], full=False)
        rivals = _Rivals.of(fair.rivals, index, len(theirs.scores))
        pairing = _Pairing.of(ours, theirs, rivals, fair)
        place, extra, swapped = pairing.place, pairing.extra, pairing.swapped
        fair_extra, fair_missed = _left_to_rounding(ours, theirs, pairing, rivals.least, fair)
        ties[index] = fair_extra.sum() + fair_missed.sum() + swapped.sum()
        outputs["count"][index] = len(theirs.scores)
        for name in golden.keys() - {"count"}:
            values = np.array(golden[name][index])
            values[place[~extra]] = actual[name][index][: len(place)][~extra]
            if name in pairing.ahead:
                values[place[swapped]] += pairing.ahead[name][swapped].astype(values.dtype)
            outputs[name][index] = values
        unfair = np.flatnonzero(pairing.missed & ~fair_missed)
        outputs["labels"][index, unfair], outputs["scores"][index, unfair] = NOTHING, 0
        more = np.flatnonzero(extra & ~fair_extra)
        free = [*unfair, *range(len(theirs.scores), golden["scores"].shape[1]), *np.flatnonzero(fair_missed)]
        for row in more:
            label = ours.labels[row]
            slot = next((one for one in free if one >= len(theirs.scores) or label != theirs.labels[one]), free[0])
            free.remove(slot)
            alike = slot < len(theirs.scores) and label == theirs.labels[slot]
            outputs["labels"][index, slot] = ELSEWHERE if alike else label
            outputs["scores"][index, slot] = ours.scores[row]
            outputs["count"][index] = max(outputs["count"][index], slot + 1)
    return Pairs(outputs, ties)


def _partners(ours: _Found, theirs: _Found) -> Array:
    """Return for each of our boxes the place of its partner among theirs (K,) int64; -1: it has none.

    A partner has the same class; who overlaps most is paired first. A box thinner than a pixel is taken for one pixel
    wider: of no area it overlaps nothing, not even itself.
    """
    place = np.full(len(ours.scores), -1)
    thin, other_thin = ((found.boxes[:, 2:] - found.boxes[:, :2]).min(axis=1) < PIXEL for found in (ours, theirs))
    grow = np.array([-PIXEL, -PIXEL, PIXEL, PIXEL]) / 2
    shared = np.where(
        thin[:, None] | other_thin, iou(ours.boxes + grow, theirs.boxes + grow), iou(ours.boxes, theirs.boxes)
    )
    shared[ours.labels[:, None] != theirs.labels] = 0
    while shared.size and shared.max() >= PAIRED:
        row, column = np.unravel_index(int(shared.argmax()), shared.shape)
        place[row] = column
        shared[row], shared[:, column] = 0, 0
    return place


@dataclass(frozen=True)
class _Pairing:
    """Which of our K boxes of a sample is which of golden's L."""

    place: Array
    """(K,) int64: the partner among golden's; -1: it has none."""
    missed: Array
    """(L,) bool: which of golden's nothing of ours is the partner of."""
    swapped: Array
    """(K,) bool: which is its partner's rival, where rounding decides which of both is kept."""
    ahead: Mapping[str, Array]
    """By output, what golden's box is beyond that rival, (K, …): with it added, ours is compared with golden's."""

    @classmethod
    def of(cls, ours: _Found, theirs: _Found, rivals: _Rivals, fair: Fair) -> "_Pairing":
        """Pair boxes by class and overlap."""
        place = _partners(ours, theirs)
        missed = ~np.isin(np.arange(len(theirs.scores)), place)
        ahead = {"boxes": np.zeros_like(ours.boxes), "scores": np.zeros_like(ours.scores)}
        swapped = np.zeros(len(place), bool)
        for row in np.flatnonzero(place >= 0):
            partner = place[row]
            lead = theirs.scores[partner] - rivals.scores[partner]  # (R,)
            near = (rivals.scores[partner] > 0) & (lead <= fair.noise.get("scores", 0.0))
            away = np.abs(ours.boxes[row] - theirs.boxes[partner]).max()
            if not near.any() or away <= fair.noise.get("boxes", 0.0):
                continue
            apart = np.where(near, np.abs(ours.boxes[row] - rivals.boxes[partner]).max(axis=1), np.inf)
            rival = int(apart.argmin())
            if apart[rival] < away:
                swapped[row] = True
                ahead["boxes"][row] = theirs.boxes[partner] - rivals.boxes[partner, rival]
                ahead["scores"][row] = lead[rival]
        return cls(place, missed, swapped, ahead)

    @property
    def extra(self) -> Array:
        """Return which of ours have no partner (K,) bool."""
        return np.asarray(self.place < 0)

    @property
    def replaced(self) -> Array:
        """Return which of golden's have a rival in their place (L,) bool."""
        return np.isin(np.arange(len(self.missed)), self.place[self.swapped])


def _left_to_rounding(ours: _Found, theirs: _Found, pairing: _Pairing, least: float, fair: Fair) -> tuple[Array, Array]:
    """Return which of our boxes without a partner, and which of theirs, rounding decides about: two masks.

    That is where a score lies at the threshold, at the last candidate's (`least`), or at the least that there is room
    for; where the overlap with another box lies at the threshold of suppression, or which of both suppresses the other;
    and where the other is such a one itself, or a rival in the place of golden's.
    """
    sides, alone = (ours, theirs), (pairing.extra, pairing.missed)
    decided = tuple(
        mask & (_at_threshold(found, least, fair) | _at_rank(found, other, fair))
        for mask, found, other in zip(alone, sides, sides[::-1], strict=True)
    )
    overlaps = iou(ours.boxes, theirs.boxes)
    overlaps[ours.labels[:, None] != theirs.labels] = 0
    slack = _slack(ours, theirs, fair)
    limit = fair.thresholds.get("iou", 1.0)
    near = np.abs(overlaps - limit) <= slack
    beyond = overlaps >= limit - slack
    level = beyond & (np.abs(ours.scores[:, None] - theirs.scores) <= fair.noise.get("scores", 0.0))
    either = near | level
    decided = (decided[0] | (alone[0] & either.any(axis=1)), decided[1] | (alone[1] & either.any(axis=0)))
    while True:  # of a chain each decides about the next
        following = (
            decided[0] | (alone[0] & (beyond & (decided[1] | pairing.replaced)).any(axis=1)),
            decided[1] | (alone[1] & (beyond & (decided[0] | pairing.swapped)[:, None]).any(axis=0)),
        )
        if all(np.array_equal(*pair) for pair in zip(decided, following, strict=True)):
            return decided
        decided = following


def _at_threshold(found: _Found, least: float, fair: Fair) -> Array:
    """Return which boxes score as little as what is asked for at least, or as the last candidate."""
    noise = fair.noise.get("scores", 0.0)
    apart = [np.abs(found.scores - bound) <= noise for bound in (fair.thresholds.get("score", 0.0), least)]
    return np.asarray(apart[0] | apart[1])


def _at_rank(found: _Found, other: _Found, fair: Fair) -> Array:
    """Return which boxes score as little as the last that the other had room for."""
    if not other.full or not len(other.scores):
        return np.zeros(len(found.scores), bool)
    return np.asarray(found.scores <= other.scores.min() + fair.noise.get("scores", 0.0))


def _slack(ours: _Found, theirs: _Found, fair: Fair) -> Array:
    """Return by how much allowed noise of the boxes may move the IoU of each pair, (K, L)."""
    noise = fair.noise.get("boxes", 0.0)
    sides = [np.maximum((found.boxes[:, 2:] - found.boxes[:, :2]).min(axis=1), 1e-6) for found in (ours, theirs)]
    return np.asarray(np.minimum(FAIR_IOU, 4 * noise / np.minimum(sides[0][:, None], sides[1])))


def iou(first: Array, second: Array) -> Array:
    """Return the intersection over union of boxes (K, 4) and (L, 4): (K, L) float64; of no area: 0."""
    corner = np.maximum(first[:, None, :2], second[None, :, :2])
    end = np.minimum(first[:, None, 2:], second[None, :, 2:])
    both = np.clip(end - corner, 0, None).prod(axis=2)
    areas: list[Array] = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    either: Array = areas[0][:, None] + areas[1] - both
    return np.asarray(np.divide(both, either, out=np.zeros_like(both), where=either > 0))


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


def average_precision(outputs: Arrays, truth: Arrays) -> tuple[float, float]:
    """Return COCO's mean average precision over IoU 0.50 to 0.95, and that at 0.50 (https://cocodataset.org/#detection-eval).

    Of boxes; of masks, where outputs have such (N, D, H, W) bool, and truth (N, M, H, W).
    """
    from faster_coco_eval import COCO, COCOeval_faster

    of_masks = "masks" in outputs
    things: list[dict[str, Any]] = []
    for image, (boxes, labels) in enumerate(zip(truth["boxes"], truth["labels"], strict=True)):
        for place in np.flatnonzero(labels >= 0):
            mask = truth["masks"][image, place] if of_masks else None
            things.append(_annotation(len(things) + 1, image, boxes[place], labels[place], mask) | {"iscrowd": 0})
    found: list[dict[str, Any]] = []
    for image in range(len(outputs["count"])):
        each = _Found.of(outputs, image)
        known = np.isfinite(each.boxes).all(axis=1) & np.isfinite(each.scores) & (each.labels >= 0)
        for place in np.flatnonzero(known):
            mask = outputs["masks"][image, place] if of_masks else None
            one = _annotation(len(found) + 1, image, each.boxes[place], each.labels[place], mask)
            found.append(one | {"score": float(each.scores[place])})
    if not things:
        return float("nan"), float("nan")
    if not found:
        return 0.0, 0.0
    classes = sorted({thing["category_id"] for thing in (*things, *found)})
    size = dict(zip(("height", "width"), outputs["masks"].shape[2:], strict=True)) if of_masks else {}
    images = [{"id": image, **size} for image in range(len(outputs["count"]))]
    with contextlib.redirect_stdout(io.StringIO()):
        right = COCO({"images": images, "categories": [{"id": label} for label in classes], "annotations": things})
        evaluation = COCOeval_faster(right, right.loadRes(found), "segm" if of_masks else "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def _annotation(number: int, image: int, box: Array, label: Any, mask: Array | None) -> dict[str, Any]:
    x, y, width, height = (float(value) for value in (box[0], box[1], box[2] - box[0], box[3] - box[1]))
    annotation = {
        "id": number,
        "image_id": image,
        "category_id": int(label),
        "bbox": [x, y, width, height],
        "area": width * height,
    }
    if mask is None:
        return annotation
    from faster_coco_eval import mask as coco_mask

    lengths = coco_mask.encode(np.asfortranarray(mask, np.uint8))
    return {**annotation, "segmentation": lengths, "area": float(mask.sum())}


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
    if golden.rivals and not _fit(golden.rivals, outputs["scores"].shape):
        shapes = ", ".join(f"{name} {values.shape}" for name, values in golden.rivals.items())
        return f"its rivals are {shapes}, not of each of {outputs['scores'].shape} boxes. {AGAIN}."
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


def _fit(rivals: Arrays, shape: tuple[int, ...]) -> bool:
    """True if rivals are floats of as many samples and boxes as scores of this shape (N, D)."""
    axes = {name: values.shape for name, values in rivals.items()}
    scores = axes.get("scores", ())
    return (
        all(values.dtype.kind == "f" for values in rivals.values())
        and scores[:2] == shape
        and len(scores) == 3
        and axes.get("boxes") == (*scores, 4)
        and axes.get("least") == shape[:1]
    )


def told(outputs: Arrays, labels: Sequence[str]) -> list[str]:
    """Return the boxes of `SHOWN` and better, in pixels of the input."""
    found = _Found.of({name: values[None] for name, values in outputs.items()}, 0)
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
    found = _Found.of({name: values[None] for name, values in outputs.items()}, 0)
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
