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


def test_a_class_that_golden_is_sure_of_twice_may_be_missed() -> None:
    """Of a thousand samples agreement lets ten go: two of them may be all that a class has."""
    golden = np.where(DECIDED == 4, 5, DECIDED)
    golden[[0, 10]] = 4
    assert flags.decisions(np.where(golden == 4, 5, golden), golden, NONE_TIED, LABELS) == []
    golden[20] = 4
    tied = NONE_TIED.copy()
    tied[20] = True
    assert flags.decisions(np.where(golden == 4, 5, golden), golden, tied, LABELS) == []
    assert flags.decisions(np.where(golden == 4, 5, golden), golden, NONE_TIED, LABELS) != []


def test_many_classes_that_are_never_decided_for_are_one_sentence() -> None:
    assert flags.decisions(np.zeros_like(DECIDED), DECIDED, NONE_TIED, LABELS) == [
        "9 of 10 classes that golden decides for are never decided for: 1 (7 times), 2 (7 times), 3 (7 times) and 6 "
        "more"
    ]
    assert flags.decisions(np.where(DECIDED > 7, 0, DECIDED), DECIDED, NONE_TIED, LABELS) == [
        "2 of 10 classes that golden decides for are never decided for: 8 (6 times), 9 (6 times)"
    ]


def within(golden: np.ndarray, ratio_db: float) -> np.ndarray:
    """Golden with noise of that SQNR."""
    noise = np.random.default_rng(1).normal(size=golden.shape)
    noise *= np.sqrt(np.square(golden).sum() / np.square(noise).sum()) * 10 ** (-ratio_db / 20)
    return (golden + noise).astype(np.float32)


@pytest.mark.parametrize(("share", "flagged"), [(0.05, True), (0.2, False), (1.0, False)])
def test_outputs_that_hardly_change_are_flagged(share: float, flagged: bool) -> None:
    """Each sample's scores are the usual ones and a little of its own."""
    usual = 3 * GOLDEN[0]
    said = [
        one for one in flags.values("logits", usual + np.float32(share) * GOLDEN, usual + GOLDEN) if "hardly" in one
    ]
    assert said == (
        ["logits hardly changes from input to input: typically by 0.048, golden by 0.96"] if flagged else []
    )


def test_outputs_that_hardly_change_are_right_where_goldens_hardly_do() -> None:
    """A tenth of 25 dB's noise is all that tells golden's samples apart."""
    golden = 100 + GOLDEN
    assert sqnr_db(within(golden, 60), golden) > 59
    assert flags.values("logits", np.round(golden), golden) == []
    assert flags.values("logits", 100 + np.float32(0.01) * GOLDEN, golden) == []


def test_one_great_sample_says_nothing_about_the_spread() -> None:
    """An image far beyond calibration's ranges, which integers cut off, holds nearly all of golden's variance."""
    golden = GOLDEN.copy()
    golden[0] *= 1000
    assert flags.values("logits", np.where(np.abs(golden) > 5, np.sign(golden) * 5, golden), golden) == []


@pytest.mark.parametrize(("samples", "flagged"), [(0, False), (3, False), (4, True), (64, True)])
def test_samples_that_have_little_in_common_with_goldens_are_flagged(samples: int, flagged: bool) -> None:
    actual = within(GOLDEN, 25)
    actual[:samples] = -GOLDEN[:samples]
    said = flags.values("logits", actual, GOLDEN)
    assert bool(said) is flagged
    assert all(one.startswith(f"logits of {samples} of 64 samples have little in common with golden's") for one in said)


def test_what_all_samples_share_does_not_count_as_correlation() -> None:
    """The scores of classes that are rarely right lie low for every image, in a broken artifact as well."""
    usual = np.linspace(0, 6, 10, dtype=np.float32)
    actual, golden = usual + GOLDEN[::-1], usual + GOLDEN
    assert np.median([np.corrcoef(*pair)[0, 1] for pair in zip(actual, golden, strict=True)]) > 0.7
    (said,) = flags.values("logits", actual, golden)
    assert "have little in common with golden's" in said


@pytest.mark.parametrize("ratio_db", [25, 30])
@pytest.mark.parametrize("own", [0.1, 0.3, 1.0])
def test_no_allowed_noise_makes_a_sample_uncorrelated(ratio_db: float, own: float) -> None:
    """However little of its own a sample has beside what all have."""
    golden = (3 * GOLDEN[0] + own * GOLDEN).astype(np.float32)
    assert flags.values("logits", within(golden, ratio_db), golden) == []


def test_samples_next_to_nothing_are_not_correlated() -> None:
    """Empty masks: what lies far below one step of the integers is rounded away."""
    golden = GOLDEN.copy()
    golden[:40] *= 1e-4
    assert flags.values("mask", np.round(golden / 0.05) * np.float32(0.05), golden) == []


def test_few_values_have_no_correlation() -> None:
    assert flags.values("angles", GOLDEN[::-1, :3], GOLDEN[:, :3]) == []


def test_great_outputs_are_looked_at_in_part(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(flags, "LOOKED_AT", 64 * 10)
    wide = np.random.default_rng(2).normal(size=(64, 4, 25)).astype(np.float32)
    (said,) = flags.values("mask", -wide, wide)
    assert said.startswith("mask of 64 of 64 samples")
    assert flags.values("mask", within(wide, 25), wide) == []


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
