"""The numbers, against ones computed by hand."""

import math

import numpy as np
import pytest

from measures.distance import CEILING_DB, agreement, compare, sqnr_db, sqnr_of_most_db, strange_samples, varies

GOLDEN = np.array([[3.0, -4.0], [0.0, 5.0]], np.float32)


def test_equal_arrays_differ_in_nothing() -> None:
    difference = compare(GOLDEN.copy(), GOLDEN)
    assert (difference.max_absolute, difference.mean_absolute, difference.max_relative) == (0, 0, 0)
    assert (difference.sqnr_db, difference.cosine, difference.not_finite) == (CEILING_DB, pytest.approx(1), 0)


def test_numbers_are_those_of_the_formulas() -> None:
    actual = GOLDEN.copy()
    actual[1, 0] += 0.5
    difference = compare(actual, GOLDEN)
    assert difference.max_absolute == 0.5
    assert difference.mean_absolute == 0.125
    assert difference.max_relative == pytest.approx(0.1)
    assert difference.sqnr_db == pytest.approx(10 * math.log10(50 / 0.25))
    assert difference.cosine == pytest.approx(50 / math.sqrt(50 * 50.25))
    assert difference.worst == (1, 0)


def test_a_small_difference_of_float32_is_seen() -> None:
    actual = GOLDEN + np.float32(1e-6) * np.array([[0, 0], [1, 0]], np.float32)
    assert compare(actual, GOLDEN).max_absolute == pytest.approx(1e-6, rel=1e-3)


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_compare_counts_nan_and_inf_and_measures_nothing_beside(value: float) -> None:
    actual = GOLDEN.copy()
    actual[0, 1] = value
    difference = compare(actual, GOLDEN)
    assert difference.not_finite == 1
    assert difference.worst == (0, 1)
    for measured in (difference.max_absolute, difference.mean_absolute, difference.sqnr_db, difference.cosine):
        assert math.isnan(measured)


def test_a_scale_that_keeps_every_decision_is_seen() -> None:
    difference = compare(GOLDEN * np.float32(1.087), GOLDEN)
    assert difference.cosine == pytest.approx(1)
    assert difference.sqnr_db == pytest.approx(-20 * math.log10(0.087), abs=0.01)


def test_shapes_are_never_broadcast() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 1\), golden has \(2, 2\)"):
        compare(GOLDEN[:, :1], GOLDEN)
    with pytest.raises(ValueError, match=r"shape \(2, 2, 1\)"):
        compare(GOLDEN[..., None], GOLDEN)


def test_an_empty_comparison_is_none() -> None:
    with pytest.raises(ValueError, match="nothing to compare"):
        compare(GOLDEN[:0], GOLDEN[:0])


def test_golden_itself_has_to_be_numbers() -> None:
    with pytest.raises(ValueError, match="golden"):
        compare(GOLDEN, GOLDEN * np.nan)


def test_integers_do_not_wrap_around() -> None:
    assert compare(np.array([0], np.uint8), np.array([255], np.uint8)).max_absolute == 255


def test_agreement_is_a_share() -> None:
    assert agreement(np.array([1, 2, 3, -1]), np.array([1, 2, 0, 0])) == 0.5


def test_outputs_that_do_not_depend_on_the_input_have_no_signal() -> None:
    assert varies(GOLDEN)
    assert not varies(np.ones((5, 3)))
    assert not varies(GOLDEN[:1])


def test_one_sample_of_a_hundred_does_not_hide_the_others() -> None:
    golden = np.random.default_rng(0).normal(size=(100, 10))
    actual = golden * 1.01
    actual[7] += 50
    assert sqnr_db(actual, golden) < 0
    assert sqnr_of_most_db(actual, golden) == pytest.approx(40, abs=1)  # noise of small ones is held to the usual
    assert sqnr_of_most_db(actual[:99], golden[:99]) < 0  # of fewer, every one counts
    actual[8] += 50
    assert sqnr_of_most_db(actual, golden) < 0
    actual[7] = np.nan
    assert math.isnan(sqnr_of_most_db(actual, golden))


def test_a_sample_far_greater_than_the_others_counts_as_one() -> None:
    """Whether its noise is as great or none at all."""
    golden = np.random.default_rng(0).normal(size=(50, 10))
    golden[3] *= 1e4
    near = golden * 1.01
    assert sqnr_of_most_db(near, golden) == pytest.approx(40, abs=1)
    near[3] = golden[3] * 2
    assert sqnr_db(near, golden) == pytest.approx(0, abs=0.1)
    assert sqnr_of_most_db(near, golden) == pytest.approx(17, abs=0.5)  # one of fifty is all wrong
    wrong = golden[::-1].copy()
    wrong[3] = golden[3]
    assert sqnr_db(wrong[:-4], golden[:-4]) > 50
    assert sqnr_of_most_db(wrong[:-4], golden[:-4]) < 0


def test_strange_samples_are_left_to_their_decisions_where_there_are_any() -> None:
    """Golden alone tells them, so that nothing else is excused; more than a twentieth of all are no exception."""
    golden = np.random.default_rng(0).normal(size=(200, 10))
    golden[:10] *= 50
    actual = golden * 1.01
    actual[:10] = golden[:10] / 50  # cut off
    assert sqnr_of_most_db(actual, golden) < 15
    assert sqnr_of_most_db(actual, golden, decided=True) == pytest.approx(40, abs=1)
    elsewhere = golden * 1.01
    elsewhere[10:14] += 5
    assert sqnr_of_most_db(elsewhere, golden, decided=True) < 20
    golden[10] *= 50
    actual[10] = golden[10] / 50
    assert not strange_samples(golden).any()
    assert sqnr_of_most_db(actual, golden, decided=True) == sqnr_of_most_db(actual, golden)


def test_a_sample_next_to_nothing_is_held_to_what_is_usual() -> None:
    golden = np.random.default_rng(0).normal(size=(50, 10))
    golden[:20] *= 1e-6
    noise = 0.01 * np.random.default_rng(1).normal(size=golden.shape)
    assert sqnr_of_most_db(golden + noise, golden) == pytest.approx(40, abs=2.5)
    assert math.isnan(sqnr_of_most_db(np.ones((4, 2)), np.zeros((4, 2))))
    assert sqnr_of_most_db(np.zeros((4, 2)), np.zeros((4, 2))) == CEILING_DB


@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_a_ratio_of_what_is_no_number_is_none(value: float) -> None:
    golden = np.arange(8, dtype=np.float32)
    assert not sqnr_db(np.where(golden == 3, value, golden), golden) >= 0
    assert not sqnr_db(golden, np.where(golden == 3, value, golden)) >= 0


def test_a_ratio_is_summed_in_float64() -> None:
    """A float32 sum of these squares has lost a hundredth."""
    golden = np.full(1 << 20, 1.0, np.float32)
    assert sqnr_db(golden * np.float32(1.5), golden) == pytest.approx(20 * math.log10(2), abs=1e-6)
