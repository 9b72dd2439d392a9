"""Ranges of the tensors inside: what calibration samples gave, and by which method integers span it.

    seen = observe(parts)                                   # tensor → Seen, from arrays by name
    choice = chosen(halves, following, quantize, worth)     # the method whose models do best on unseen samples
    ranges(seen, following, choice.method)                  # tensor → (least, greatest)

A wide range has coarse steps, a narrow one cuts values off. Which is worse depends on what reads the tensor: of
hard-swish nothing below −3 matters, and a range that reaches −30 for it wastes nine tenths of its steps. Other networks
answer to a few strange images with values a hundred times as great (batch normalisation after little training), and a
range that holds those loses all others. So several methods set ranges by one half of the calibration samples, the other
half says which model is best, and the same the other way round. The method whose worse model is best sets them by all,
unless one that cuts off less is as good but for chance.

Pure numpy: it runs inside toolchains.
"""

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Generic, TypeAlias, TypeVar

import numpy as np

from measures.distance import agreement, sqnr_db, sqnr_of_most_db
from measures.tasks import Fair, Task
from measures.tolerance import AGREEMENT, INTEGER_DB
from records.tensor import Array, Arrays

Ranges: TypeAlias = Mapping[str, tuple[float, float]]
"""Tensor → its least and its greatest value."""
Following: TypeAlias = Mapping[str, Sequence[str]]
"""Tensor → names in `FUNCTIONS` of what reads it; a tensor that is not there is read as it is."""
Model = TypeVar("Model")

VALUES = 512
"""Values of a tensor that are kept of each sample, drawn at random, beside its least and greatest."""
SANE = 1e20
"""Magnitude beyond which a value is an infinity in disguise, such as the padding of a maximum."""
BINS = 2048
"""Bins of the histogram on which ranges are compared: eight for each of 256 steps."""
STEPS = 255
MOST = 0.97
"""Share of the samples whose extremes set the range, where it leaves out the strangest."""
SHARES = tuple(np.concatenate([np.linspace(1, 0.5, 21), np.linspace(0.475, 0, 20)]).tolist())
"""Of the least or the greatest value, that are tried as the end of a range."""
GAIN = 0.999
"""Share of the error so far that a narrower range must leave, at most: equals are not narrowed."""


def _gelu(values: Array) -> Array:
    erf = np.vectorize(math.erf, otypes=[np.float64])
    return np.asarray(values * 0.5 * (1 + np.asarray(erf(np.asarray(values) / math.sqrt(2)))))


def _sigmoid(values: Array) -> Array:
    return np.asarray(1 / (1 + np.exp(-np.clip(values, -60, 60))))


FUNCTIONS: Mapping[str, Callable[[Array], Array]] = {
    "itself": lambda values: values,
    "relu": lambda values: np.maximum(values, 0),
    "relu6": lambda values: np.clip(values, 0, 6),
    "relu_0_to_1": lambda values: np.clip(values, 0, 1),
    "hard_swish": lambda values: values * np.clip(values / 6 + 0.5, 0, 1),
    "hard_sigmoid": lambda values: np.clip(values / 6 + 0.5, 0, 1),
    "sigmoid": _sigmoid,
    "silu": lambda values: values * _sigmoid(values),
    "gelu": _gelu,
    "tanh": np.tanh,
}
"""What may read a tensor, by which it is judged how far its integers are off."""
KINDS: Mapping[str, str] = {
    "HardSwish": "hard_swish",
    "HardSigmoid": "hard_sigmoid",
    "Sigmoid": "sigmoid",
    "Gelu": "gelu",
    "Relu": "relu",
    "Tanh": "tanh",
    "HARD_SWISH": "hard_swish",
    "LOGISTIC": "sigmoid",
    "GELU": "gelu",
    "RELU": "relu",
    "RELU6": "relu6",
    "RELU_0_TO_1": "relu_0_to_1",
    "TANH": "tanh",
}
"""Operator of ONNX or TFLite → its name among them."""


@dataclass(frozen=True)
class Seen:
    """What samples gave in one tensor."""

    least: Array
    """(N,)."""
    greatest: Array
    """(N,)."""
    some: Array
    """(N, `VALUES`) at most."""

    def part(self, start: int, stop: int) -> "Seen":
        """Return what the samples from one place to another gave."""
        return Seen(self.least[start:stop], self.greatest[start:stop], self.some[start:stop])


def observe(parts: Iterable[tuple[int, Arrays]]) -> dict[str, Seen]:
    """Return what all samples gave, by tensor. parts: how many samples, and arrays by name, some after the others.

    A tensor whose size is no multiple of the samples is taken to be each one's. What is no number, or as good as
    infinite, sets no range: with what a maximum is padded, the least of the integers does as well.
    """
    rng = np.random.default_rng(0)
    collected: dict[str, list[Seen]] = {}
    for size, arrays in parts:
        for name, values in arrays.items():
            whole = values.size % size == 0
            rows = values.reshape(size, -1) if whole else np.broadcast_to(values.reshape(1, -1), (size, values.size))
            if rows.shape[1]:
                rows = np.where(np.abs(rows) < SANE, rows, 0)
                some = rows[:, rng.integers(0, rows.shape[1], VALUES)] if rows.shape[1] > VALUES else rows.copy()
                collected.setdefault(name, []).append(Seen(rows.min(axis=1), rows.max(axis=1), some))
    return {
        name: Seen(*(np.concatenate([getattr(one, field) for one in part]) for field in ("least", "greatest", "some")))
        for name, part in collected.items()
    }


def readers(operators: Iterable[tuple[str, Sequence[str], Sequence[str]]]) -> dict[str, list[str]]:
    """Return tensor → names in `FUNCTIONS` of what reads it; of one that is multiplied by its own sigmoid, the product.

    operators: kind in ONNX's or TFLite's words, inputs, outputs.
    """
    reading: dict[str, list[tuple[str, Sequence[str], Sequence[str]]]] = {}
    for operator in operators:
        for name in dict.fromkeys(operator[1]):
            reading.setdefault(name, []).append(operator)
    functions: dict[str, list[str]] = {}
    for name, users in reading.items():
        gates = {results[0] for kind, _, results in users if KINDS.get(kind) == "sigmoid"}
        gated = bool(gates) and any(kind.upper() == "MUL" and gates & set(inputs) for kind, inputs, _ in users)
        kinds = [
            KINDS.get(kind, "itself")
            for kind, inputs, _ in users
            if not (gated and (KINDS.get(kind) == "sigmoid" or (kind.upper() == "MUL" and gates & set(inputs))))
        ]
        functions[name] = list(dict.fromkeys([*(["silu"] if gated else []), *kinds]))
    return functions


def extremes(seen: Seen) -> tuple[float, float]:
    """Return the least and the greatest value of all samples."""
    return float(seen.least.min()), float(seen.greatest.max())


def of_most(seen: Seen) -> tuple[float, float]:
    """Return the ends that hold all values of most samples: for each end, the strangest samples are left out."""
    return (
        float(np.quantile(seen.least, 1 - MOST, method="lower")),
        float(np.quantile(seen.greatest, MOST, method="higher")),
    )


def narrowed(
    ends: tuple[float, float], some: Array, functions: Sequence[Callable[[Array], Array]]
) -> tuple[float, float]:
    """Return ends within these and zero that leave the least mean square error in all that functions make of values."""
    ends = min(ends[0], 0.0), max(ends[1], 0.0)
    counts, edges = np.histogram(np.clip(some, *ends), BINS, range=ends if ends[0] < ends[1] else None)
    centres: Array = np.asarray((edges[1:] + edges[:-1]) * 0.5)
    share: Array = counts * (1 / max(1, int(counts.sum())))
    exact = [function(centres) for function in functions]

    def error(least: float, greatest: float) -> float:
        integers = quantized(centres, least, greatest)
        pairs = zip(functions, exact, strict=True)
        return float(sum(share @ np.square(function(integers) - value) for function, value in pairs))

    best, lowest = ends, error(*ends)
    for side in (1, 0):
        tried = best
        for part in SHARES:
            candidate = (tried[0], ends[1] * part) if side else (ends[0] * part, tried[1])
            if ends[side] * (1 if side else -1) > 0 and (left := error(*candidate)) < lowest * GAIN:
                best, lowest = candidate, left
    return best


def quantized(values: Array, least: float, greatest: float) -> Array:
    """Return the nearest of 256 even steps between two ends, zero one of them, to each value."""
    least, greatest = min(least, 0.0), max(greatest, 0.0)
    step = (greatest - least) / STEPS
    if step == 0:
        return np.zeros_like(values)
    zero = np.round(-least / step)
    return np.asarray((np.clip(np.round(values / step) + zero, 0, STEPS) - zero) * step)


def bounded(functions: Sequence[str]) -> bool:
    """True if nothing that reads a tensor tells its far values apart, at one end at least."""
    return bool(functions) and "itself" not in functions


def by_extremes(seen: Seen, functions: Sequence[str]) -> tuple[float, float]:
    """Return the least and the greatest value."""
    return extremes(seen)


def by_response(seen: Seen, functions: Sequence[str]) -> tuple[float, float]:
    """Return the same, but of a tensor whose far values its readers do not tell apart: the ends that err least."""
    if not bounded(functions):
        return extremes(seen)
    return narrowed(extremes(seen), seen.some, [FUNCTIONS[name] for name in functions])


def by_most(seen: Seen, functions: Sequence[str]) -> tuple[float, float]:
    """Return `by_response` of most samples' extremes."""
    ends = of_most(seen)
    return narrowed(ends, seen.some, [FUNCTIONS[name] for name in functions]) if bounded(functions) else ends


def by_squares(seen: Seen, functions: Sequence[str]) -> tuple[float, float]:
    """Return the ends that leave the least mean square error, in every tensor."""
    return narrowed(extremes(seen), seen.some, [FUNCTIONS[name] for name in functions or ["itself"]])


def by_squares_of_most(seen: Seen, functions: Sequence[str]) -> tuple[float, float]:
    """Return the same within most samples' extremes."""
    return narrowed(of_most(seen), seen.some, [FUNCTIONS[name] for name in functions or ["itself"]])


METHODS: Mapping[str, Callable[[Seen, Sequence[str]], tuple[float, float]]] = {
    "extremes": by_extremes,
    "response": by_response,
    "most": by_most,
    "squares": by_squares,
    "squares of most": by_squares_of_most,
}
"""How a range may be set, what cuts off least first."""
CHANCE_DB = 2.0
"""What a later method has to be nearer by: on mobilenet_v3_small the least squares lay 2 dB nearer on calibration
samples, which are of training, and 3 dB farther off on held-out ones, whose greatest values are cut off."""


def ranges(seen: Mapping[str, Seen], following: Following, method: str) -> dict[str, tuple[float, float]]:
    """Return every tensor's range by a method."""
    return {name: METHODS[method](one, following.get(name, ())) for name, one in seen.items()}


@dataclass(frozen=True, order=True)
class Worth:
    """How good a model in integers is on samples that set none of its ranges: compared field by field, in this order.

    First whether it may be released, as the validation asks it; then how near most single samples lie.
    """

    agrees: bool
    """Of its decisions, at most those differ that agreement allows, or one."""
    near: bool
    """Its SQNR without the strangest samples is what the tolerance of integers asks for."""
    typical_db: float
    """SQNR that nine of ten samples exceed, each for itself; −∞ where a value is no number."""

    def beyond_chance(self, other: "Worth") -> bool:
        """True if this is worth more than another by more than the samples that happened to be drawn."""
        if (self.agrees, self.near) != (other.agrees, other.near):
            return self > other
        return self.typical_db > other.typical_db + CHANCE_DB

    @classmethod
    def of(cls, actual: Arrays, reference: Arrays, task: Task) -> "Worth":
        """Return what outputs (N, …) by name are worth against those of the float32 model."""
        count = len(next(iter(reference.values())))
        actual = task.pair(actual, reference, Fair()).outputs
        same = agreement(task.decide(actual), task.decide(reference)) >= min(AGREEMENT, 1 - 1 / count)
        floats = [name for name, values in reference.items() if np.issubdtype(values.dtype, np.floating)]
        names = floats or list(reference)
        most = min(sqnr_of_most_db(actual[name], reference[name], name in task.DECIDED_BY) for name in names)
        typical = typical_db((actual[name], reference[name]) for name in names)
        return cls(same and typical > -math.inf, bool(most >= INTEGER_DB), typical)


def typical_db(compared: Iterable[tuple[Array, Array]]) -> float:
    """Return the SQNR in dB that nine of ten samples exceed in every pair of outputs (N, …) and what they should be.

    −∞ where a value is no number.
    """
    least = math.inf
    for actual, reference in compared:
        each = [sqnr_db(*pair) for pair in zip(actual, reference, strict=True)]
        known = np.isfinite(actual).all() and np.isfinite(each).any()
        least = min(least, float(np.nanquantile(each, 0.1)) if known else -math.inf)
    return least


@dataclass(frozen=True)
class Choice(Generic[Model]):
    """The method that gives the best model, and its models of half the samples each."""

    method: str
    models: tuple[Model, Model]
    worths: Mapping[str, Worth]
    """The lesser one of the two models, by the methods that came into question."""


def chosen(
    halves: tuple[Mapping[str, Seen], Mapping[str, Seen]],
    following: Following,
    quantize: Callable[[Ranges], Model],
    worth: Callable[[Model, int], Worth],
    methods: Sequence[str] = tuple(METHODS),
) -> Choice[Model]:
    """Return the method whose worse model is worth most.

    halves: what either half of the calibration samples gave; each sets ranges once, and the other half measures, so
    that a strange sample counts whichever half it is in. quantize: ranges → model. worth: measures a model on the half
    of that number (0, 1). Of methods that are as good but for chance the first is chosen; those that set the same
    ranges are tried once, and the second half only of those that may still be chosen.
    """
    pairs: dict[str, tuple[Ranges, Ranges]] = {}
    for method in methods:
        first, second = (ranges(half, following, method) for half in halves)
        if (first, second) not in pairs.values():
            pairs[method] = first, second
    models = {method: quantize(first) for method, (first, _) in pairs.items()}
    upper = {method: worth(model, 1) for method, model in models.items()}
    worths: dict[str, Worth] = {}
    others: dict[str, Model] = {}
    while True:
        most = upper | worths  # what each may be worth
        greatest = max(pairs, key=lambda method: most[method])
        best = next(method for method in pairs if not most[greatest].beyond_chance(most[method]))
        asked = best if best not in worths else greatest
        if asked in worths or (best in worths and best == next(iter(pairs))):
            break  # whatever the others' second halves are worth, this one is chosen
        others[asked] = quantize(pairs[asked][1])
        worths[asked] = min(upper[asked], worth(others[asked], 0))
    for method in pairs:
        print(f"ranges by {method}: {upper[method]}, by the other half {worths.get(method, 'not asked')}")
    return Choice(best, (models[best], others[best]), worths)
