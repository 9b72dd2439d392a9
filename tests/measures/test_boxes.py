"""Boxes are paired before they are compared; what only one of both has is a difference, unless rounding decides it."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from measures.boxes import OTHER, fit, pair
from measures.distance import NOTHING, agreement
from measures.tasks import Fair, detection
from records.tensor import Array, Arrays

ROOM = 6
FAIR = Fair({"scores": 1e-4, "boxes": 0.01}, {"score": 0.05, "iou": 0.5})


def found(*things: tuple[tuple[float, float, float, float], float, int], room: int = ROOM) -> dict[str, Array]:
    """What a detector says of one sample: boxes, scores and labels, in this order."""
    outputs: dict[str, Array] = {
        "boxes": np.zeros((1, room, 4), np.float32),
        "scores": np.zeros((1, room), np.float32),
        "labels": np.zeros((1, room), np.int32),
        "count": np.array([len(things)], np.int32),
    }
    for place, (box, score, label) in enumerate(things):
        outputs["boxes"][0, place], outputs["scores"][0, place], outputs["labels"][0, place] = box, score, label
    return outputs


A = ((10.0, 10.0, 60.0, 60.0), 0.9, 3)
B = ((100.0, 20.0, 160.0, 90.0), 0.8, 1)
C = ((200.0, 200.0, 240.0, 260.0), 0.3, 2)


def shifted(box: tuple[float, float, float, float], by: float) -> tuple[float, float, float, float]:
    """A box moved by as many pixels to the right and down."""
    left, top, right, bottom = box
    return left + by, top + by, right + by, bottom + by


def decided(actual: Arrays, golden: Arrays, fair: Fair = FAIR) -> tuple[float, int]:
    """The share of decisions that agree, and how many are ties."""
    pairs = pair(actual, golden, fair)
    return agreement(detection.decide(pairs.outputs), detection.decide(golden)), int(pairs.ties.sum())


def test_another_order_is_no_difference() -> None:
    golden, actual = found(A, B, C), found(C, A, B)
    pairs = pair(actual, golden, FAIR)
    assert all(np.array_equal(pairs.outputs[name], values) for name, values in golden.items())
    assert decided(actual, golden) == (1.0, 0)


def test_two_boxes_of_almost_one_score_change_places_without_a_distance() -> None:
    near = (B[0], A[1] + 1e-7, B[2])
    moved = (shifted(A[0], 0.002), A[1], A[2])
    pairs = pair(found(near, moved, C), found(A, B, C), FAIR)
    assert np.abs(pairs.outputs["boxes"] - found(A, B, C)["boxes"]).max() == pytest.approx(0.002, abs=1e-5)


def test_boxes_of_no_area_are_paired_as_others_are() -> None:
    line, dot = ((36.4, 152.0, 40.0, 152.0), 0.7, 0), ((0.0, 96.0, 0.0, 96.0), 0.6, 0)
    pairs = pair(found(dot, line, A), found(A, line, dot), FAIR)
    assert all(np.array_equal(pairs.outputs[name], values) for name, values in found(A, line, dot).items())
    away = ((36.4, 140.0, 40.0, 140.0), 0.7, 0)
    assert decided(found(A, away), found(A, line))[0] < 1


def test_a_box_of_another_class_has_no_partner() -> None:
    share, ties = decided(found((A[0], A[1], 4), B), found(A, B))
    assert (share, ties) == (0.5, 0)


@pytest.mark.parametrize("missing", [A, B, C])
def test_a_box_that_is_lost_or_too_much_is_a_difference(missing: Any) -> None:
    fewer = found(*(each for each in (A, B, C) if each is not missing))
    assert decided(fewer, found(A, B, C)) == (pytest.approx(2 / 3), 0)
    assert decided(found(A, B, C), fewer) == (pytest.approx(2 / 3), 0)


def test_a_box_too_much_is_seen_where_golden_has_no_room_for_it() -> None:
    other = ((10.0, 200.0, 30.0, 230.0), 0.5, 0)
    golden, actual = found(A, B, C, room=3), found(A, B, other, room=3)
    pairs = pair(actual, golden, FAIR)
    assert sorted(detection.decide(pairs.outputs)[0].tolist()) == [0, 1, 3]
    assert decided(actual, golden)[0] == pytest.approx(2 / 3)


def test_a_score_at_the_threshold_is_a_tie() -> None:
    faint = ((10.0, 200.0, 30.0, 230.0), 0.05005, 0)
    assert decided(found(A, B), found(A, B, faint)) == (1.0, 1)
    assert decided(found(A, B, faint), found(A, B)) == (1.0, 1)
    clear = (faint[0], 0.0502, 0)
    assert decided(found(A, B, clear), found(A, B)) == (pytest.approx(2 / 3), 0)


def test_an_overlap_at_the_threshold_is_a_tie_and_one_beside_it_is_not() -> None:
    at, beside = ((10.0, 10.0, 60.0, 35.0), 0.6, 3), ((10.0, 10.0, 60.0, 33.0), 0.6, 3)  # IoU with A: 0.50 and 0.46
    assert decided(found(A, at), found(A)) == (1.0, 1)
    assert decided(found(A, beside), found(A)) == (0.5, 0)
    assert decided(found(A, (*at[:2], 4)), found(A)) == (0.5, 0)  # another class suppresses nothing


def test_which_of_two_equal_boxes_is_kept_is_a_tie() -> None:
    twin = ((12.0, 30.0, 62.0, 82.0), A[1] + 5e-5, 3)  # IoU 0.40: neither is the other's partner
    loose = Fair(FAIR.noise, {"score": 0.05, "iou": 0.35})
    assert decided(found(twin, B), found(A, B), loose) == (1.0, 2)
    worse = (twin[0], A[1] - 0.2, 3)
    assert decided(found(worse, B), found(A, B), loose)[0] < 1


def test_what_a_tie_suppresses_is_a_tie() -> None:
    first = ((10.0, 10.0, 60.0, 60.0), 0.05003, 3)  # at the threshold
    second = ((10.0, 30.0, 60.0, 82.0), 0.4, 3)  # IoU 0.42 with it
    loose = Fair(FAIR.noise, {"score": 0.05, "iou": 0.35})
    assert decided(found(B, second), found(B, first), loose) == (1.0, 2)


def rivals(*boxes: tuple[tuple[float, float, float, float], float], least: float = 0.0) -> dict[str, Array]:
    """Of the first box of one sample, what it alone suppresses; the others have nothing."""
    given: dict[str, Array] = {
        "boxes": np.zeros((1, ROOM, 4, 4), np.float32),
        "scores": np.zeros((1, ROOM, 4), np.float32),
        "least": np.array([least], np.float32),
    }
    for place, (box, score) in enumerate(boxes):
        given["boxes"][0, 0, place], given["scores"][0, 0, place] = box, score
    return given


RIVAL = (13.0, 12.0, 61.0, 60.0)  # IoU with A: 0.84


def test_a_rival_that_golden_all_but_chose_is_a_tie_and_is_measured_as_what_it_is() -> None:
    known = Fair(FAIR.noise, FAIR.thresholds, rivals((RIVAL, A[1] - 5e-5), ((10.0, 15.0, 60.0, 65.0), 0.4)))
    moved = shifted(RIVAL, 0.004)
    actual = found((moved, A[1] - 3e-5, A[2]), B)
    pairs = pair(actual, found(A, B), known)
    assert pairs.ties.tolist() == [1]
    assert pairs.outputs["boxes"][0, 0] - np.array(A[0]) == pytest.approx(0.004, abs=1e-4)
    assert pairs.outputs["scores"][0, 0] == pytest.approx(A[1] + 2e-5, abs=1e-6)
    assert pair(actual, found(A, B), FAIR).ties.tolist() == [0]


def test_a_rival_far_behind_is_no_tie_and_neither_is_a_box_beside_its_rival() -> None:
    behind = Fair(FAIR.noise, FAIR.thresholds, rivals((RIVAL, A[1] - 2e-4)))
    pairs = pair(found((RIVAL, A[1], A[2]), B), found(A, B), behind)
    assert pairs.ties.tolist() == [0]
    assert np.abs(pairs.outputs["boxes"][0, 0] - np.array(A[0])).max() == pytest.approx(3)
    known = Fair(FAIR.noise, FAIR.thresholds, rivals((RIVAL, A[1] - 5e-5)))
    astray = shifted(RIVAL, 1)
    pairs = pair(found((astray, A[1], A[2]), B), found(A, B), known)
    assert np.abs(pairs.outputs["boxes"][0, 0] - np.array(A[0])).max() == pytest.approx(1)


def test_what_is_there_because_a_rival_came_is_a_tie() -> None:
    loose = {"score": 0.05, "iou": 0.35}
    known = Fair(FAIR.noise, loose, rivals((RIVAL, A[1] - 5e-5)))
    under = ((10.0, 30.0, 60.0, 80.0), 0.5, 3)  # IoU with A: 0.43; golden suppresses it
    actual = found((RIVAL, A[1] - 5e-5, A[2]), under, B)
    assert decided(actual, found(A, B), known) == (1.0, 2)
    assert decided(actual, found(A, B), Fair(FAIR.noise, loose))[0] < 1


def test_a_score_at_the_last_candidates_is_a_tie() -> None:
    faint = ((10.0, 200.0, 30.0, 230.0), 0.20005, 0)
    known = Fair(FAIR.noise, FAIR.thresholds, rivals(least=0.2))
    assert decided(found(A, B), found(A, B, faint), known) == (1.0, 1)
    assert decided(found(A, B, faint), found(A, B), known) == (1.0, 1)
    assert decided(found(A, B), found(A, B, faint)) == (pytest.approx(2 / 3), 0)


def test_two_boxes_that_score_as_the_last_candidate_are_no_pair_for_their_overlap() -> None:
    golden, actual = found(A, B, (C[0], 0.3, 2)), found(A, B, (shifted(C[0], 8), 0.3, 2))
    level = {**rivals(), "least": np.array([0.3 - 1e-5], np.float32)}
    pairs = pair(actual, golden, replace(FAIR, rivals=level))
    assert pairs.ties.tolist() == [2]  # one that is not there, and one that is
    assert np.abs(pairs.outputs["boxes"] - golden["boxes"]).max() == 0
    below = {**rivals(), "least": np.array([0.2], np.float32)}
    pairs = pair(actual, golden, replace(FAIR, rivals=below))
    assert pairs.ties.tolist() == [0]
    assert np.abs(pairs.outputs["boxes"] - golden["boxes"]).max() == 8


def test_the_last_of_a_full_sample_is_no_pair_with_another_that_overlaps_it() -> None:
    golden, moved = found(A, B, C, room=3), (shifted(C[0], 8), C[1], 2)
    pairs = pair(found(A, B, moved, room=3), golden, FAIR)
    assert pairs.ties.tolist() == [2]
    assert np.abs(pairs.outputs["boxes"] - golden["boxes"]).max() == 0
    first = pair(found((shifted(A[0], 8), A[1], 3), B, C, room=3), golden, FAIR)
    assert np.abs(first.outputs["boxes"] - golden["boxes"]).max() == 8


def test_the_last_of_a_full_sample_is_a_tie_with_one_that_scores_as_little() -> None:
    last, other = ((200.0, 0.0, 220.0, 30.0), 0.30001, 0), ((0.0, 200.0, 20.0, 230.0), 0.30003, 0)
    assert decided(found(A, B, other, room=3), found(A, B, last, room=3)) == (1.0, 2)
    clear = (other[0], 0.31, 0)
    assert decided(found(A, B, clear, room=3), found(A, B, last, room=3))[0] < 1


def test_what_float32_leaves_to_rounding_is_no_distance_before_a_noise_floor_is_known() -> None:
    faint = ((10.0, 200.0, 30.0, 230.0), 0.05 + 1e-6, 0)
    golden = found(A, B, faint)
    fair = Fair.of_rounding(golden, FAIR.thresholds)
    assert fair.noise["scores"] == pytest.approx(A[1] / 2**17)
    assert fair.noise["boxes"] == pytest.approx(230 / 2**17)
    pairs = pair(found(A, B), golden, fair)
    assert all(np.array_equal(pairs.outputs[name], values) for name, values in golden.items())
    clear = pair(found(A), golden, fair)
    assert np.abs(clear.outputs["scores"] - golden["scores"]).max() == pytest.approx(B[1])


@pytest.mark.parametrize("count", [1, 3])
def test_a_count_that_is_not_its_boxes_is_a_difference(count: int) -> None:
    wrong = {**found(A, B), "count": np.array([count], np.int32)}
    assert decided(wrong, found(A, B))[0] < 1


def test_nothing_on_both_sides_agrees_and_behind_the_last_box_is_nothing() -> None:
    assert decided(found(), found()) == (1.0, 0)
    assert detection.decide(found(A)).tolist() == [[3, *[NOTHING] * (ROOM - 1)]]


def test_what_is_no_number_stays_where_it_is() -> None:
    broken = found(A, B)
    broken["boxes"][0, 1, 2] = np.nan
    pairs = pair(broken, found(B, A), FAIR)
    assert np.isnan(pairs.outputs["boxes"]).sum() == 1


def others(*answers: dict[str, Array]) -> dict[str, Array]:
    """Rivals of one sample: what networks that are rounded otherwise find."""
    return {
        f"{OTHER}.{name}": np.stack([answer[name] for answer in answers], axis=1)
        for name in ("boxes", "scores", "labels", "count")
    }


def test_what_a_network_that_is_rounded_otherwise_has_or_lacks_is_a_tie() -> None:
    golden, actual = found(A, B, C), found(A, B)
    assert decided(actual, golden) == (2 / 3, 0)
    known = replace(FAIR, rivals=others(golden, found(A, B)))
    assert decided(actual, golden, known) == (1, 1)
    assert decided(golden, actual, replace(FAIR, rivals=others(golden))) == (1, 1)
    assert decided(golden, actual, replace(FAIR, rivals=others(actual))) == (2 / 3, 0)
    assert decided(found(A, C), golden, known) == (2 / 3, 0)  # which none of them lacks


def test_a_box_that_golden_has_itself_excuses_no_second_one() -> None:
    golden = found(A, B)
    double = ((10.005, 10.0, 60.0, 60.0), 0.9 - 1.5e-4, 3)
    share, ties = decided(found(A, double, B), golden, replace(FAIR, rivals=others(golden, golden)))
    assert (share < 1, ties) == (True, 0)
    moved = found((shifted(A[0], 0.5), 0.9, 3), B)
    pairs = pair(moved, golden, replace(FAIR, rivals=others(golden, found((shifted(A[0], 0.005), 0.9, 3), B))))
    assert pairs.ties.tolist() == [0]
    assert np.abs(pairs.outputs["boxes"] - golden["boxes"]).max() == pytest.approx(0.5)


def test_a_box_in_another_place_is_measured_against_the_network_that_has_it_there() -> None:
    golden, elsewhere = found(A, B), found((shifted(A[0], 6), 0.88, 3), B)
    actual = found((shifted(A[0], 6.004), 0.88, 3), B)
    pairs = pair(actual, golden, replace(FAIR, rivals=others(golden, elsewhere)))
    assert pairs.ties.tolist() == [1]
    assert np.abs(pairs.outputs["boxes"] - golden["boxes"]).max() == pytest.approx(0.004, abs=1e-4)
    assert np.abs(pairs.outputs["scores"] - golden["scores"]).max() < 1e-6
    assert np.abs(pair(actual, golden, FAIR).outputs["boxes"] - golden["boxes"]).max() > 5


def test_rivals_fit_the_boxes_that_they_are_of() -> None:
    golden = found(A, B)
    shape = golden["scores"].shape
    both = {**rivals(), **others(golden, golden)}
    assert fit(rivals(), shape)
    assert fit(others(golden), shape)
    assert fit(both, shape)
    assert fit({}, shape)
    for name, values in both.items():
        for wrong in (values[..., :0], values.astype(np.complex64), values[None]):
            assert not fit({**both, name: wrong}, shape), name
        assert not fit({other: rows for other, rows in both.items() if other != name}, shape), name
