"""What is within, how much room is left, and that every row says why."""

import math

import pytest

from measures import tasks
from measures.tolerance import FLOOR_MULTIPLE, TABLE, Tolerance, allowed

UPPER = Tolerance("max_absolute", 0.01, True, "", "for the test", "a choice")
DECIBEL = Tolerance("sqnr_db", 40, False, "dB", "for the test", "a choice")
SHARE = Tolerance("agreement", 0.99, False, "", "for the test", "a choice")

CLASSES = tasks.load("classification")


@pytest.mark.parametrize(
    ("tolerance", "measured", "within", "headroom"),
    [
        (UPPER, 0.0, True, 1.0),
        (UPPER, 0.0025, True, 0.75),
        (UPPER, 0.01, True, 0.0),
        (UPPER, 0.02, False, -1.0),
        (DECIBEL, 46.0206, True, 0.5),
        (DECIBEL, 40.0, True, 0.0),
        (DECIBEL, 33.9794, False, -1.0),
        (SHARE, 1.0, True, 1.0),
        (SHARE, 0.995, True, 0.5),
        (SHARE, 0.98, False, -1.0),
    ],
)
def test_headroom_is_what_is_left_of_the_allowance(
    tolerance: Tolerance, measured: float, within: bool, headroom: float
) -> None:
    assert tolerance.within(measured) is within
    assert tolerance.headroom(measured) == pytest.approx(headroom, abs=1e-5)


@pytest.mark.parametrize("tolerance", [UPPER, DECIBEL, SHARE])
def test_nan_is_within_nothing(tolerance: Tolerance) -> None:
    assert not tolerance.within(math.nan)
    assert math.isnan(tolerance.headroom(math.nan))


@pytest.mark.parametrize("precision", list(TABLE))
def test_every_precision_limits_values_decisions_and_the_metric_and_says_why(precision: str) -> None:
    rows = allowed(precision, CLASSES.tolerances(precision), {})
    assert {"sqnr_db", "agreement", "metric_fall"} <= {row.measure for row in rows}
    assert all(len(row.reason) > 20 and len(row.source) > 20 for row in rows)


def test_a_share_allows_one_sample_however_few_there_are() -> None:
    rows = {row.measure: row for row in CLASSES.tolerances("float32")}
    assert rows["agreement"].of(4).allowed == 0.75
    assert rows["agreement"].of(256).allowed == 0.99
    assert rows["metric_fall"].of(16).allowed == 1 / 16
    assert rows["metric_fall"].of(1000).allowed == 0.005


def test_the_allowance_of_a_float_is_a_multiple_of_the_noise_floor() -> None:
    row = next(row for row in TABLE["float32"] if row.unit == FLOOR_MULTIPLE)
    assert row.of(256, floor=1e-6).allowed == pytest.approx(16e-6)


def test_floats_are_allowed_less_where_golden_itself_is_exact() -> None:
    row = next(row for row in TABLE["float16"] if row.measure == "sqnr_db")
    assert row.of(256, oracle_db=120).allowed == 42
    assert row.of(256, oracle_db=135).allowed == 57
    assert row.of(256, oracle_db=300).allowed == 62  # golden equal to the oracle by luck
    assert row.of(256, oracle_db=135).headroom(63.0206) == pytest.approx(0.5, abs=1e-4)


def test_the_configurations_number_stands_beside_the_tables() -> None:
    lower = {"int8": {"sqnr_db": 20.0}, "float16": {"sqnr_db": 40.0}}
    rows = {row.measure: row for row in allowed("int8", CLASSES.tolerances("int8"), lower)}
    assert rows["sqnr_db"].allowed == 20.0
    assert rows["sqnr_db"].instead_of
    assert rows["sqnr_db"].instead_of.allowed == 25.0
    assert "configuration" in rows["sqnr_db"].source
    assert rows["agreement"].instead_of is None
    half = next(row for row in allowed("float16", (), lower) if row.measure == "sqnr_db")
    scaled = half.of(256, oracle_db=135)
    assert scaled.instead_of
    assert (scaled.allowed, scaled.instead_of.allowed) == (40.0, 57.0)
