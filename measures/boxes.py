"""Boxes that two models found: which is which, and what rounding decides about.

The same things may be found in another order, so an artifact's boxes are paired with golden's first, by class and by
how much they overlap. What only one of both has is a difference, unless rounding decides about it.

    pairs = pair(actual, golden, fair)               # each box in the place of golden's

What rounding decides about is known beside golden as its rivals: of each box, which it all but lost its place to; and
whole answers that the network gives when it is rounded otherwise (`OTHER`).
"""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from measures.distance import NOTHING
from measures.tasks import Fair, Pairs
from records.tensor import Array, Arrays

OTHER = "other"
"""What stands before the names of answers that are as right as golden's: `other.boxes` (N, R, D, 4)."""
ELSEWHERE = -1
"""Decision for a box of golden's class that is too far from golden's to be it."""
PAIRED = 0.5
"""IoU from which two boxes of a class may be of one thing, as in COCO's and Pascal VOC's benchmarks."""
FAIR_IOU = 0.05
"""IoU by which two boxes' overlap may miss the threshold of suppression and be a matter of rounding, at most."""
OTHERWISE = 2.0
"""Times allowed noise that a box may lie from one of a network that is rounded otherwise, which has its own."""
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
    others: "tuple[_Other, ...]"
    """Whole answers of networks that are rounded otherwise; one that holds no numbers says nothing."""

    @classmethod
    def of(cls, rivals: Arrays, index: int, theirs: Found) -> "_Rivals":
        """Return those of a sample in which golden found something; of nothing that is known, none."""
        count = len(theirs.scores)
        other = {name.removeprefix(f"{OTHER}."): rivals[name][index] for name in rivals if name.startswith(OTHER)}
        found = [Found.of(other, place) for place in range(len(other.get("count", ())))]
        known = [each for each in found if np.isfinite(each.boxes).all() and np.isfinite(each.scores).all()]
        others = tuple(_Other(each, _partners(each, theirs)) for each in known)
        if "least" not in rivals:
            return cls(np.zeros((count, 0, 4)), np.zeros((count, 0)), -np.inf, others)
        boxes, scores = (rivals[name][index, :count].astype(np.float64) for name in ("boxes", "scores"))
        return cls(boxes, scores, float(rivals["least"][index]), others)

    def near(self, theirs: Found, box: int, fair: Fair) -> tuple[Array, Array]:
        """Return what may be in the place of one of golden's boxes: boxes (R, 4) and scores (R,)."""
        lead = theirs.scores[box] - self.scores[box]
        near = (self.scores[box] > 0) & (lead <= fair.noise.get("scores", 0.0))
        boxes, scores = list(self.boxes[box][near]), list(self.scores[box][near])
        for other in self.others:
            for row in np.flatnonzero(other.place == box):
                if np.abs(other.found.boxes[row] - theirs.boxes[box]).max() > fair.noise.get("boxes", 0.0):
                    boxes.append(other.found.boxes[row])
                    scores.append(other.found.scores[row])
        return np.array(boxes).reshape(-1, 4), np.array(scores)

    def have(self, ours: Found, fair: Fair) -> Array:
        """Return which of our boxes a network that is rounded otherwise has, and golden has not: (K,) bool."""
        there = np.zeros(len(ours.scores), bool)
        for other in self.others:
            found, extra = other.found, other.place < 0
            apart = np.abs(ours.boxes[:, None] - found.boxes).max(axis=2, initial=0.0)  # (K, M)
            alike = apart <= OTHERWISE * fair.noise.get("boxes", 0.0)
            alike &= np.abs(ours.scores[:, None] - found.scores) <= OTHERWISE * fair.noise.get("scores", 0.0)
            there |= (alike & (ours.labels[:, None] == found.labels))[:, extra].any(axis=1)
        return there

    def lack(self, theirs: Found) -> Array:
        """Return which of golden's boxes a network that is rounded otherwise has not: (L,) bool."""
        places = np.arange(len(theirs.scores))
        return np.any([np.zeros(len(places), bool), *(~np.isin(places, other.place) for other in self.others)], axis=0)


@dataclass(frozen=True)
class _Other:
    """What a network that is rounded otherwise finds in one sample."""

    found: Found
    place: Array
    """(M,) int64: the partner among golden's; -1: golden has it not."""


def pair(actual: Arrays, golden: Arrays, fair: Fair) -> Pairs:
    """Return boxes (N, D, 4), scores (N, D), labels (N, D) and count (N,), each box in the place of golden's.

    Another output has a value for each box: (N, D, …). What only one of both has is no distance of boxes. It is one of
    scores and of labels, unless it is fair: what golden alone has, scores 0 for `NOTHING`; what the artifact alone has
    takes a place that is free. Samples that hold no numbers are returned as they are.

    A box that is one of its partner's rivals, where golden's score leads by no more than allowed noise, is a tie, and
    its distance is that from the rival. So it is where a network that is rounded otherwise has that box.
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
        rivals = _Rivals.of(fair.rivals, index, theirs)
        pairing = _Pairing.of(ours, theirs, rivals, fair)
        place, extra, swapped = pairing.place, pairing.extra, pairing.swapped
        fair_extra, fair_missed = _left_to_rounding(ours, theirs, pairing, rivals, fair)
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
        last = [_last(*sides, rivals.least, fair) for sides in ((ours, theirs), (theirs, ours))]
        ahead = {"boxes": np.zeros_like(ours.boxes), "scores": np.zeros_like(ours.scores)}
        swapped = np.zeros(len(place), bool)
        for row in np.flatnonzero(place >= 0):
            partner = place[row]
            away = np.abs(ours.boxes[row] - theirs.boxes[partner]).max()
            if away <= fair.noise.get("boxes", 0.0):
                continue
            if last[0][row] and last[1][partner]:  # another one, and rounding decides whether either is there
                place[row] = -1
                continue
            boxes, scores = rivals.near(theirs, partner, fair)
            apart = np.abs(ours.boxes[row] - boxes).max(axis=1, initial=0.0)
            if len(apart) and apart.min() < away:
                rival = int(apart.argmin())
                swapped[row] = True
                ahead["boxes"][row] = theirs.boxes[partner] - boxes[rival]
                ahead["scores"][row] = theirs.scores[partner] - scores[rival]
        missed = ~np.isin(np.arange(len(theirs.scores)), place)
        return cls(place, missed, swapped, ahead)

    @property
    def extra(self) -> Array:
        """Return which of ours have no partner (K,) bool."""
        return np.asarray(self.place < 0)

    @property
    def replaced(self) -> Array:
        """Return which of golden's have a rival in their place (L,) bool."""
        return np.isin(np.arange(len(self.missed)), self.place[self.swapped])


def _left_to_rounding(
    ours: Found, theirs: Found, pairing: _Pairing, rivals: _Rivals, fair: Fair
) -> tuple[Array, Array]:
    """Return which of our boxes without a partner, and which of theirs, rounding decides about: two masks.

    That is where a score lies at the threshold, at the last candidate's, or at the least that there is room for; where
    the overlap with another box lies at the threshold of suppression, or which of both suppresses the other; where a
    network that is rounded otherwise has, or has not, that box; and where the other is such a one itself, or a rival in
    the place of golden's.
    """
    sides, alone = (ours, theirs), (pairing.extra, pairing.missed)
    decided = tuple(
        mask & _last(found, other, rivals.least, fair)
        for mask, found, other in zip(alone, sides, sides[::-1], strict=True)
    )
    decided = (decided[0] | (alone[0] & rivals.have(ours, fair)), decided[1] | (alone[1] & rivals.lack(theirs)))
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


def _last(found: Found, other: Found, least: float, fair: Fair) -> Array:
    """Return which boxes score as little as is asked for at least, as the last candidate, or as the last that the other
    had room for.
    """
    noise = fair.noise.get("scores", 0.0)
    apart = [np.abs(found.scores - bound) <= noise for bound in (fair.thresholds.get("score", 0.0), least)]
    last = other.scores.min() if other.full and len(other.scores) else -np.inf
    return np.asarray(apart[0] | apart[1] | (found.scores <= last + noise))


def _slack(ours: Found, theirs: Found, fair: Fair) -> Array:
    """Return by how much allowed noise of the boxes may move the IoU of each pair, (K, L)."""
    noise = fair.noise.get("boxes", 0.0)
    sides = [np.maximum((found.boxes[:, 2:] - found.boxes[:, :2]).min(axis=1), 1e-6) for found in (ours, theirs)]
    return np.asarray(np.minimum(FAIR_IOU, 4 * noise / np.minimum(sides[0][:, None], sides[1])))


def fit(rivals: Arrays, shape: tuple[int, ...]) -> bool:
    """True if rivals are of as many samples and boxes as scores of this shape (N, D)."""
    axes = {name: values.shape for name, values in rivals.items()}
    beside, other = axes.get("scores", ()), axes.get(f"{OTHER}.scores", ())
    own = {"boxes": (*beside, 4), "scores": (*shape, *beside[2:3]), "least": shape[:1]}
    whole = {"boxes": (*other, 4), "scores": (*shape[:1], *other[1:2], *shape[1:]), "labels": other, "count": other[:2]}
    expected = {name: axis for name, axis in own.items() if own.keys() & axes.keys()}
    if any(name.startswith(OTHER) for name in axes):
        expected |= {f"{OTHER}.{name}": axis for name, axis in whole.items()}
    return all(axes.get(name) == axis for name, axis in expected.items()) and all(
        values.dtype.kind == ("i" if name in {f"{OTHER}.labels", f"{OTHER}.count"} else "f")
        for name, values in rivals.items()
    )


def lost(outputs: Arrays, rivals: Arrays) -> float:
    """Return the share of boxes that some network that is rounded otherwise has not."""
    each = [Found.of(outputs, index) for index in range(len(outputs["count"]))]
    lacking = [_Rivals.of(rivals, index, found).lack(found) for index, found in enumerate(each)]
    return float(np.concatenate(lacking).mean())


def iou(first: Array, second: Array) -> Array:
    """Return the intersection over union of boxes (K, 4) and (L, 4): (K, L) float64; of no area: 0."""
    corner = np.maximum(first[:, None, :2], second[None, :, :2])
    end = np.minimum(first[:, None, 2:], second[None, :, 2:])
    both = np.clip(end - corner, 0, None).prod(axis=2)
    areas: list[Array] = [(boxes[:, 2:] - boxes[:, :2]).prod(axis=1) for boxes in (first, second)]
    either: Array = areas[0][:, None] + areas[1] - both
    return np.asarray(np.divide(both, either, out=np.zeros_like(both), where=either > 0))
