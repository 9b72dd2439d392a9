"""A bad integer model repaired: the layers that do most harm for their size stay in float32, as few as will do.

    found = repair(weights, alone, attempt)
    found.kept                                 # ["features.8.2", …], the most harmful a byte first

Chosen on calibration samples, never on golden: one half sets the ranges, the other is measured on, for samples that set
a range never overrun it. `anywhere validate` then proves it on images that had no part in it.
Pure: what quantizes and measures is given.
"""

from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from export.self_check import least
from measures.tolerance import AGREEMENT, INTEGER_DB
from records.tensor import Arrays

MARGIN_DB = 1.0
"""Beyond what is asked for: golden samples are others."""
SAMPLES = 64
"""Calibration samples an attempt is measured on …"""
RANKED = 8
"""… and a single layer: its noise is a mean over all values."""
LAYER_BYTES = 1024
"""What a layer in float32 costs beside its weights: conversions at its edges. Without weights it would cost nothing."""
AUTO = "auto"
"""Asks for a repair where names of layers may stand."""


@dataclass(frozen=True)
class Score:
    """One attempt against the float32 model."""

    sqnr_db: float
    agreement: float
    """Share of samples whose greatest value is the same."""
    samples: int
    size_bytes: int

    @property
    def meets(self) -> bool:
        """Whether it may be released, as far as calibration samples tell."""
        enough = min(AGREEMENT, 1 - 1 / self.samples)
        return self.sqnr_db >= INTEGER_DB + MARGIN_DB and self.agreement >= enough


@dataclass(frozen=True)
class Repaired:
    """Which layers stay in float32, and what that did."""

    kept: tuple[str, ...]
    before: Score
    after: Score
    layers: int

    @property
    def sentence(self) -> str:
        """What it cost and brought."""
        return (
            f"{len(self.kept)} of {self.layers} layers stay in float32: SQNR on calibration samples "
            f"{self.before.sqnr_db:.1f} → {self.after.sqnr_db:.1f} dB, agreement {self.before.agreement:.4f} → "
            f"{self.after.agreement:.4f}, size {self.before.size_bytes / 1e6:.2f} → "
            f"{self.after.size_bytes / 1e6:.2f} MB"
        )


def repair(
    weights: Mapping[str, int], alone: Callable[[str], float], attempt: Callable[[Collection[str]], Score]
) -> Repaired:
    """The least number of layers to keep, the most harmful for their size first.

    weights: layer → bytes of its constants. alone: SQNR in dB with only this layer in integers. attempt: the score
    with these layers in float32. Harm alone would keep the great layers: efficientnet_b0 then needs 15 of 16 MB for
    28 dB, and 8 MB by harm a byte. Raises ValueError where not even all of them would do.
    """
    before = attempt(())
    if before.meets:
        return Repaired((), before, before, len(weights))
    ranking = sorted(weights, key=lambda layer: -(10 ** (-alone(layer) / 10)) / (weights[layer] + LAYER_BYTES))
    tried: dict[int, Score] = {}

    def meets(count: int) -> bool:
        tried[count] = attempt(ranking[:count])
        print(f"repair: {count} layers in float32: {tried[count]}")
        return tried[count].meets

    low, high = 0, 1
    while not meets(min(high, len(ranking))):
        if high >= len(ranking):
            best = tried[len(ranking)]
            raise ValueError(
                f"with all {len(ranking)} layers in float32 SQNR is {best.sqnr_db:.1f} dB and agreement "
                f"{best.agreement:.4f} on calibration samples: integers are not what is wrong"
            )
        low, high = high, high * 2
    high = min(high, len(ranking))
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if meets(middle) else (middle, high)
    return Repaired(tuple(ranking[:high]), before, tried[high], len(ranking))


def divided(calibration: Arrays) -> tuple[Arrays, Arrays]:
    """Named arrays (N, …) → their two halves: one to set ranges, one that has not been seen."""
    count = len(next(iter(calibration.values()))) // 2
    return (
        {name: values[:count] for name, values in calibration.items()},
        {name: values[count:] for name, values in calibration.items()},
    )


def score(actual: Arrays, reference: Arrays, size_bytes: int) -> Score:
    """Named arrays (N, …) against the float32 model's."""
    same = [
        (np.nan_to_num(actual[name]).reshape(len(value), -1).argmax(1) == value.reshape(len(value), -1).argmax(1))
        for name, value in reference.items()
    ]
    agreed = np.all(same, axis=0)
    return Score(least(actual, reference), float(agreed.mean()), len(agreed), size_bytes)


def details(kept: Iterable[str], found: Repaired | None) -> dict[str, Any]:
    """For the manifest."""
    said: dict[str, Any] = {"keep_float": list(kept)}
    if found:
        said |= {
            "repair": {
                "sqnr_db": [round(found.before.sqnr_db, 1), round(found.after.sqnr_db, 1)],
                "agreement": [found.before.agreement, found.after.agreement],
                "size_bytes": [found.before.size_bytes, found.after.size_bytes],
                "layers": found.layers,
            }
        }
    return said
