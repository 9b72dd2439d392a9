"""Boxes that two models found: which is which, and what rounding decides about.

The same things may be found in another order, so an artifact's boxes are paired with golden's first, by class and by
how much they overlap. What only one of both has is a difference, unless rounding decides about it.

    pairs = pair(actual, golden, fair)               # each box in the place of golden's
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from measures.distance import NOTHING
from measures.tasks import Fair, Pairs
from records.tensor import Array, Arrays

ELSEWHERE = -1
"""Decision for a box of golden's class that is too far from golden's to be it."""
PAIRED = 0.5
"""IoU from which two boxes of a class may be of one thing, as in COCO's and Pascal VOC's benchmarks."""
FAIR_IOU = 0.05
"""IoU by which two boxes' overlap may miss the threshold of suppression and be a matter of rounding, at most."""
PIXEL = 1.0
"""Side below which a box's overlap with another says little: many a detector gives boxes of no area at the border."""


@dataclass(frozen=True)
class Found:
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
    def of(cls, outputs: Arrays, index: int) -> "Found":
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
        ours, theirs = Found.of(actual, index), Found.of(golden, index)
        if not 0 <= actual["count"][index] <= golden["scores"].shape[1]:  # an app would read what is not there
            ours = Found(ours.boxes[:0], ours.scores[:0], ours.labels[:0], full=False)
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


def _partners(ours: Found, theirs: Found) -> Array:
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
    def of(cls, ours: Found, theirs: Found, rivals: _Rivals, fair: Fair) -> "_Pairing":
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


def _left_to_rounding(ours: Found, theirs: Found, pairing: _Pairing, least: float, fair: Fair) -> tuple[Array, Array]:
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


def _at_threshold(found: Found, least: float, fair: Fair) -> Array:
    """Return which boxes score as little as what is asked for at least, or as the last candidate."""
    noise = fair.noise.get("scores", 0.0)
    apart = [np.abs(found.scores - bound) <= noise for bound in (fair.thresholds.get("score", 0.0), least)]
    return np.asarray(apart[0] | apart[1])


def _at_rank(found: Found, other: Found, fair: Fair) -> Array:
    """Return which boxes score as little as the last that the other had room for."""
    if not other.full or not len(other.scores):
        return np.zeros(len(found.scores), bool)
    return np.asarray(found.scores <= other.scores.min() + fair.noise.get("scores", 0.0))


def _slack(ours: Found, theirs: Found, fair: Fair) -> Array:
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
