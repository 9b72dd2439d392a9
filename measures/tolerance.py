"""The differences that are allowed: one table by precision, each row with its reason and its source.

    for tolerance in allowed("int8", task.tolerances("int8"), {"int8": {"sqnr_db": 20.0}}): ...

Loosening a row must be earned in its reason: by a measurement, with what was measured on.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from records.tensor import Array

BUILT_SAMPLES = 8
"""Golden samples, the first, on which a conversion to integers measures its own result …"""
BUILT_DB = 3.0
"""… and decibels that a runtime may lie below that on the same samples without a word: kernels round otherwise."""
INTEGER_DB = 25.0
"""SQNR of a model in integers, at least: `TABLE` has the reason."""
AGREEMENT = 0.99
"""Share of decisions that equal golden's, at least: `TABLE` has the reason."""
SAME_DB = 100.0
"""SQNR of two float32 graphs of one model, at least: rounding alone leaves 115 to 141 dB …"""
BELOW_GOLDEN_DB = 24.0
"""… or this much below golden's own, where the network is hard on float32."""

FLOOR_MULTIPLE = "noise floors"
BELOW_ORACLE = "dB below the oracle"
"""How much SQNR may fall short of golden's own against the oracle: networks differ in what they make of rounding."""
ORACLE_DB = 140.0
"""The most that counts of it: what float32 can hold of outputs themselves."""
OF_MOST_SAMPLES = "dB of most samples"
"""Each sample's noise against its own signal, the mean of all but the hundredth farthest off, as agreement has it: one
image far beyond the ranges of calibration may hold 99 % of all noise (efficientnet_b0 in int8_int16: 14.6 dB with it,
32.8 without), and one with outputs a hundred times as great all signal and noise (mobilenetv4 in int8: 1.2 dB of all
values, with every one of 1,500 decisions). Of outputs that decide, `strange_samples` are left to their decisions."""
OR_ONE_SAMPLE = "or one sample"
"""A share, and one sample whatever the share: of four samples, one is a quarter."""
DECIBELS = {BELOW_ORACLE, OF_MOST_SAMPLES}
CONFIGURED = "the configuration, instead of the table"
PROBE = "probe_absolute"
"""The measure of one output on one probe: the greatest difference, against the noise floor of that very probe."""
LITTLE_HEADROOM = 0.5
"""Below this a pass carries a warning: another processor or the next training may not pass."""


@dataclass(frozen=True)
class Tolerance:
    """One limit: a measured value must be at most (`upper`) or at least (not `upper`) `allowed`."""

    measure: str
    """max_absolute, sqnr_db, equal, agreement, metric_fall, probe_absolute; of files input_steps, file_db, probe_db."""
    allowed: float
    upper: bool
    unit: str
    reason: str
    source: str
    instead_of: "Tolerance | None" = None
    """The table's row, where the configuration says otherwise."""

    def of(self, samples: int, floor: float = 1.0, oracle_db: float = ORACLE_DB) -> "Tolerance":
        """Return it with `allowed` in the measure's own unit, for that many samples.

        floor: one noise floor of the output; oracle_db: golden's SQNR to the oracle.
        """
        instead_of = self.instead_of and self.instead_of.of(samples, floor, oracle_db)
        one_sample = 1 / samples
        either = max(self.allowed, one_sample) if self.upper else min(self.allowed, 1 - one_sample)
        scaled = {
            FLOOR_MULTIPLE: self.allowed * floor,
            BELOW_ORACLE: max(INTEGER_DB, min(oracle_db, ORACLE_DB) - self.allowed),
            OR_ONE_SAMPLE: either,
        }
        unit = "dB" if self.unit in DECIBELS else self.unit
        return replace(self, allowed=scaled.get(self.unit, self.allowed), unit=unit, instead_of=instead_of)

    def within(self, measured: float) -> bool:
        """True if a measured value is allowed; NaN never is."""
        return measured <= self.allowed if self.upper else measured >= self.allowed

    def headroom(self, measured: float) -> float:
        """Return 1 − measured ÷ allowed: 1 is perfect, 0 just allowed, negative beyond.

        Where more is better, the ratio is of what is missing to perfection: of the noise amplitude for dB, of 1 − x for
        shares.
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

DECISIONS = (
    Tolerance(
        "agreement",
        AGREEMENT,
        upper=False,
        unit=OR_ONE_SAMPLE,
        reason="Of 256 samples two decisions may differ that no allowed noise turns over (ties are counted apart).",
        source="float32 and float16 changed none, int8 at most two where it quantizes well; " + NETWORKS,
    ),
    Tolerance(
        "metric_fall",
        0.005,
        upper=True,
        unit=OR_ONE_SAMPLE,
        reason="Half a point of the task's metric is the most a conversion may surely (95 %) cost a release.",
        source="a choice, not a measurement: what a release may lose",
    ),
)
"""Of decisions and metric, whatever the precision: for a task that has no reason to allow anything else."""


EXACT = (
    Tolerance(
        "equal",
        AGREEMENT,
        upper=False,
        unit=OR_ONE_SAMPLE,
        reason="Integers are not near, they are right or wrong; where two scores are all but equal, rounding decides.",
        source="as for agreement: an integer output is a decision that the network itself takes",
    ),
)
"""Of an output of integers or booleans, whatever the precision, in the place of the precision's own rows."""


def _rounded(sqnr_db: float, reason: str) -> tuple[Tolerance, ...]:
    """Return the row of a precision with less than float32: noise alone, for greatest differences say little there."""
    return (Tolerance("sqnr_db", sqnr_db, upper=False, unit=OF_MOST_SAMPLES, reason=reason, source=NETWORKS),)


PROBED = (
    "mobilenet_v3_small, simple_cnn, and small networks with GroupNorm, with Mish, with InstanceNorm and with "
    "InstanceNorm of the image itself, trained on the digits; all targets in all runtimes on x86-64 and emulated ARM64"
)


def _on_probes(golden: int, measured: str) -> Tolerance:
    """Return the row for the greatest difference on probes. golden: noise floors that are allowed on golden."""
    return Tolerance(
        PROBE,
        4 * golden,
        upper=True,
        unit=FLOOR_MULTIPLE,
        reason="Four times as many noise floors as on golden, whose floor is the greatest of all samples, where a "
        f"probe's is of its few values alone: {measured} measured. A branch that a trace lost is off by a thousand.",
        source=PROBED,
    )


TABLE: Mapping[str, tuple[Tolerance, ...]] = {  # of outputs, by precision
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
            BELOW_GOLDEN_DB,
            upper=False,
            unit=BELOW_ORACLE,
            reason="Sixteen noise floors as a mean over all values: at most 13 dB below golden's own SQNR.",
            source=NETWORKS,
        ),
        _on_probes(16, "0 to 18"),
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
        Tolerance(
            "sqnr_db",
            78,
            upper=False,
            unit=BELOW_ORACLE,
            reason="13 bits less are 78 dB: 54 to 71 dB below golden's own SQNR measured. That is 64 to 84 dB, and 51 "
            "to 58 on networks whose training was cut short, whose decisions it does not change.",
            source=NETWORKS,
        ),
        _on_probes(2**13, "0 to 6,600"),
    ),
    "int8": _rounded(
        INTEGER_DB,
        "Each sample's noise against its own outputs, without the hundredth farthest off: networks trained on MNIST "
        "leave 26 to 43 dB, in LiteRT, tflite-runtime and ONNX Runtime. Where outputs decide, up to a twentieth of the "
        "samples that are ten times as great as the median count by their decisions alone: beyond every range, they "
        "are cut off (efficientnet_b0 of three epochs: 21 dB with them, 32 without, 0.9993 of the decisions). "
        "mobilenet_v2 with ImageNet's weights leaves 18 to 20.",
    ),
    "int8_dynamic": _rounded(
        INTEGER_DB,
        "Weights of 8 bits, activations quantized as they come: 33 to 51 dB of all samples but the hundredth farthest "
        "off.",
    ),
    "int8_weights": _rounded(
        INTEGER_DB,
        "Weights of 8 bits, made floats again before anything is computed: 50 to 52 dB of all samples but the "
        "hundredth farthest off on three networks, 28 and 30 on efficientnet_lite0 and mobilenet_v2 with ImageNet's "
        "weights.",
    ),
    "int8_int16": _rounded(
        INTEGER_DB,
        "Activations of 16 bits leave the 8-bit weights' noise: 33 to 54 dB of all samples but the hundredth farthest "
        "off, 27 on mnasnet1_0.",
    ),
    "uint8_weights": _rounded(
        INTEGER_DB,
        "One scale for a whole weight, without channels of its own: 31 to 51 dB of all samples but the hundredth "
        "farthest off, 24 on mnasnet1_0.",
    ),
}

INTEGERS = frozenset(TABLE) - {"float32", "float16"}
"""Precisions whose noise may turn a decision over."""


def allowed(
    precision: str, decisions: Sequence[Tolerance], overrides: Mapping[str, Mapping[str, float]]
) -> tuple[Tolerance, ...]:
    """Return the table's rows for a precision and a task's for its decisions, with the configuration's numbers.

    overrides: precision → measure → allowed; SQNR in dB.
    """
    numbers = overrides.get(precision, {})
    rows = (*TABLE[precision], *decisions)
    return tuple(_overridden(row, numbers[row.measure]) if row.measure in numbers else row for row in rows)


ANEW = 4.0
"""Times as far as on golden that outputs may lie off on inputs made anew: 12 dB. They are few, and mixtures of samples,
which lie where calibration saw little: of the default network int8 has 31 dB on golden and 24 there, int8_dynamic 43
and 34, float16 64 and 58. What answers from a table of golden's has −5 (tests/mutants)."""


def anew(table: Sequence[Tolerance]) -> tuple[Tolerance, ...]:
    """Return the rows of a table for inputs made anew: `ANEW` times as far as on golden."""
    decibels = 20 * math.log10(ANEW)
    factors = {FLOOR_MULTIPLE: lambda row: row.allowed * ANEW, BELOW_ORACLE: lambda row: row.allowed + decibels}
    widened = [
        replace(row, allowed=factors.get(row.unit, lambda row: row.allowed - decibels)(row), instead_of=None)
        for row in table
        if row.measure in {"max_absolute", "sqnr_db"}
    ]
    return tuple(widened)


FAIR = 2.0
"""Standard deviations of the difference of two outputs that an allowed noise explains."""


def fair_margin(table: Sequence[Tolerance], golden: Array, floor: float) -> float:
    """Return the margin, in the output's unit, below which either decision is fair: what is allowed may turn it over.

    Of floats that is golden's noise floor. Integers may have noise of as many dB as their row says, below what a usual
    sample's outputs are (the median); two outputs that are compared have √2 of it between them.
    """
    measures = {row.measure: row for row in table}
    if "max_absolute" in measures or "sqnr_db" not in measures:
        return floor
    powers = np.square(golden, dtype=np.float64).reshape(len(golden), -1).mean(axis=1)
    usual = math.sqrt(float(np.median(powers)) or float(powers.mean()))
    return max(floor, FAIR * math.sqrt(2) * usual * 10 ** (-measures["sqnr_db"].allowed / 20))


def allowed_noise(table: Sequence[Tolerance], golden: Array, floor: float) -> float:
    """Return how far a value of an output may lie off, in its unit: what a table allows of floats, or of integers what
    `fair_margin` says. floor: golden's noise floor.
    """
    measures = {row.measure: row for row in table}
    if "max_absolute" in measures:
        return measures["max_absolute"].of(len(golden), floor).allowed
    return fair_margin(table, golden, floor)


def _overridden(row: Tolerance, value: float) -> Tolerance:
    unit = OF_MOST_SAMPLES if row.unit == OF_MOST_SAMPLES else "dB" if row.unit == BELOW_ORACLE else row.unit
    return replace(row, allowed=value, unit=unit, instead_of=row, source=CONFIGURED)


PHOTOGRAPHS = (
    "digits, two photographs and odd cuts of them, enlarged and reduced, with crop and without, and the first probe of "
    "each: Pillow 13, prepare.mjs in Node 20 and Chromium 156, against torchvision 0.29 on x86-64 with and without "
    "its AVX kernels"
)
ONE_STEP_OFF = "15 % of the inputs' values changed by one step, as by another processor; vgg11_bn and " + NETWORKS


def _prepared(file_db: float, probe_db: float, reason: str, probe_reason: str) -> tuple[Tolerance, ...]:
    """Return the rows of a precision for image files: for the inputs, and for the outputs they lead to."""
    return (
        Tolerance(
            "input_steps",
            3,
            upper=True,
            unit="steps of 1/255",
            reason="Rounding after each axis or once leaves one step, in bicubic two at most. Bicubic instead of "
            "bilinear leaves 9 on the first probe, no antialiasing 28, a crop one pixel off 86, swapped channels 180.",
            source=PHOTOGRAPHS,
        ),
        Tolerance("file_db", file_db, upper=False, unit="dB", reason=reason, source=ONE_STEP_OFF),
        Tolerance("probe_db", probe_db, upper=False, unit="dB", reason=probe_reason, source=ONE_STEP_OFF),
    )


_OF_FLOATS = _prepared(
    35,
    35,
    "One step leaves 44 to 73 dB.",
    "One step leaves 43 to 77 dB. Turned, mirrored or with its channels swapped the probe leaves 34 at most; only "
    "googlenet and vgg11_bn, which have seen gray digits, take up to 40 for the same.",
)
_OF_8_BITS = _prepared(
    15,
    6,
    "One step leaves 32 to 67 dB, 20 on mnasnet1_0: it moves values to the next integer.",
    "The probe leaves the ranges of calibration: 14 to 58 dB, 12 on mnasnet1_0. Transposed or mirrored it leaves −32 "
    "to 16, but on two networks. That channels are swapped is seen in the inputs, and in float32. Where "
    "integers lie as far off with training's own preparation, 3 dB less than that, 0 at least: mobilenet_v3_small "
    "trained on MNIST has 5 dB.",
)
PREPARATION: Mapping[str, tuple[Tolerance, ...]] = {
    precision: _OF_FLOATS if precision in {"float32", "float16"} else _OF_8_BITS for precision in TABLE
}
"""Limits for image files that an app prepares, by precision."""
ON_THE_GRID = 1e-3
"""Steps by which an integer input's scale may miss 1/255 so that preparing rounds nothing more."""


OWN_DB = 3.0
"""What an app's preparation may add to integers' own noise on the probe: as much again."""


def allowed_from_file(
    precision: str,
    input_scale: float | None,
    overrides: Mapping[str, Mapping[str, float]],
    own_db: float = math.inf,
    sensitive_db: float = 0.0,
) -> tuple[Tolerance, ...]:
    """Return the rows of `PREPARATION` for a precision, adjusted to the artifact and the configuration.

    input_scale: of an integer input; rounding to it may set two inputs apart by one more. A lower `sqnr_db` that the
    configuration allows the precision is allowed here, too. own_db: SQNR on the probe that integers have with
    training's own preparation; NaN where that is no number. sensitive_db: what the task allows besides.
    """
    coarse = 255 * (input_scale or 0)
    rounding = coarse if input_scale and abs(coarse - 1) > ON_THE_GRID else 0.0
    configured_db = overrides.get(precision, {}).get("sqnr_db", math.inf)
    tolerances = []
    for row in PREPARATION[precision]:
        if row.measure == "probe_db" and precision in INTEGERS and own_db - OWN_DB < row.allowed:
            row = replace(row, allowed=max(own_db - OWN_DB, 0.0))
        if sensitive_db and row.measure != "input_steps":
            row = replace(row, allowed=row.allowed - sensitive_db)
        limit = row.allowed + rounding if row.measure == "input_steps" else min(row.allowed, configured_db)
        tolerances.append(replace(row, allowed=limit))
        if limit < row.allowed:
            tolerances[-1] = replace(tolerances[-1], instead_of=row, source=CONFIGURED)
    return tuple(tolerances)
