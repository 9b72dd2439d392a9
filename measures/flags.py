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
SEEN = 3
"""Times golden must decide for a class before its absence says anything: one or two may be the decisions in a hundred
that agreement leaves to an artifact."""
NAMED = 3
"""Classes that a sentence names."""
STILL = 0.1
"""Share of golden's spread over the inputs below which outputs hardly change. Good artifacts have 0.99 to 1.01 of it
(int8 of four networks), and what loses nine tenths of a spread that is not `COARSE` leaves 21 dB at most."""
RELATED = 0.7
"""Correlation of a sample's outputs with golden's below which they have less than half in common (0.7² of the
variance). What is allowed to integers (25 dB) leaves 0.87 where a sample has as little of its own as `COARSE`; int8 of
mobilenet_v3_small 0.978 and more on each of 1,500 samples, with 0.5 % of the decisions changed."""
UNRELATED = 0.05
"""Share of the samples, at most, that may be so: mnasnet1_0, whose int8 cuts off the hundredth of the samples whose
logits are a hundred times as great, has 0.9 %, and 0.2 % of the decisions changed."""
LOOKED_AT = 2**22
"""Values of an output that spread, correlation and levels are of, at most: more would tell nothing else, and take
seconds."""
CORRELATED = 8
"""Values that a sample needs for a correlation: of eight random ones it is below `RELATED` in 97 % of cases, of three
in 75 %."""
EXACT_DB = 100.0
"""SQNR that only float32 reaches: float16 leaves 84 dB at most on thirteen networks, eight bits 51."""


def values(name: str, actual: Array, golden: Array) -> list[str]:
    """Return the flags of one output (N, …), all finite, of golden's shape.

    Of values that are constant, saturated or few, and of samples that hardly differ or have little of golden's.
    """
    if _constant(actual) and not _constant(golden):
        return [f"{name} is the same for all {len(actual)} inputs, whatever they are"]
    coarse = COARSE * float(np.sqrt(np.square(golden, dtype=np.float64).mean()))
    flags = _still(name, actual, golden, coarse) or _unrelated(name, actual, golden, coarse)
    constant = _constant_columns(actual) & (golden.std(axis=0, dtype=np.float64) > coarse)
    if constant.any():
        first = tuple(int(axis) for axis in np.argwhere(constant)[0])
        flags.append(f"{name}: {int(constant.sum())} of {constant.size} values never change, the first at {first}")
    levels = np.unique(_rows(actual))
    if len(levels) < FEW_LEVELS and np.diff(levels).min(initial=np.inf) > coarse:
        golden_levels = len(np.unique(_rows(golden)))
        if golden_levels >= 4 * FEW_LEVELS:
            flags.append(f"{name} takes {len(levels)} different values only, golden {golden_levels}")
    for side, extreme in (("greatest", np.max), ("least", np.min)):
        end = extreme(actual)
        share = float((actual == end).mean()) - float((golden == extreme(golden)).mean())
        if share > SATURATED and len(actual) > 1 and float(golden[actual == end].std()) > coarse:
            flags.append(f"{name}: {share:.1%} of the values are the {side} one, {float(end):.4g}: saturated")
    return flags


def _still(name: str, actual: Array, golden: Array, coarse: float) -> list[str]:
    """Return a flag where outputs (N, …) hardly change from input to input, and golden's do."""
    spread, usual = _spread(actual), _spread(golden)
    if usual <= coarse or spread >= STILL * usual:
        return []
    return [f"{name} hardly changes from input to input: typically by {spread:.2g}, golden by {usual:.2g}"]


def _spread(values: Array) -> float:
    """Return how far a typical sample of (N, …) lies from the middle of all, as root mean square over its values."""
    rows = _rows(values)
    return float(np.median(np.sqrt(np.square(rows - np.median(rows, axis=0)).mean(axis=1))))


def _unrelated(name: str, actual: Array, golden: Array, coarse: float) -> list[str]:
    """Return a flag where the outputs of many samples (N, …) have little in common with golden's.

    What all samples share is taken off first: a picture of the scores' means is right for none and like all of them.
    """
    rows = _rows(golden)
    if rows.shape[1] < CORRELATED:
        return []
    shared = np.median(rows, axis=0)
    exact, theirs = _centred(rows - shared), _centred(_rows(actual) - shared)
    lengths = np.linalg.norm(exact, axis=1)
    own = lengths > coarse * np.sqrt(rows.shape[1])
    scale = np.maximum(lengths * np.linalg.norm(theirs, axis=1), np.finfo(np.float64).tiny)
    correlation = (exact * theirs).sum(axis=1) / scale
    unrelated = own & (correlation < RELATED)
    if unrelated.sum() <= max(1.0, UNRELATED * len(golden)):
        return []
    return [
        f"{name} of {int(unrelated.sum())} of {len(golden)} samples have little in common with golden's: correlation "
        f"below {RELATED:g}, in the middle {float(np.median(correlation[unrelated])):.2f}"
    ]


def _rows(values: Array) -> Array:
    """Return (N, …) as (N, K) float64; of great outputs every so manieth value, `LOOKED_AT` in all."""
    rows = values.reshape(len(values), -1)
    return rows[:, :: max(1, -(-rows.size // LOOKED_AT))].astype(np.float64)


def _centred(rows: Array) -> Array:
    """Return rows (N, K) less the mean of each."""
    return np.asarray(rows - rows.mean(axis=1, keepdims=True))


def _constant(values: Array) -> bool:
    return len(values) > 1 and bool((values == values[:1]).all())


def _constant_columns(values: Array) -> Array:
    """Return, for values (N, …), a mask (…) of those that are the same in all samples."""
    return np.asarray((values == values[:1]).all(axis=0)) if len(values) > 1 else np.zeros(values.shape[1:], bool)


def decisions(actual: Array, golden: Array, tied: Array, names: Mapping[int, str]) -> list[str]:
    """Return a flag of the decisions (N, …) that golden takes and the artifact never; ties (N, …) bool apart."""
    indices, counts = np.unique(golden[~tied], return_counts=True)
    often = {int(index): int(count) for index, count in zip(indices, counts, strict=True) if count >= SEEN}
    dead = sorted(often.keys() - set(np.unique(actual).tolist()), key=lambda index: (-often[index], index))
    if not dead:
        return []
    if len(dead) == 1:
        return [f"class {names[dead[0]]} is never decided for; golden decides for it {often[dead[0]]} times"]
    listed = ", ".join(f"{names[index]} ({often[index]} times)" for index in dead[:NAMED])
    more = f" and {len(dead) - NAMED} more" if len(dead) > NAMED else ""
    return [f"{len(dead)} of {len(often)} classes that golden decides for are never decided for: {listed}{more}"]


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
