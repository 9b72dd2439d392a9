"""What is within, how much room is left, and that every row says why."""

import math

import pytest

from validate.tolerance import FLOOR_MULTIPLE, TABLE, Tolerance, allowed

UPPER = Tolerance("max_absolute", 0.01, True, "", "for the test", "a choice")
DECIBEL = Tolerance("sqnr_db", 40, False, "dB", "for the test", "a choice")
SHARE = Tolerance("agreement", 0.99, False, "", "for the test", "a choice")


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
    rows = TABLE[precision]
    assert {"sqnr_db", "agreement", "metric_fall"} <= {row.measure for row in rows}
    assert all(len(row.reason) > 20 and len(row.source) > 20 for row in rows)


def test_a_share_allows_one_sample_however_few_there_are() -> None:
    rows = {row.measure: row for row in TABLE["float32"]}
    assert rows["agreement"].of(1.0, 4).allowed == 0.75
    assert rows["agreement"].of(1.0, 256).allowed == 0.99
    assert rows["metric_fall"].of(1.0, 16).allowed == 1 / 16
    assert rows["metric_fall"].of(1.0, 1000).allowed == 0.005


def test_the_allowance_of_a_float_is_a_multiple_of_the_noise_floor() -> None:
    (row,) = [row for row in TABLE["float32"] if row.unit == FLOOR_MULTIPLE]
    assert row.of(1e-6, 256).allowed == pytest.approx(16e-6)


def test_the_configurations_number_stands_beside_the_tables() -> None:
    rows = {row.measure: row for row in allowed("int8", {"int8": {"sqnr_db": 20.0}, "float16": {"sqnr_db": 40.0}})}
    assert (rows["sqnr_db"].allowed, rows["sqnr_db"].by_default) == (20.0, 25.0)
    assert "configuration" in rows["sqnr_db"].source
    assert rows["agreement"].by_default is None
