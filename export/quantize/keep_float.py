"""Repairs a bad integer model: the layers that do most harm for their size stay in float32, as few as will do.

    repaired = repair(weights, alone, attempt)
    repaired.kept                              # ["features.8.2", …], the most harmful a byte first

Layers are chosen on calibration samples, never on golden: one half sets the ranges, the other is measured on, because
samples that set a range never overrun it. `anywhere validate` then proves the result on images that had no part in it.
Pure: the caller passes the functions that quantize and measure.
"""

from collections import Counter
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from typing import Any

from export.self_check import least
from measures.distance import agreement
from measures.tasks import Task
from measures.tolerance import AGREEMENT, INTEGER_DB
from records.tensor import Arrays

MARGIN_DB = 1.0
"""dB beyond what the tolerance asks for, because golden samples differ from those of calibration."""
SAMPLES = 64
"""Calibration samples an attempt is measured on …"""
RANKED = 8
"""… and a single layer: its noise is a mean over all values."""
LAYER_BYTES = 1024
"""Bytes a layer in float32 is taken to cost beside its weights, for conversions at its edges, so that none is free."""
AUTO = "auto"
"""Word that asks for a repair, in place of the names of layers."""


@dataclass(frozen=True)
class Score:
    """The measurement of one attempt against the float32 model."""

    sqnr_db: float
    agreement: float
    """Share of decisions that are the same."""
    samples: int
    size_bytes: int

    @property
    def meets(self) -> bool:
        """True if it may be released, as far as calibration samples tell."""
        enough = min(AGREEMENT, 1 - 1 / self.samples)
        return self.sqnr_db >= INTEGER_DB + MARGIN_DB and self.agreement >= enough


@dataclass(frozen=True)
class Repaired:
    """The layers that stay in float32, and the scores without and with them."""

    kept: tuple[str, ...]
    before: Score
    after: Score
    layers: int

    @property
    def sentence(self) -> str:
        """Return what the repair cost and gained, as a sentence."""
        return (
            f"{len(self.kept)} of {self.layers} layers stay in float32: SQNR on calibration samples "
            f"{self.before.sqnr_db:.1f} → {self.after.sqnr_db:.1f} dB, agreement {self.before.agreement:.4f} → "
            f"{self.after.agreement:.4f}, size {self.before.size_bytes / 1e6:.2f} → "
            f"{self.after.size_bytes / 1e6:.2f} MB"
        )


def repair(
    weights: Mapping[str, int], alone: Callable[[str], float], attempt: Callable[[Collection[str]], Score]
) -> Repaired:
    """Return the least number of layers to keep in float32, the most harmful for their size first.

    weights: layer → bytes of its constants. alone: returns the SQNR in dB with only this layer in integers. attempt:
    returns the score with these layers in float32. Ranking by harm alone would keep the largest layers: efficientnet_b0
    then needs 15 of 16 MB for 28 dB, and 8 MB by harm a byte. Raises ValueError if not even all layers would do.
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
    """Return the two halves of named arrays (N, …): one to set ranges, one that no range has seen."""
    count = len(next(iter(calibration.values()))) // 2
    return (
        {name: values[:count] for name, values in calibration.items()},
        {name: values[count:] for name, values in calibration.items()},
    )


def score(actual: Arrays, reference: Arrays, task: Task, size_bytes: int) -> Score:
    """Return what outputs (N, …) by name are worth against the float32 model's; size_bytes: of the model."""
    decided = task.decide(reference)
    return Score(least(actual, reference), agreement(task.decide(actual), decided), len(decided), size_bytes)


def details(layers: Iterable[str], operators: Iterable[str], repaired: Repaired | None) -> dict[str, Any]:
    """Return what a manifest keeps of layers in float32. operators: the kinds of those in them that have weights."""
    facts: dict[str, Any] = {"keep_float": list(layers), "float_operators": dict(Counter(operators))}
    if repaired:
        facts |= {
            "repair": {
                "sqnr_db": [round(repaired.before.sqnr_db, 1), round(repaired.after.sqnr_db, 1)],
                "agreement": [repaired.before.agreement, repaired.after.agreement],
                "size_bytes": [repaired.before.size_bytes, repaired.after.size_bytes],
                "layers": repaired.layers,
            }
        }
    return facts
