"""Repairs a bad integer model by what costs least: other ranges, 16 bits for the worst layers, float32 for the worst.

    repaired = repair(weights, alone, attempt, methods, float_ms=20.0)
    repaired.best.kept.float32                 # ("features.8.2", …), the most harmful a byte first
    repaired.model                             # the very model that was measured

One half of the calibration samples sets the ranges, the other measures, because samples that set a range never overrun
it; what is measured is what ships. Golden has no part in it: `anywhere validate` then proves the result on images that
nothing was chosen by. Pure: the caller passes the functions that quantize and measure.
"""

import math
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import numpy as np

from measures.distance import agreement, sqnr_of_most_db
from measures.tasks import Fair, Task
from measures.tolerance import AGREEMENT, INTEGER_DB
from records.tensor import Arrays

MARGIN_DB = 1.0
"""dB beyond what the tolerance asks for, because golden samples differ from those of calibration."""
SAMPLES = 64
"""Calibration samples an attempt is measured on, at most …"""
RANKED = 8
"""… and a single layer: its noise is a mean over all values."""
LAYER_BYTES = 1024
"""Bytes a layer in float32 is taken to cost beside its weights, for conversions at its edges, so that none is free."""
SLOWER = 2.0
"""Times as long as the float32 model that one with layers of 16 bits may take: TFLite's kernels of 16 bits are plain
loops. mobilenet_v2 took 12 ms in int8, 49 with one layer of 16 bits, 210 with eight, 1,312 with all 65."""
AUTO = "auto"
"""Word that asks for a repair, in place of the names of layers."""
Model = TypeVar("Model")


@dataclass(frozen=True)
class Kept:
    """The modules that are not computed in 8 bits."""

    bits16: tuple[str, ...] = ()
    """Those whose activations have 16 bits; their weights have 8."""
    float32: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        """Return True if any module is kept."""
        return bool(self.bits16 or self.float32)

    def more(self, bits16: Sequence[str] = (), float32: Sequence[str] = ()) -> "Kept":
        """Return it with further modules; what stays in float32 has no 16 bits."""
        floats = tuple(dict.fromkeys([*self.float32, *float32]))
        return Kept(tuple(name for name in dict.fromkeys([*self.bits16, *bits16]) if name not in floats), floats)

    @property
    def words(self) -> str:
        """Return how many layers have what, in words."""
        parts = [f"{len(self.bits16)} in 16 bits"] if self.bits16 else []
        parts += [f"{len(self.float32)} in float32"] if self.float32 else []
        return ", ".join(parts) or "none"


@dataclass(frozen=True)
class Score:
    """The measurement of one attempt against the float32 model."""

    sqnr_db: float
    """As the tolerance measures it: `sqnr_of_most_db`."""
    agreement: float
    """Share of decisions that are the same."""
    samples: int
    size_bytes: int
    latency_ms: float | None = None
    """Median of one sample in the format's own runtime, in one thread; None: not measured."""

    @property
    def meets(self) -> bool:
        """True if it may be released, as far as calibration samples tell."""
        enough = min(AGREEMENT, 1 - 1 / self.samples)
        return self.sqnr_db >= INTEGER_DB + MARGIN_DB and self.agreement >= enough


@dataclass(frozen=True)
class Step:
    """One attempt: how ranges were set, what was kept, and what that is worth."""

    method: str
    kept: Kept
    score: Score

    def slower_than(self, limit_ms: float) -> bool:
        """Return True if one sample takes longer, as far as that was measured."""
        return self.score.latency_ms is not None and self.score.latency_ms > limit_ms


@dataclass(frozen=True)
class Repaired(Generic[Model]):
    """Everything that was tried, in order, and what came of it."""

    steps: tuple[Step, ...]
    """The first is the model as it is without a repair."""
    best: Step
    """What ships: the first step, where nothing helps."""
    model: Model
    layers: int

    @property
    def sentence(self) -> str:
        """Return what the repair cost and gained, or that it is none, as a sentence."""
        before, after = self.steps[0].score, self.best.score
        if not after.meets:
            closest = max(self.steps, key=lambda step: (not np.isnan(step.score.sqnr_db), step.score.sqnr_db))
            return (
                f"no repair reaches {INTEGER_DB + MARGIN_DB:.0f} dB with {AGREEMENT:.0%} of the decisions, so none is "
                f"made: the nearest, {closest.kept.words} of {self.layers} layers, has {closest.score.sqnr_db:.1f} dB "
                f"and {closest.score.agreement:.4f}"
            )
        if self.best == self.steps[0]:
            further = "further " if self.best.kept else ""
            return (
                f"needs no {further}repair: SQNR on {after.samples} calibration samples that set no range "
                f"{after.sqnr_db:.1f} dB, agreement {after.agreement:.4f}"
            )
        what = f"{self.best.kept.words} of {self.layers} layers" if self.best.kept else f"ranges by {self.best.method}"
        return (
            f"{what}: SQNR on {after.samples} calibration samples that set no range {before.sqnr_db:.1f} → "
            f"{after.sqnr_db:.1f} dB, agreement {before.agreement:.4f} → {after.agreement:.4f}, size "
            f"{before.size_bytes / 1e6:.2f} → {after.size_bytes / 1e6:.2f} MB{_times(before, after)}"
        )


def _times(before: Score, after: Score) -> str:
    if before.latency_ms is None or after.latency_ms is None:
        return ""
    return f", one sample {before.latency_ms:.2f} → {after.latency_ms:.2f} ms"


def repair(
    weights: Mapping[str, int],
    alone: Callable[[str], float],
    attempt: Callable[[str, Kept], tuple[Score, Model | None]],
    methods: Sequence[str],
    float_ms: float | None = None,
    base: Kept | None = None,
) -> Repaired[Model]:
    """Return the first model that meets the tolerance, of those that cost more and more.

    First the other methods of ranges; then, in the ranges that did best, as few layers as will do with activations of
    16 bits, where the format has them and that is not `SLOWER` than float32; then as few as will do in float32.
    float_ms: median time of the float32 model; None: the format has no layers of 16 bits. base: what is kept anyway.

    weights: layer → bytes of its constants. alone: returns the SQNR in dB with only this layer in integers. attempt:
    returns what the model with ranges by a method and some layers kept is worth, and the model, if there is one.
    methods: of ranges, the one of the model as it is first. Layers that do most harm are kept first; in float32, most
    harm for their size: ranking by harm alone would keep the largest, and efficientnet_b0 then needs 15 of 16 MB for 28
    dB, 8 MB by harm a byte.
    """
    base = base or Kept()
    steps: list[Step] = []
    models: dict[Step, Model] = {}

    def tried(method: str, kept: Kept) -> Step:
        done = next((step for step in steps if (step.method, step.kept) == (method, kept)), None)
        if done is not None:
            return done
        score, model = attempt(method, kept)
        steps.append(Step(method, kept, score))
        print(f"repair: ranges by {method}, layers kept: {kept.words}: {score}")
        if model is not None and (score.meets or len(steps) == 1):
            models[steps[-1]] = model
        return steps[-1]

    def ships(step: Step) -> Repaired[Model]:
        return Repaired(tuple(steps), step, models[step], len(weights))

    for method in methods:
        if (step := tried(method, base)).score.meets:
            return ships(step)
    method = max(steps, key=lambda step: step.score.sqnr_db if np.isfinite(step.score.sqnr_db) else -np.inf).method
    harm = {layer: 10 ** (-alone(layer) / 10) for layer in weights if layer not in base.float32}
    if float_ms is not None:
        slowest_ms = SLOWER * float_ms
        ranking = sorted(harm, key=lambda layer: -harm[layer])
        step = _fewest(len(ranking), lambda count: tried(method, base.more(bits16=ranking[:count])), slowest_ms)
        if step.score.meets and not step.slower_than(slowest_ms):
            return ships(step)
    ranking = sorted(harm, key=lambda layer: -harm[layer] / (weights[layer] + LAYER_BYTES))
    step = _fewest(len(ranking), lambda count: tried(method, base.more(float32=ranking[:count])))
    return ships(step if step.score.meets else steps[0])


def _fewest(layers: int, tried: Callable[[int], Step], slowest_ms: float = math.inf) -> Step:
    """Return the step with the fewest layers that meets the tolerance, or one that cannot, for more would be slower."""
    low, high = 0, 1
    while not (best := tried(min(high, layers))).score.meets:
        if high >= layers or best.slower_than(slowest_ms):
            return best
        low, high = high, high * 2
    high = min(high, layers)
    while high - low > 1:
        middle = (low + high) // 2
        if (step := tried(middle)).score.meets:
            high, best = middle, step
        else:
            low = middle
    return best


def divided(calibration: Arrays) -> tuple[Arrays, Arrays]:
    """Return the two halves of named arrays (N, …): one to set ranges, one that no range has seen."""
    count = len(next(iter(calibration.values()))) // 2
    return (
        {name: values[:count] for name, values in calibration.items()},
        {name: values[count:] for name, values in calibration.items()},
    )


def score(actual: Arrays, reference: Arrays, task: Task, size_bytes: int, latency_ms: float | None = None) -> Score:
    """Return what outputs (N, …) by name are worth against the float32 model's; size_bytes: of the model."""
    decided, actual = task.decide(reference), task.pair(actual, reference, Fair()).outputs
    floats = [name for name, values in reference.items() if np.issubdtype(values.dtype, np.floating)]
    names = floats or list(reference)
    ratios = [sqnr_of_most_db(actual[name], reference[name], name in task.DECIDED_BY) for name in names]
    return Score(float(np.min(ratios)), agreement(task.decide(actual), decided), len(decided), size_bytes, latency_ms)


def details(kept: Kept, operators: Iterable[str], repaired: Repaired[Any] | None) -> dict[str, Any]:
    """Return what a manifest keeps of layers that are not in 8 bits, and of a repair.

    operators: the kinds of those in float32 that have weights.
    """
    facts: dict[str, Any] = {
        "keep_float": list(kept.float32),
        "keep_16": list(kept.bits16),
        "float_operators": dict(Counter(operators)),
    }
    if repaired:
        curve = [
            {
                "ranges": step.method,
                "keep_16": len(step.kept.bits16),
                "keep_float": len(step.kept.float32),
                "sqnr_db": round(step.score.sqnr_db, 1) if np.isfinite(step.score.sqnr_db) else None,
                "agreement": step.score.agreement,
                "size_bytes": step.score.size_bytes,
                "latency_ms": None if step.score.latency_ms is None else round(step.score.latency_ms, 3),
            }
            for step in repaired.steps
        ]
        facts["repair"] = {
            "layers": repaired.layers,
            "samples": repaired.best.score.samples,
            "ships": repaired.steps.index(repaired.best),
            "meets": bool(repaired.best.score.meets),
            "curve": curve,
        }
    return facts
