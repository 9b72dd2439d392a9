"""Arrays in, numbers out: how far an actual output lies from golden. Pure numpy; judges nothing.

difference = compare(actual, golden)       # both (N, …)
difference.sqnr_db
"""

import math
from dataclasses import dataclass

import numpy as np

from records.tensor import Array

NOTHING = -2
"""The decision that nothing is there, such as behind the last box of a picture."""
CEILING_DB = 300.0
"""SQNR given to equal arrays, whose ratio is infinite: beyond what float64 can tell apart."""


@dataclass(frozen=True)
class Difference:
    """The distances between two arrays of one shape. All are NaN, within no tolerance, where a value is no number."""

    max_absolute: float
    mean_absolute: float
    max_relative: float
    """Greatest absolute difference ÷ greatest absolute golden value."""
    sqnr_db: float
    """Signal to quantization noise ratio, 10·log10(Σ golden² ÷ Σ (actual − golden)²)."""
    cosine: float
    """Cosine of the angle between the two as vectors."""
    not_finite: int
    """Actual values that are NaN or infinite."""
    worst: tuple[int, ...]
    """Index of the greatest difference, or of the first value that is no number where there is one."""


def compare(actual: Array, golden: Array) -> Difference:
    """Return the difference of two arrays of one shape and any number type, computed in float64.

    Raises ValueError for different shapes, for no values, and for values of golden that are no numbers.
    """
    if actual.shape != golden.shape:
        raise ValueError(f"shape {actual.shape}, golden has {golden.shape}")
    if golden.size == 0:
        raise ValueError("nothing to compare: no values")
    if not np.isfinite(golden).all():
        raise ValueError("golden has values that are no numbers")
    a, g = actual.astype(np.float64), golden.astype(np.float64)
    bad = ~np.isfinite(a)
    if bad.any():
        place = tuple(int(axis) for axis in np.argwhere(bad)[0])
        return Difference(np.nan, np.nan, np.nan, np.nan, np.nan, int(bad.sum()), place)
    distance = np.abs(a - g)
    worst = np.unravel_index(int(distance.argmax()), distance.shape)
    greatest, peak = float(distance.max()), float(np.abs(g).max())
    return Difference(
        max_absolute=greatest,
        mean_absolute=float(distance.mean()),
        max_relative=greatest / peak if peak else float("nan"),
        sqnr_db=sqnr_db(a, g),
        cosine=_cosine(a.ravel(), g.ravel()),
        not_finite=0,
        worst=tuple(int(axis) for axis in worst),
    )


def sqnr_db(actual: Array, golden: Array) -> float:
    """Return 10·log10(Σ golden² ÷ Σ (actual − golden)²) of two arrays of one shape, summed in float64.

    `CEILING_DB` at most, and for equal arrays; NaN without signal, or where a value is no number.
    """
    exact = golden.astype(np.float64)
    signal, noise = float(np.square(exact).sum()), float(np.square(actual - exact).sum())
    if noise == 0:
        return CEILING_DB
    if signal == 0 or not np.isfinite(noise):
        return float("nan")
    return min(CEILING_DB, float(10 * np.log10(signal / noise)))


def floor_of(golden: Array, oracle: Array) -> float:
    """Return one noise floor of an output, in its unit: golden's greatest distance from the oracle.

    It is at least float32's own resolution of the values, which nobody can undercut, however near golden happens to be.
    """
    exact = golden.astype(np.float64)
    resolution = float(np.abs(exact).max() * np.finfo(np.float32).eps + np.finfo(np.float32).tiny)
    return max(float(np.abs(exact - oracle).max()), resolution)


STRANGE_TIMES, STRANGE_SHARE = 10.0, 0.05
"""A sample is strange whose outputs are so many times as great as the median's, if at most that share of all are: eight
bits hold either those or the others. Of efficientnet_b0 trained for three epochs on digits 25 of 1,500 are 17 to 138
times as great, are cut off, and keep their decisions; all others have 32 dB."""


def strange_samples(golden: Array) -> Array:
    """Return True for each sample of (N, …) that is strange; none is, if more than `STRANGE_SHARE` of them would be."""
    signal = np.square(golden.astype(np.float64).reshape(len(golden), -1)).sum(axis=1)
    far: Array = signal > STRANGE_TIMES**2 * np.median(signal)
    return far if far.mean() <= STRANGE_SHARE else np.zeros_like(far)


def sqnr_of_most_db(actual: Array, golden: Array, decided: bool = False) -> float:
    """Return the SQNR in dB of (N, …) sample by sample: noise against its own signal, the mean without the noisiest.

    Those are a hundredth of the samples, rounded down. So a sample a thousand times as great as the others, with noise
    to match, counts as one. A signal below the median counts as the median: of what is next to nothing, any noise is
    much. NaN where a value is no number, and without signal.

    decided: if decisions, which are judged beside, are made of this output: then strange samples are left out first, as
    golden alone tells them.
    """
    if not np.isfinite(actual).all():
        return float("nan")
    exact = golden.astype(np.float64).reshape(len(golden), -1)
    noise = np.square(actual.reshape(exact.shape) - exact).sum(axis=1)
    signal = np.square(exact).sum(axis=1)
    if not noise.any():
        return CEILING_DB
    usual = float(np.median(signal)) or float(signal.mean())
    if usual == 0:
        return float("nan")
    ordinary = ~strange_samples(golden) if decided else np.ones(len(golden), bool)
    kept = min(int(ordinary.sum()), len(golden) - len(golden) // 100)
    mean = float(np.sort((noise / np.maximum(signal, usual))[ordinary])[:kept].mean())
    return min(CEILING_DB, -10 * math.log10(mean)) if mean else CEILING_DB


def _cosine(a: Array, g: Array) -> float:
    lengths = float(np.linalg.norm(a) * np.linalg.norm(g))
    return min(1.0, float(a @ g) / lengths) if lengths else float("nan")


BINS = 24
"""Bins of a histogram, whose edges all have one ratio."""
NEAREST = 1e-3
"""The first bin's upper end, as a share of the greatest difference."""


def histogram(actual: Array, golden: Array) -> tuple[list[float], list[int]]:
    """Return how many finite values lie how far apart: `BINS` + 1 edges, even on a logarithmic scale, and counts.

    The first bin also counts all smaller distances, those of equal values included.
    """
    distance = np.abs(actual.astype(np.float64) - golden).ravel()
    greatest = float(distance.max()) or 1.0
    edges = greatest * np.logspace(np.log10(NEAREST), 0, BINS + 1)
    edges[-1] = greatest
    counts, _ = np.histogram(np.clip(distance, edges[0], None), edges)
    return edges.tolist(), counts.tolist()


def agreement(actual: Array, golden: Array) -> float:
    """Return the share of decisions (N, …) that are golden's; 1 where there are none. Where both decide for nothing,
    there is nothing to agree on.
    """
    made = (actual != NOTHING) | (golden != NOTHING)
    return float((actual == golden)[made].mean()) if made.any() else 1.0


def counted(first: Array, second: Array) -> dict[tuple[int, int], int]:
    """Return how often each pair of integers stands in one place of two arrays of one shape."""
    if not first.size:
        return {}
    least = int(min(first.min(), second.min()))
    width = int(max(first.max(), second.max())) - least + 1
    counts = np.bincount((first.ravel().astype(np.int64) - least) * width + (second.ravel() - least))
    return {
        (pair // width + least, pair % width + least): int(counts[pair]) for pair in np.flatnonzero(counts).tolist()
    }


def equal(actual: Array, golden: Array) -> float:
    """Return the share of values (N, …) that are golden's."""
    return float((actual == golden).mean())


def varies(golden: Array) -> bool:
    """True if outputs (N, …) depend on the input at all: parity on constants proves nothing."""
    return bool(len(golden) > 1 and (golden != golden[:1]).any())
