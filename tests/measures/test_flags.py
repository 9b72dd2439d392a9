"""Each red flag on what it is for, and on its harmless neighbour."""

import numpy as np
import pytest

from measures import flags
from measures.distance import sqnr_db

GOLDEN = np.random.default_rng(0).normal(size=(64, 10)).astype(np.float32)
LABELS = [str(number) for number in range(10)]
NONE_TIED = np.zeros(64, bool)
DECIDED = np.arange(64) % 10


def test_what_equals_golden_has_no_flags() -> None:
    assert flags.values("logits", GOLDEN.copy(), GOLDEN) == []
    assert flags.decisions(DECIDED, DECIDED, NONE_TIED, LABELS) == []
    assert flags.repeats("logits", GOLDEN, GOLDEN.copy(), 0.0) == []


def test_one_answer_for_all_inputs_is_flagged_and_says_nothing_else() -> None:
    (said,) = flags.values("logits", np.repeat(GOLDEN[:1], 64, axis=0), GOLDEN)
    assert said == "logits is the same for all 64 inputs, whatever they are"


def test_one_answer_is_right_where_golden_has_one_and_unknowable_of_one_input() -> None:
    still = np.repeat(GOLDEN[:1], 64, axis=0)
    assert flags.values("logits", still, still) == []
    assert flags.values("logits", GOLDEN[:1], GOLDEN[:1] + 1) == []


def test_a_value_that_never_changes_is_flagged_with_its_place() -> None:
    actual, still = GOLDEN.copy(), GOLDEN.copy()
    actual[:, 7], still[:, 7] = 0, 1
    assert flags.values("logits", actual, GOLDEN) == ["logits: 1 of 10 values never change, the first at (7,)"]
    assert flags.values("logits", actual, still) == []


def test_what_hardly_varies_in_golden_may_never_change() -> None:
    """Pixels of a mask where nothing ever is: a sigmoid rounds them to 0."""
    mask = np.abs(GOLDEN)
    mask[:, 5:] *= 1e-6
    assert flags.values("mask", np.where(mask > 1e-3, mask, 0).astype(np.float32), mask) == []


@pytest.mark.parametrize(("levels", "flagged"), [(7, True), (15, True), (18, False), (255, False)])
def test_few_levels_are_flagged(levels: int, flagged: bool) -> None:
    step = float(np.ptp(GOLDEN)) / (levels - 1)
    actual = np.round(GOLDEN / step) * step
    said = [one for one in flags.values("logits", actual, GOLDEN) if "different values only, golden 640" in one]
    assert bool(said) is flagged


def test_few_levels_are_right_where_golden_has_few() -> None:
    few = np.round(GOLDEN)
    assert flags.values("logits", few.copy(), few) == []


@pytest.mark.parametrize("side", ["greatest", "least"])
@pytest.mark.parametrize(("share", "flagged"), [(0.01, False), (0.05, True)])
def test_values_at_the_end_of_a_range_are_flagged(side: str, share: float, flagged: bool) -> None:
    end = float(np.quantile(GOLDEN, 1 - share if side == "greatest" else share))
    actual = np.minimum(GOLDEN, end) if side == "greatest" else np.maximum(GOLDEN, end)
    said = flags.values("logits", actual, GOLDEN)
    assert bool(said) is flagged
    assert all(f"are the {side} one" in one and one.endswith("saturated") for one in said)


def test_a_good_integer_output_whose_values_gather_at_an_end_has_no_flags() -> None:
    """Probabilities: most are next to nought or one, and 8 bits make them the same; SQNR is 44 dB and more."""
    golden = (1 / (1 + np.exp(-12 * GOLDEN))).astype(np.float32)
    actual = np.round(golden * 255) / np.float32(255)
    assert float((actual == 1).mean() - (golden == golden.max()).mean()) > flags.SATURATED
    assert sqnr_db(actual, golden) > 44
    assert flags.values("probabilities", actual, golden) == []


def test_few_levels_that_lie_close_are_right() -> None:
    """One great value, and all others within a step that is nothing beside it."""
    golden = np.concatenate(
        [GOLDEN[:, :9] * np.float32(0.01), np.full((64, 1), 100, np.float32) + GOLDEN[:, 9:]], axis=1
    )
    golden[:, 9] = np.round(golden[:, 9])
    actual = np.round(golden)
    assert len(np.unique(actual)) < flags.FEW_LEVELS
    assert sqnr_db(actual, golden) > 44
    assert [one for one in flags.values("logits", actual, golden) if "different values" in one] == []


def test_an_end_that_golden_reaches_as_often_is_no_saturation() -> None:
    clipped = np.maximum(GOLDEN, 0)
    assert flags.values("logits", clipped + np.float32(1e-4) * GOLDEN.clip(0), clipped) == []


def test_a_class_that_is_never_decided_for_is_flagged_by_name() -> None:
    ours = np.where(DECIDED == 4, 5, DECIDED)
    assert flags.decisions(ours, DECIDED, NONE_TIED, LABELS) == [
        "class 4 is never decided for; golden decides for it 6 times"
    ]


def test_a_class_that_golden_is_sure_of_once_may_be_missed() -> None:
    golden = np.where(DECIDED == 4, 5, DECIDED)
    golden[0] = 4
    assert flags.decisions(np.where(golden == 4, 5, golden), golden, NONE_TIED, LABELS) == []
    golden[10] = 4
    tied = NONE_TIED.copy()
    tied[10] = True
    assert flags.decisions(np.where(golden == 4, 5, golden), golden, tied, LABELS) == []
    assert flags.decisions(np.where(golden == 4, 5, golden), golden, NONE_TIED, LABELS) != []


def test_what_changes_from_run_to_run_is_flagged_beyond_one_noise_floor() -> None:
    second = GOLDEN[:2].copy()
    second[1, 3] += 0.25
    (said,) = flags.repeats("logits", GOLDEN[:2], second, 0.1)
    assert said == "logits changes by 0.25 between two runs of the same input (noise floor 0.1)"
    assert flags.repeats("logits", GOLDEN[:2], second, 0.3) == []


def test_no_number_once_is_no_repetition_and_twice_is_one() -> None:
    first, second = GOLDEN[:2].copy(), GOLDEN[:2].copy()
    second[0, 0] = np.nan
    assert flags.repeats("logits", first, second, 1e9) != []
    first[0, 0] = np.nan
    assert flags.repeats("logits", first, second, 0.0) == []


@pytest.mark.parametrize(
    ("kind", "ratio", "flagged"),
    [
        ("float32", 130.0, False),
        ("float16", 84.0, False),
        ("float16", 130.0, True),
        ("int8", 300.0, True),
        ("int8_dynamic", 51.0, False),
        ("uint8_weights", float("nan"), False),
    ],
)
def test_what_is_exact_is_float32_whatever_it_is_called(kind: str, ratio: float, flagged: bool) -> None:
    said = flags.precision(kind, {"logits": ratio})
    assert flags.precision(kind, {"logits": ratio, "boxes": 60.0}) == []
    assert bool(said) is flagged
    assert all(f"which {kind} cannot be: the artifact is float32" in one for one in said)
