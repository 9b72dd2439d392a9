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


TABLE: Mapping[str, tuple[Tolerance, ...]] = {
    "float32": (
        Tolerance(
            "max_absolute", 16, True, FLOOR_MULTIPLE,
            "Another order of summation is as far from the oracle as golden is: 0.5–2.5 noise floors measured. 16 leaves room "
            "for other kernels and processors; the smallest true fault measured (one weight tensor off by 1 %) is over 1,000.",
        ),
        Tolerance("sqnr_db", 100, False, "dB", "float32 rounding leaves 125–135 dB; 100 dB is one part in 100,000, below which something else was computed."),
        Tolerance("agreement", 0.99, False, "", "Rounding flips ties only; with 256 samples two may flip."),
        Tolerance("metric_change", 0.005, True, "", "Half a point: about one sample in 256."),
    ),
    "float16": (
        Tolerance("sqnr_db", 55, False, "dB", "11 bits of significand give 60–75 dB through a network of this depth; 55 allows for depth."),
        Tolerance("agreement", 0.99, False, "", "As for float32."),
        Tolerance("metric_change", 0.005, True, "", "Half a point: about one sample in 256."),
    ),
    "int8": (
        Tolerance("sqnr_db", 25, False, "dB", "Well calibrated int8 reaches 28–36 dB; a saturated range falls to 10 dB. Maximum differences say little about int8."),
        Tolerance("agreement", 0.99, False, "", "Well calibrated int8 agrees in 0.9975 and more."),
        Tolerance("metric_change", 0.005, True, "", "What quantization may cost a release: half a point of the task's metric."),
    ),
}  # fmt: skip
