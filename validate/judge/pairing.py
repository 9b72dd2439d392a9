"""Puts what an artifact found in golden's order, for whatever it was run on, before anything is compared.

    ready, ties = paired(task, fair, actual, proof, count)
    ready.golden["boxes"]                      # (N, D, 4): each box in the place of its partner

Of most tasks every value has its place, and nothing is moved. What is missing or of another shape stays as it is, to be
told as such where it is judged.
"""

from collections.abc import Mapping
from dataclasses import replace
from typing import Protocol

import numpy as np

from measures import tasks
from measures.distance import floor_of
from measures.tasks import Fair
from measures.tolerance import Tolerance, allowed_noise
from records.golden import Actual, Proof
from records.tensor import Array, Arrays


class Known(Protocol):
    """Any samples with PyTorch's outputs."""

    @property
    def outputs(self) -> Arrays:
        """Return PyTorch's outputs (N, …) by name."""

    @property
    def rivals(self) -> Arrays:
        """Return what it all but chose, as `Golden.rivals`."""


def fairness(table: tuple[Tolerance, ...], golden: Arrays, oracle: Arrays, thresholds: Mapping[str, float]) -> Fair:
    """Return what leaves a decision to rounding: noise that a table allows each output of floats, and thresholds."""
    noise = {
        name: allowed_noise(table, values, floor_of(values, oracle[name]))
        for name, values in golden.items()
        if values.size and np.issubdtype(values.dtype, np.floating)
    }
    return Fair(noise, thresholds)


def paired(task: tasks.Task, fair: Fair, actual: Actual, proof: Proof, count: int) -> tuple[Actual, Array]:
    """Return outputs in the order of what PyTorch gave for the same inputs, and the ties of golden's samples (N,).

    count: golden samples that were run.
    """
    ties = np.zeros(count, np.int64)

    def ordered(values: Arrays, reference: Arrays, rivals: Arrays) -> Arrays:
        fits = values and all(
            name in values and values[name].shape == rows.shape and values[name].dtype.kind == rows.dtype.kind
            for name, rows in reference.items()
        )
        return {**values, **task.pair(values, reference, replace(fair, rivals=rivals)).outputs} if fits else values

    def first(values: Arrays, known: Known | None) -> Arrays:
        """Return outputs of the first samples of what is known in its order."""
        if known is None:
            return values
        rows = len(next(iter(values.values()), ()))
        sides = ({name: each[:rows] for name, each in side.items()} for side in (known.outputs, known.rivals))
        return ordered(values, *sides)

    def keyed(values: Arrays, each: Mapping[str, Known]) -> Arrays:
        """Return outputs by what stands before their names, each in the order of what is known."""
        found: dict[str, Array] = {}
        for key, known in each.items():
            part = {name.partition(".")[2]: rows for name, rows in values.items() if name.partition(".")[0] == key}
            found |= {f"{key}.{name}": rows for name, rows in first(part, known).items()}
        return {**values, **found}

    rivals = proof.golden.rivals
    expected = {name: values[:count] for name, values in proof.golden.outputs.items()}
    golden = actual.golden
    if all(name in golden and golden[name].shape == rows.shape for name, rows in expected.items()):
        pairs = task.pair(golden, expected, replace(fair, rivals={name: rows[:count] for name, rows in rivals.items()}))
        golden, ties = {**golden, **pairs.outputs}, pairs.ties
    return (
        Actual(
            golden=golden,
            together=first(actual.together, proof.golden),
            again=first(actual.again, proof.golden),
            alone=first(actual.alone, proof.golden),
            file=first(actual.file, proof.probes),
            training=first(actual.training, proof.probes),
            pattern=first(actual.pattern, proof.patterns),
            sized=keyed(actual.sized, {str(place): sized for place, sized in enumerate(proof.sizes)}),
            batches=keyed(
                actual.batches, dict.fromkeys((name.partition(".")[0] for name in actual.batches), proof.golden)
            ),
            fresh=first(actual.fresh, proof.fresh),
            further=first(actual.further, proof.further),
            last=first(actual.last, proof.golden),
        ),
        ties,
    )
