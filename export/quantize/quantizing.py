"""A float32 model on its way to integers: what is measured on calibration samples, whatever the format.

    class Litert(Quantizing[bytes]): ...         # how one format observes, quantizes and runs
    model = litert.quantize(litert.ranges())     # in ranges by the method that does this model least harm

Runs inside toolchains: numpy only.
"""

import math
import statistics
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping, Sequence
from functools import cached_property
from typing import Any, Generic

import numpy as np

from export import self_check
from export.quantize import repair
from export.quantize.ranges import METHODS, Choice, Following, Model, Ranges, Seen, Worth, chosen, ranges
from export.quantize.repair import Kept, Repaired, Score
from measures.tasks import Task
from records.tensor import Arrays

JUDGED_VALUES = 2**22
"""Values of inputs that a method of ranges is judged on, at most: of great images, that is fewer samples."""
HALVES = 8
"""Calibration samples on which the models of its two halves are compared."""


class Quantizing(ABC, Generic[Model]):
    """One float32 model and its calibration samples; a format says how it is observed, quantized and run."""

    def __init__(self, samples: Arrays, task: Task, methods: Sequence[str] = tuple(METHODS), judged: int = 2**31):
        """Take what the model is measured by.

        samples: (N, …) by input, as the format lays them out. methods: of ranges, that are worth a trial. judged: the
        most samples of a half that a method is judged on.
        """
        self.samples, self.task, self.methods = samples, task, methods
        self.parts = repair.divided(samples)
        """Two halves: each sets ranges of models that the other is to measure."""
        self.values = max(1, sum(int(np.prod(array.shape[1:])) for array in samples.values()))
        """Values of one sample."""
        self.judged = max(1, min(judged, JUDGED_VALUES // self.values, count(self.parts[0])))
        """Samples of a half that models are measured on."""
        self.kept = Kept()
        """Modules that are not in 8 bits, whatever method sets the ranges, beside those of `fixed`."""

    @cached_property
    @abstractmethod
    def places(self) -> dict[str, str]:
        """Return operator → the module it is part of."""

    @cached_property
    def fixed(self) -> list[str]:
        """Return the modules that stay in float32 in any case: they decide, and hold no weights to speak of."""
        names = self.task.FLOAT_MODULES
        return [module for module in dict.fromkeys(self.places.values()) if module.partition(".")[0] in names]

    @cached_property
    @abstractmethod
    def weights(self) -> dict[str, int]:
        """Return module → bytes of its constants."""

    @cached_property
    @abstractmethod
    def seen(self) -> dict[str, Seen]:
        """Return what all samples gave in every tensor of the float32 model."""

    @cached_property
    @abstractmethod
    def following(self) -> Following:
        """Return what reads each tensor."""

    @abstractmethod
    def quantize(self, tensor_ranges: Ranges, kept: Kept | None = None, only: str = "") -> Model:
        """Return the model with these modules not in 8 bits, or with only one module in integers."""

    @abstractmethod
    def run(self, model: Model | None, inputs: Arrays) -> Arrays:
        """Return the outputs (N, …) by name of a model in integers, or of the float32 model (None)."""

    @abstractmethod
    def size(self, model: Model) -> int:
        """Return the bytes of a model."""

    @abstractmethod
    def latency_ms(self, model: Model | None) -> float:
        """Return the median time of one sample in one thread, as an app runs a model, or the float32 model (None)."""

    @cached_property
    def halves_seen(self) -> tuple[dict[str, Seen], dict[str, Seen]]:
        """Return what either half of the samples gave."""
        middle, end = count(self.parts[0]), count(self.samples)
        first, second = (
            {name: seen.part(*ends) for name, seen in self.seen.items()} for ends in ((0, middle), (middle, end))
        )
        return first, second

    @cached_property
    def references(self) -> tuple[Arrays, Arrays]:
        """Return what float32 gives for the samples of either half that models are measured on."""
        return self.run(None, self.some(self.judged, 0)), self.run(None, self.some(self.judged, 1))

    @cached_property
    def choice(self) -> Choice[Model]:
        """Return the method of ranges that does this model least harm."""
        return chosen(
            self.halves_seen,
            self.following,
            lambda tensor_ranges: self.quantize(tensor_ranges, self.kept),
            self.worth,
            self.methods,
        )

    def ranges(self, seen: Mapping[str, Seen] | None = None, method: str = "") -> dict[str, tuple[float, float]]:
        """Return ranges. seen: what sets them; None: all samples. method: empty: the chosen one."""
        return ranges(self.seen if seen is None else seen, self.following, method or self.choice.method)

    def worth(self, model: Model, half: int) -> Worth:
        """Return what a model is worth on samples of a half, 0 or 1, that set none of its ranges."""
        return Worth.of(self.run(model, self.some(self.judged, half)), self.references[half], self.task)

    def some(self, most: int, half: int = 1) -> Arrays:
        """Return the first samples of a half, by input."""
        return {name: values[:most] for name, values in self.parts[half].items()}

    def repaired(self, sixteen: bool) -> Repaired[Model]:
        """Return the model that meets the tolerance at the least cost, with what is kept in any case.

        sixteen: if layers may have 16 bits.
        """
        first = self.choice.method
        methods = [first, *(method for method in self.methods if method != first)]
        distinct = {repr(sorted(self.ranges(self.halves_seen[0], method).items())): method for method in methods[::-1]}
        return repair.repair(
            {module: size for module, size in self.weights.items() if module not in self.fixed},
            self.alone,
            self.attempt,
            [method for method in methods if method in distinct.values()],
            self.latency_ms(None) if sixteen else None,
            self.kept,
        )

    def alone(self, module: str) -> float:
        """Return the SQNR in dB with only this module in integers, in ranges of the first half."""
        inputs = self.some(repair.RANKED)
        model = self.quantize(self.ranges(self.halves_seen[0]), only=module)
        return self_check.least(self.run(model, inputs), self.run(None, inputs), self.task)

    def attempt(self, method: str, kept: Kept) -> tuple[Score, Model | None]:
        """Return what the model with these modules not in 8 bits is worth, in ranges of the first half, and the model.

        None, and no number: it cannot be had, such as for an operator that no runtime has in 16 bits.
        """
        inputs = self.some(min(repair.SAMPLES, max(repair.RANKED, JUDGED_VALUES // self.values)))
        try:
            model = self.quantize(self.ranges(self.halves_seen[0], method), kept)
            actual = self.run(model, inputs)
        except (RuntimeError, ValueError) as error:
            if kept == self.kept:
                raise
            print(f"{kept.words}: {type(error).__name__}: {error}")
            return Score(math.nan, 0.0, count(inputs), 0), None
        score = repair.score(actual, self.run(None, inputs), self.task, self.size(model), self.latency_ms(model))
        return score, model

    def halves(self, kept: Kept | None = None, method: str = "") -> dict[str, Any]:
        """Return how far the models of the two halves lie apart, and how ranges were set, for a manifest.

        Far apart says that samples are too few. method: of ranges; empty: the chosen one.
        """
        kept, method = self.kept if kept is None else kept, method or self.choice.method
        models: Sequence[Model] = self.choice.models
        if (kept, method) != (self.kept, self.choice.method):
            models = [self.quantize(self.ranges(half, method), kept) for half in self.halves_seen]
        return self.apart(models) | {"calibration_method": method}

    def apart(self, models: Sequence[Model]) -> dict[str, Any]:
        """Return the detail of a manifest that says how far two models lie apart."""
        inputs = {name: values[:HALVES] for name, values in self.samples.items()}
        first, second = (self.run(model, inputs) for model in models)
        ratio = self_check.least(first, second, self.task)
        return {"calibration_halves_sqnr_db": self_check.rounded(ratio)}


CALLS, WITHIN_S = 20, 1.0
"""Calls of one sample whose median is its time, at most, and the seconds they may take."""


def timed(call: Callable[[], Any]) -> float:
    """Return the median time of a call in milliseconds, after one that does not count."""
    call()
    times: list[float] = []
    while len(times) < CALLS and (not times or sum(times) < WITHIN_S):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return 1000 * statistics.median(times)


def count(samples: Arrays) -> int:
    """Return how many samples named arrays hold."""
    return len(next(iter(samples.values())))
