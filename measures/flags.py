"""Red flags: signs of a broken artifact that one number over all values may hide. Pure numpy.

for flag in values("logits", actual, golden) + decisions(actual, golden, tied, names): ...
"""

from collections.abc import Mapping

import numpy as np

from records.tensor import Array

SATURATED = 0.02
"""Share of values at one extreme that are more than golden has at its own. An extreme is taken once by real numbers;
ranges set by calibration are overrun by less than 0.5 % of golden's values on thirteen networks."""
FEW_LEVELS = 16
"""Different values below which an output is no measurement any more: four bits, where every integer precision has
eight. Asked only where golden has four times as many."""
COARSE = 0.1
"""Share of golden's root mean square that a step between levels, or the spread of what never changes or was saturated,
has at least: with less, an output may have few levels and still be right. Of a mask, what is nowhere near anything is 0
in every sample: 2,400 of 4,096 pixels in int8, 40 in ONNX Runtime's float32 (116 dB). Two hundredths of the values
spread so far leave 37 dB."""
SEEN = 2
"""Times golden must decide for a class before its absence says anything: one decision may be a matter of rounding."""
EXACT_DB = 100.0
"""SQNR that only float32 reaches: float16 leaves 84 dB at most on thirteen networks, eight bits 51."""


def values(name: str, actual: Array, golden: Array) -> list[str]:
    """Return the flags of one output (N, …): constant or saturated values, few levels. All finite, golden's shape."""
    if _constant(actual) and not _constant(golden):
        return [f"{name} is the same for all {len(actual)} inputs, whatever they are"]
    flags = []
    coarse = COARSE * float(np.sqrt(np.square(golden, dtype=np.float64).mean()))
    constant = _constant_columns(actual) & (golden.std(axis=0, dtype=np.float64) > coarse)
    if constant.any():
        first = tuple(int(axis) for axis in np.argwhere(constant)[0])
        flags.append(f"{name}: {int(constant.sum())} of {constant.size} values never change, the first at {first}")
    levels, golden_levels = np.unique(actual), len(np.unique(golden))
    if len(levels) < FEW_LEVELS and golden_levels >= 4 * FEW_LEVELS and np.diff(levels).min(initial=np.inf) > coarse:
        flags.append(f"{name} takes {len(levels)} different values only, golden {golden_levels}")
    for side, extreme in (("greatest", np.max), ("least", np.min)):
        end = extreme(actual)
        share = float((actual == end).mean()) - float((golden == extreme(golden)).mean())
        if share > SATURATED and len(actual) > 1 and float(golden[actual == end].std()) > coarse:
            flags.append(f"{name}: {share:.1%} of the values are the {side} one, {float(end):.4g}: saturated")
    return flags


def _constant(values: Array) -> bool:
    return len(values) > 1 and bool((values == values[:1]).all())


def _constant_columns(values: Array) -> Array:
    """Return, for values (N, …), a mask (…) of those that are the same in all samples."""
    return np.asarray((values == values[:1]).all(axis=0)) if len(values) > 1 else np.zeros(values.shape[1:], bool)


def decisions(actual: Array, golden: Array, tied: Array, names: Mapping[int, str]) -> list[str]:
    """Return a flag for each decision (N, …) that golden takes and the artifact never; ties (N, …) bool apart."""
    flags = []
    sure = golden[~tied]
    for index in np.unique(sure):
        count = int((sure == index).sum())
        if count >= SEEN and not (actual == index).any():
            flags.append(f"class {names[int(index)]} is never decided for; golden decides for it {count} times")
    return flags


def precision(kind: str, sqnr_db: Mapping[str, float]) -> list[str]:
    """Return a flag where all outputs are exacter than their artifact's precision can be.

    One alone may be: an input that is handed on, or doubled. sqnr_db: by output.
    """
    if kind == "float32" or not sqnr_db or not min(sqnr_db.values()) >= EXACT_DB:
        return []
    names, least = ", ".join(sqnr_db), min(sqnr_db.values())
    return [
        f"{names} {'is' if len(sqnr_db) == 1 else 'are'} exact to {least:.0f} dB, which {kind} cannot be: the "
        "artifact is float32"
    ]


def repeats(name: str, first: Array, second: Array, floor: float) -> list[str]:
    """Return a flag for outputs (k, …) of the same inputs run twice that differ by more than the noise floor."""
    distance = _distance(first, second)
    if distance <= floor:
        return []
    return [f"{name} changes by {distance:.3g} between two runs of the same input (noise floor {floor:.2g})"]


def collapsed(name: str, actual: Array, golden: Array, usual: Array, noise: float) -> list[str]:
    """Return a flag where integer outputs on patterns (k, …), all finite, no longer tell apart what golden does.

    usual: what the artifact gives for golden's inputs; noise: how far that lies from golden at most. Patterns may leave
    the ranges of calibration, so nothing else is asked of them.
    """
    if np.ptp(golden, axis=0).max() <= 2 * noise:
        return []
    if _constant(actual):
        return [f"{name} is the same for all {len(actual)} probes, whatever they are"]
    ends = min(usual.min(), actual.min()), max(usual.max(), actual.max())
    if np.isin(actual, ends).all() and not np.isin(golden, (golden.min(), golden.max())).all():
        return [f"{name}: every value is {ends[0]:.4g} or {ends[1]:.4g} on all {len(actual)} probes: saturated"]
    return []


def _distance(first: Array, second: Array) -> float:
    """Return the greatest distance of two arrays; infinite where only one of them is NaN, 0 where both are."""
    equal = (first == second) | (np.isnan(first) & np.isnan(second))
    gap = np.where(equal, 0, np.abs(first.astype(np.float64) - second))
    return float(np.where(np.isnan(gap), np.inf, gap).max(initial=0))
