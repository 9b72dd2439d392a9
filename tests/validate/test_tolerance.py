"""What is within, how much room is left, and that every row says why."""

import math

import pytest

from validate.tolerance import TABLE, Tolerance

UPPER = Tolerance("max_absolute", 0.01, True, "", "for the test")
DECIBEL = Tolerance("sqnr_db", 40, False, "dB", "for the test")
SHARE = Tolerance("agreement", 0.99, False, "", "for the test")


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
    assert {"sqnr_db", "agreement", "metric_change"} <= {row.measure for row in rows}
    assert all(len(row.reason) > 20 for row in rows)
