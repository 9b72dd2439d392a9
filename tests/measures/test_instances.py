"""Masks are compared in the place of their box; other pixels are another decision, unless rounding decides."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from measures.boxes import ELSEWHERE
from measures.distance import NOTHING, agreement
from measures.tasks import Fair, instances
from records.golden import Golden
from records.tensor import Array, Arrays

ROOM, SIDE = 4, 100
FAIR = Fair({"scores": 1e-4, "boxes": 0.01, "masks": 1e-3}, {"score": 0.05, "iou": 0.5})
A = ((10.2, 10.2, 50.2, 50.2), 0.9, 3)
B = ((60.4, 20.4, 90.4, 90.4), 0.8, 1)


def blob(box: Any, share: float = 1.0) -> Array:
    """A mask that fades towards the sides of a box: 0.5 at `share` of its width and height."""
    x, y, right, bottom = box
    column, row = np.meshgrid(np.arange(SIDE) + 0.5, np.arange(SIDE) + 0.5)
    away = np.maximum(np.abs(2 * column - x - right) / (right - x), np.abs(2 * row - y - bottom) / (bottom - y))
    return np.where(away < 1.2 * share, 1 / (1 + np.exp(20 * (away - share))), 0).astype(np.float32)


def found(*things: Any) -> dict[str, Array]:
    """What a model says of one sample: boxes, scores, labels, and perhaps a mask that is not its box's blob."""
    outputs: dict[str, Array] = {
        "boxes": np.zeros((1, ROOM, 4), np.float32),
        "scores": np.zeros((1, ROOM), np.float32),
        "labels": np.zeros((1, ROOM), np.int32),
        "count": np.array([len(things)], np.int32),
        "masks": np.zeros((1, ROOM, SIDE, SIDE), np.float32),
    }
    for place, (box, score, label, *mask) in enumerate(things):
        outputs["boxes"][0, place], outputs["scores"][0, place], outputs["labels"][0, place] = box, score, label
        outputs["masks"][0, place] = mask[0] if mask else blob(box)
    return outputs


def decided(actual: Arrays, golden: Arrays) -> tuple[float, int]:
    """The share of decisions that agree, and how many are ties."""
    pairs = instances.pair(actual, golden, FAIR)
    return agreement(instances.decide(pairs.outputs), instances.decide(golden)), int(pairs.ties.sum())


def test_masks_follow_their_boxes_into_another_order() -> None:
    golden, actual = found(A, B), found(B, A)
    pairs = instances.pair(actual, golden, FAIR)
    assert all(np.array_equal(pairs.outputs[name], values) for name, values in golden.items())
    assert np.array_equal(actual["masks"], found(B, A)["masks"])


def test_a_mask_of_other_pixels_is_another_decision() -> None:
    pairs = instances.pair(found((*A, blob(A[0], 0.8)), B), found(A, B), FAIR)  # IoU 0.64
    assert instances.decide(pairs.outputs)[0].tolist() == [ELSEWHERE, 1, NOTHING, NOTHING]
    assert decided(found((*A, blob(A[0], 0.95)), B), found(A, B)) == (1.0, 0)  # IoU 0.90: a distance, no decision
    assert (
        np.abs(
            instances.pair(found((*A, blob(A[0], 0.95)), B), found(A, B), FAIR).outputs["masks"] - found(A, B)["masks"]
        ).max()
        > 0.1
    )


@pytest.mark.parametrize("wrong", [lambda mask: mask * 0, lambda mask: mask.T[::-1], lambda mask: 1 - mask])
def test_a_mask_that_is_lost_turned_or_inverted_is_a_difference(wrong: Any) -> None:
    assert decided(found(A, (*B, wrong(blob(B[0])))), found(A, B)) == (0.5, 0)


def test_pixels_at_half_are_left_to_rounding() -> None:
    at = np.where(blob(A[0]) > 0.5, np.float32(0.5002), np.float32(0))
    at[20:24, 20:24] = 0.9
    below = np.where(at > 0.8, at, at - np.float32(0.0004) * (at > 0))
    assert decided(found((*A, below)), found((*A, at))) == (1.0, 0)
    far = np.where(at > 0.8, at, at - np.float32(0.01) * (at > 0))
    assert instances.mask_iou(far, np.where(at > 0.8, at, at + np.float32(0.01) * (at > 0)), 1e-3) < 0.1


def edged(shift: float) -> tuple[Any, ...]:
    """A box whose mask ends at pixel 60 on the right but for a shift."""
    width = 2 * (60 - 30) / instances.EXPANSION
    return ((30 - width / 2 + shift, 10.2, 30 + width / 2 + shift, 50.2), 0.9, 3)


def test_a_mask_that_ends_with_another_pixel_by_rounding_is_a_tie() -> None:
    golden = edged(0.001)
    ended = (*edged(-0.001), np.roll(blob(golden[0]), -1, axis=1))
    pairs = instances.pair(found(ended), found(golden), FAIR)
    assert np.array_equal(pairs.outputs["masks"], found(golden)["masks"])
    assert decided(found(ended), found(golden)) == (1.0, 1)


def test_a_mask_that_ends_with_the_same_pixels_or_far_away_is_none() -> None:
    golden = edged(0.3)
    moved = (*edged(0.302), np.roll(blob(golden[0]), -1, axis=1))  # neither is at a whole pixel
    pairs = instances.pair(found(moved), found(golden), FAIR)
    assert np.abs(pairs.outputs["masks"] - found(golden)["masks"]).max() > 0.1
    assert int(pairs.ties.sum()) == 0
    beyond = (*edged(-0.05), np.roll(blob(golden[0]), -1, axis=1))  # boxes lie farther apart than is allowed
    assert int(instances.pair(found(beyond), found(edged(0.05)), FAIR).ties.sum()) == 0


def test_rounding_does_not_excuse_a_mask_of_something_else() -> None:
    golden, other = edged(0.001), (*edged(-0.001), np.zeros((SIDE, SIDE), np.float32))
    assert decided(found(other), found(golden)) == (0.0, 0)


def of_cells(box: Any, small: Array, *moved: int) -> Array:
    """The mask of a box that golden's cells become, whose right edge ends with another pixel."""
    ends = np.trunc(instances._edges(np.array(box))).astype(int)
    ends[2] += sum(moved)
    return instances.pasted(small, ends, (SIDE, SIDE)).astype(np.float32)


def test_a_mask_that_ends_with_another_pixel_is_compared_with_golden_s_that_does() -> None:
    """Nobody has to say which masks are alike: the one that golden's cells become is known."""
    cells = np.random.default_rng(3).random((28, 28)).astype(np.float32)
    (golden, *rest), (moved, *_) = edged(0.001), edged(-0.001)
    rivals = {"boxes": np.zeros((1, ROOM, 4, 4)), "scores": np.zeros((1, ROOM, 4)), "least": np.zeros(1)}
    rivals["masks"] = np.zeros((1, ROOM, 28, 28), np.float32)
    rivals["masks"][0, 0] = cells
    known = Fair(FAIR.noise, FAIR.thresholds, rivals)
    expected, other = found((golden, *rest, of_cells(golden, cells))), of_cells(golden, cells, -1)
    assert np.abs(other - expected["masks"][0, 0]).max() > 0.3
    assert (np.trunc(instances._edges(np.array(golden))) - np.trunc(instances._edges(np.array(moved)))).any()
    for box in (moved, golden):  # an artifact's own arithmetic may put the edge on either side
        pairs = instances.pair(found((box, *rest, other)), expected, known)
        assert pairs.outputs["masks"] == pytest.approx(expected["masks"], abs=1e-6)
        assert int(pairs.ties.sum()) == 1
        assert instances.decide(pairs.outputs)[0, 0] == 3
    wrong = instances.pair(found((moved, *rest, other + np.float32(0.01))), expected, known)
    assert np.abs(wrong.outputs["masks"] - expected["masks"]).max() == pytest.approx(0.01, rel=1e-3)
    beside = instances.pair(found((moved, *rest, of_cells(golden, cells, -2))), expected, known)  # two pixels off
    assert np.abs(beside.outputs["masks"] - expected["masks"]).max() > 0.1
    gone = instances.pair(found((moved, *rest, 0 * other)), expected, known)
    assert instances.decide(gone.outputs)[0, 0] == ELSEWHERE
    far = instances.pair(
        found((*edged(0.3)[:1], *rest, other)), found((edged(0.302)[0], *rest, expected["masks"][0, 0])), known
    )
    assert int(far.ties.sum()) == 0


def test_what_is_no_number_stays() -> None:
    broken = found(A, B)
    broken["masks"][0, 1, 7, 7] = np.nan
    assert np.isnan(instances.pair(broken, found(B, A), FAIR).outputs["masks"]).sum() == 1


@pytest.mark.parametrize("side", [np.nan, np.inf, 1e30])
def test_boxes_that_lie_nowhere_have_masks_that_are_compared_as_they_are(side: float) -> None:
    rivals = {"boxes": np.zeros((1, ROOM, 4, 4)), "scores": np.zeros((1, ROOM, 4)), "least": np.zeros(1)}
    known = Fair(FAIR.noise, FAIR.thresholds, {**rivals, "masks": np.ones((1, ROOM, 28, 28), np.float32)})
    broken, golden = found(A, B), found(A, B)
    broken["masks"][0, 0] *= np.float32(0.9)
    broken["boxes"][0, 0, 2] = side
    instances.pair(broken, golden, known)
    golden["boxes"][0, 0, 2] = side
    pairs = instances.pair(broken, golden, known)
    assert np.array_equal(pairs.outputs["masks"], broken["masks"])


TRUTH = {
    "boxes": np.array([[A[0], B[0], (0, 0, 0, 0)]], np.float32),
    "labels": np.array([[3, 1, -1]]),
    "masks": np.stack([blob(A[0]) > 0.5, blob(B[0]) > 0.5, np.zeros((SIDE, SIDE), bool)])[None].astype(np.uint8),
}


def test_mean_average_precision_is_that_of_masks() -> None:
    assert instances.score(found(A, B), TRUTH) == pytest.approx(1.0)
    assert instances.score(found(), TRUTH) == 0
    half = (*A, np.where(np.arange(SIDE) < 30, blob(A[0]), 0))  # the right box, half of its pixels
    scores = instances.scores(found(half, B), TRUTH)
    assert scores["mask mAP"] == pytest.approx(0.5, abs=0.06)
    assert scores["box mAP"] == pytest.approx(1.0)
    slightly = (*A, blob(A[0], 0.9))  # IoU 0.81: right up to 0.80
    assert instances.score(found(slightly, B), TRUTH) == pytest.approx((0.7 + 1) / 2)


def golden_of(outputs: dict[str, Array], truth: dict[str, Array]) -> Golden:
    return Golden({"image": np.zeros((1, 3, SIDE, SIDE), np.float32)}, outputs, outputs, truth)


def test_what_could_pass_without_masks_is_named() -> None:
    labels = ("a", "b", "c", "d")
    assert instances.weakness(golden_of(found(A, B), TRUTH), labels) == ""
    blind = found(A, B) | {"masks": np.zeros((1, ROOM, SIDE, SIDE), np.float32)}
    assert "sees no pixel of any box on any of 1 samples" in instances.weakness(golden_of(blind, TRUTH), labels)
    assert "no output masks" in instances.weakness(
        golden_of({name: values for name, values in found(A).items() if name != "masks"}, {}), labels
    )
    rivals = {"boxes": np.zeros((1, ROOM, 4, 4)), "scores": np.zeros((1, ROOM, 4)), "least": np.zeros(1)}
    assert instances.weakness(replace(golden_of(found(A, B), TRUTH), rivals=rivals), labels) == ""
    for shape in ((1, ROOM), (1, ROOM - 1, 28, 28), (1, ROOM, 0, 0)):
        of_others = replace(golden_of(found(A, B), TRUTH), rivals={**rivals, "masks": np.zeros(shape)})
        assert "one for each box" in instances.weakness(of_others, labels)
    small = TRUTH | {"masks": TRUTH["masks"][..., :50]}
    assert "one height and width" in instances.weakness(golden_of(found(A, B), small), labels)


def test_a_mask_is_told_and_drawn() -> None:
    outputs = {name: values[0] for name, values in found(A).items()}
    assert instances.told(outputs, ("a", "b", "c", "d")) == [
        f"d 0.90 at (10, 10, 50, 50), {int((outputs['masks'][0] > 0.5).sum())} pixels"
    ]
    drawn = instances.draw(np.zeros((SIDE, SIDE, 3), np.uint8), outputs, ("a", "b", "c", "d"))
    assert drawn[30, 30].any()
    assert not drawn[80, 80].any()
