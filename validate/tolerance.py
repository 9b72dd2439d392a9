"""What difference is allowed: one table by precision, each row with its reason.

Loosening a row must be earned in its reason: by a measurement, with what was measured on.
"""

from collections.abc import Mapping
from dataclasses import dataclass

FLOOR_MULTIPLE = "noise floors"


@dataclass(frozen=True)
class Tolerance:
    """One limit. A measured value must be at most (`upper`) or at least (not `upper`) `allowed`."""

    measure: str
    """max_absolute, sqnr_db, agreement or metric_change."""
    allowed: float
    upper: bool
    unit: str
    reason: str

    def within(self, measured: float) -> bool:
        """NaN is within nothing."""
        return measured <= self.allowed if self.upper else measured >= self.allowed

    def headroom(self, measured: float) -> float:
        """1 − measured ÷ allowed: 1 is perfect, 0 just allowed, negative beyond.

        Where more is better, of what is missing to perfection: of the noise amplitude for dB, of 1 − x for shares.
        """
        if self.unit == "dB":
            return 1 - float(10 ** ((self.allowed - measured) / 20))
        if not self.upper:
            return 1 - (1 - measured) / (1 - self.allowed)
        return 1 - measured / self.allowed


_FLIPS = "Half a point of the task's metric is what a release may cost: about one sample in 256."

TABLE: Mapping[str, tuple[Tolerance, ...]] = {
    "float32": (
        Tolerance(
            "max_absolute",
            16,
            upper=True,
            unit=FLOOR_MULTIPLE,
            reason="Another order of summation is about as far from golden as the oracle is; 16 leaves room for others.",
        ),
        Tolerance(
            "sqnr_db",
            100,
            upper=False,
            unit="dB",
            reason="float32 rounding leaves 120–135 dB; at 100 dB something else was computed.",
        ),
        Tolerance(
            "agreement", 0.99, upper=False, unit="", reason="Rounding flips ties only; with 256 samples two may."
        ),
        Tolerance("metric_change", 0.005, upper=True, unit="", reason=_FLIPS),
    ),
    "float16": (
        Tolerance("sqnr_db", 55, upper=False, unit="dB", reason="11 bits of significand."),
        Tolerance("agreement", 0.99, upper=False, unit="", reason="As for float32."),
        Tolerance("metric_change", 0.005, upper=True, unit="", reason=_FLIPS),
    ),
    "int8": (
        Tolerance("sqnr_db", 25, upper=False, unit="dB", reason="Well calibrated."),
        Tolerance("agreement", 0.99, upper=False, unit="", reason="Well calibrated int8 agrees in 0.9975 and more."),
        Tolerance("metric_change", 0.005, upper=True, unit="", reason=_FLIPS),
    ),
}
