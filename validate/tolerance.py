"""What difference is allowed: one table by precision, each row with its reason and its source.

    for tolerance in allowed("int8", {"int8": {"sqnr_db": 20.0}}): ...

Loosening a row must be earned in its reason: by a measurement, with what was measured on.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace

FLOOR_MULTIPLE = "noise floors"
OR_ONE_SAMPLE = "or one sample"
"""A share, and one sample whatever the share: of four samples, one is a quarter."""
LITTLE_HEADROOM = 0.5
"""Below this a pass carries a warning: another processor or the next training may not pass."""


@dataclass(frozen=True)
class Tolerance:
    """One limit. A measured value must be at most (`upper`) or at least (not `upper`) `allowed`."""

    measure: str
    """max_absolute, sqnr_db, agreement, metric_fall or input_steps."""
    allowed: float
    upper: bool
    unit: str
    reason: str
    source: str
    by_default: float | None = None
    """What the table allows, where the configuration says otherwise."""

    def of(self, unit: float, samples: int) -> "Tolerance":
        """With `allowed` in the measure's own unit. unit: one noise floor of the output."""
        if self.unit == FLOOR_MULTIPLE:
            return replace(self, allowed=self.allowed * unit)
        if self.unit == OR_ONE_SAMPLE:
            one = 1 / samples
            return replace(self, allowed=max(self.allowed, one) if self.upper else min(self.allowed, 1 - one))
        return self

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
            return 1 - (1 - measured) / (1 - self.allowed) if self.allowed < 1 else float(measured >= 1)
        return 1 - measured / self.allowed


NETWORKS = (
    "thirteen networks (simple_cnn, resnet18, mobilenet_v3_small, shufflenet_v2, squeezenet, efficientnet_b0, "
    "regnet_y_400mf, mnasnet1_0, densenet121, googlenet, convnext_tiny, swin_t, vit_b_16) trained on the digits for 1 "
    "to 12 epochs, 256 golden inputs, x86-64: ONNX Runtime 1.31 and PyTorch 2.15; all but vit_b_16 and "
    "convnext_tiny in TensorFlow 2.21, LiteRT 2.3, tflite-runtime 2.14 and TensorFlow.js 4.22, too"
)

_SAME_DECISIONS = (
    Tolerance(
        "agreement",
        0.99,
        upper=False,
        unit=OR_ONE_SAMPLE,
        reason="Of 256 samples two decisions may differ: where two scores are all but equal, rounding decides.",
        source="float32 and float16 changed none, int8 at most two where it quantizes well; " + NETWORKS,
    ),
    Tolerance(
        "metric_fall",
        0.005,
        upper=True,
        unit=OR_ONE_SAMPLE,
        reason="Half a point of the task's metric is the most a conversion may cost a release: one sample in 256.",
        source="a choice, not a measurement: what a release may lose",
    ),
)


def _rounded(sqnr_db: float, reason: str) -> tuple[Tolerance, ...]:
    """For a precision with less than float32: noise, decisions and metric. Greatest differences say little there."""
    return (
        Tolerance("sqnr_db", sqnr_db, upper=False, unit="dB", reason=reason, source=NETWORKS),
        *_SAME_DECISIONS,
    )


TABLE: Mapping[str, tuple[Tolerance, ...]] = {
    "float32": (
        Tolerance(
            "max_absolute",
            16,
            upper=True,
            unit=FLOOR_MULTIPLE,
            reason="Another order of summation lies as far from golden as the oracle does: 0.7 to 2.7 noise floors "
            "measured. The rest is room for the kernels of other processors.",
            source=NETWORKS,
        ),
        Tolerance(
            "sqnr_db",
            100,
            upper=False,
            unit="dB",
            reason="float32 rounding leaves 118 to 141 dB; what falls to 100 dB computed something else.",
            source=NETWORKS,
        ),
        *_SAME_DECISIONS,
    ),
    "float16": (
        Tolerance(
            "max_absolute",
            2**13,
            upper=True,
            unit=FLOOR_MULTIPLE,
            reason="float16 has 13 bits of significand fewer than float32, whose error golden's noise floor is: 300 to "
            "3,300 noise floors measured. A network that is hard on float32 is as much harder on float16.",
            source=NETWORKS,
        ),
        *_rounded(
            40,
            "11 bits of significand leave 64 to 84 dB, and 51.6 to 54.6 with efficientnet_b0 and mnasnet1_0, whose "
            "decisions on 1,440 images it does not change; what falls to 40 dB computed something else.",
        ),
    ),
    "int8": _rounded(
        25,
        "Networks that quantize well leave 26 to 42 dB. mnasnet1_0 leaves 20 to 22 with 2 % of the decisions changed, "
        "efficientnet_b0 12 to 13 with 11 to 48 %.",
    ),
    "int8_dynamic": _rounded(
        25,
        "Weights of 8 bits, activations quantized as they come: 38 to 51 dB, 37 on efficientnet_b0, 30 on mnasnet1_0.",
    ),
    "int8_int16": _rounded(
        25,
        "Activations of 16 bits leave the 8-bit weights' noise: 32 to 51 dB, 26 on mnasnet1_0, 15 on efficientnet_b0.",
    ),
    "uint8_weights": _rounded(
        25,
        "One scale for a whole weight, without channels of its own: 29 to 50 dB, 22 on mnasnet1_0.",
    ),
}


def allowed(precision: str, overrides: Mapping[str, Mapping[str, float]]) -> tuple[Tolerance, ...]:
    """The table's rows for a precision, with the configuration's numbers: precision → measure → allowed."""
    wanted = overrides.get(precision, {})
    return tuple(
        replace(
            row, allowed=wanted[row.measure], by_default=row.allowed, source="the configuration, instead of the table"
        )
        if row.measure in wanted
        else row
        for row in TABLE[precision]
    )
