"""A float32 model on its way to integers: what is measured on calibration samples, whatever the format.

    class Litert(Quantizing[bytes]): ...         # how one format observes, quantizes and runs
    model = litert.quantize(litert.ranges())     # in ranges by the method that does this model least harm

Runs inside toolchains: numpy only.
"""

from abc import ABC, abstractmethod
from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import Any, Generic

import numpy as np

from export import self_check
from export.quantize import keep_float
from export.quantize.ranges import METHODS, Choice, Following, Model, Ranges, Seen, Worth, chosen, ranges
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
        self.parts = keep_float.divided(samples)
        """Two halves: each sets ranges of models that the other is to measure."""
        values = sum(int(np.prod(array.shape[1:])) for array in samples.values())
        self.judged = max(1, min(judged, JUDGED_VALUES // max(1, values), count(self.parts[0])))
        """Samples of a half that models are measured on."""
        self.kept: Collection[str] = ()
        """Modules that stay in float32, whatever method sets the ranges of the others."""

    @cached_property
    @abstractmethod
    def places(self) -> dict[str, str]:
        """Return operator → the module it is part of."""

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
    def quantize(self, tensor_ranges: Ranges, float_layers: Collection[str] = (), only: str = "") -> Model:
        """Return the model with these modules in float32, or with only one module in integers."""

    @abstractmethod
    def run(self, model: Model | None, inputs: Arrays) -> Arrays:
        """Return the outputs (N, …) by name of a model in integers, or of the float32 model (None)."""

    @abstractmethod
    def size(self, model: Model) -> int:
        """Return the bytes of a model."""

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

    def ranges(self, seen: Mapping[str, Seen] | None = None) -> dict[str, tuple[float, float]]:
        """Return ranges by that method. seen: what sets them; None: all samples."""
        return ranges(self.seen if seen is None else seen, self.following, self.choice.method)

    def worth(self, model: Model, half: int) -> Worth:
        """Return what a model is worth on samples of a half, 0 or 1, that set none of its ranges."""
        return Worth.of(self.run(model, self.some(self.judged, half)), self.references[half], self.task)

    def some(self, most: int, half: int = 1) -> Arrays:
        """Return the first samples of a half, by input."""
        return {name: values[:most] for name, values in self.parts[half].items()}

    def alone(self, module: str) -> float:
        """Return the SQNR in dB with only this module in integers, in ranges of the first half."""
        inputs = self.some(keep_float.RANKED)
        model = self.quantize(self.ranges(self.halves_seen[0]), only=module)
        return self_check.least(self.run(model, inputs), self.run(None, inputs))

    def attempt(self, float_layers: Collection[str]) -> keep_float.Score:
        """Return the score with these modules in float32, in ranges of the first half."""
        model, inputs = self.quantize(self.ranges(self.halves_seen[0]), float_layers), self.some(keep_float.SAMPLES)
        return keep_float.score(self.run(model, inputs), self.run(None, inputs), self.task, self.size(model))

    def halves(self, float_layers: Collection[str] = ()) -> dict[str, Any]:
        """Return how far the models of the two halves lie apart, and how ranges were set, for a manifest.

        Far apart says that samples are too few.
        """
        models: Sequence[Model] = self.choice.models
        if list(float_layers) != list(self.kept):
            models = [self.quantize(self.ranges(half), float_layers) for half in self.halves_seen]
        return self.apart(models) | {"calibration_method": self.choice.method}

    def apart(self, models: Sequence[Model]) -> dict[str, Any]:
        """Return the detail of a manifest that says how far two models lie apart."""
        inputs = {name: values[:HALVES] for name, values in self.samples.items()}
        ratio = self_check.least(*(self.run(model, inputs) for model in models))
        return {"calibration_halves_sqnr_db": self_check.rounded(ratio)}


def count(samples: Arrays) -> int:
    """Return how many samples named arrays hold."""
    return len(next(iter(samples.values())))
