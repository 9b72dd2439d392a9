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


_SAME_DECISIONS = (
    Tolerance(
        "agreement",
        0.99,
        upper=False,
        unit="",
        reason="With 256 samples two decisions may differ: where two scores are all but equal, rounding decides.",
    ),
    Tolerance(
        "metric_change",
        0.005,
        upper=True,
        unit="",
        reason="Half a point of the task's metric is the most a conversion may cost a release: one sample in 256.",
    ),
)


def _rounded(sqnr_db: float, reason: str) -> tuple[Tolerance, ...]:
    """For a precision with less than float32: noise, decisions and metric. Greatest differences say little there."""
    return (
        Tolerance("sqnr_db", sqnr_db, upper=False, unit="dB", reason=reason),
        *_SAME_DECISIONS,
    )


# Measured on thirteen networks (simple_cnn, resnet18, mobilenet_v3_small, shufflenet_v2, squeezenet, efficientnet_b0,
# regnet_y_400mf, mnasnet1_0, densenet121, googlenet, convnext_tiny, swin_t, vit_b_16), trained on the digits for one to
# twelve epochs, with 256 golden inputs, on one x86-64 processor: in ONNX Runtime 1.31 and PyTorch 2.15, and all but
# vit_b_16 and convnext_tiny in TensorFlow, LiteRT, tflite-runtime and TensorFlow.js, too.
TABLE: Mapping[str, tuple[Tolerance, ...]] = {
    "float32": (
        Tolerance(
            "max_absolute",
            16,
            upper=True,
            unit=FLOOR_MULTIPLE,
            reason="Another order of summation lies as far from golden as the oracle does: 0.7 to 2.7 noise floors "
            "measured. The rest is room for the kernels of other processors.",
        ),
        Tolerance(
            "sqnr_db",
            100,
            upper=False,
            unit="dB",
            reason="float32 rounding leaves 118 to 141 dB; what falls to 100 dB computed something else.",
        ),
        *_SAME_DECISIONS,
    ),
    "float16": _rounded(
        55,
        "11 bits of significand leave 64 to 84 dB; two networks whose training was cut short leave 51.6 to 57.6.",
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
