"""How sure a fall of a metric is, from the samples that it was measured on: paired, one-sided, 95 %.

    fall = fall_of(task, golden.outputs, actual, golden.truth)
    fall.sure                                  # the least that it is, with 95 % confidence

Both models saw the same samples, so what counts is how each sample's own score changes: five samples lost and none
gained are more certain than fifteen lost and ten gained. Pure numpy.
"""

import math
from dataclasses import dataclass

import numpy as np

from measures.tasks import Task
from records.sealed import fingerprints
from records.tensor import Arrays

GROUPS = 16
"""Groups of samples whose own scores are compared, where a score of samples is not the mean of theirs."""
KEPT = 16
"""Outputs whose scores are kept: golden's, of as many samples as a row took."""
ONE_SIDED = 1.645
"""Standard errors of a normal distribution that 95 % lie above."""


@dataclass(frozen=True)
class Fall:
    """A fall of a metric, in the metric's unit."""

    before: float
    """Golden's metric."""
    after: float
    """The artifact's."""
    deviation: float
    """Standard deviation of the samples' own changes."""
    samples: int

    @property
    def value(self) -> float:
        """Return golden's metric less the artifact's; negative: it rose."""
        return self.before - self.after

    @property
    def sure(self) -> float:
        """Return the least that the fall is, with 95 % confidence; 0: it may be none."""
        return max(0.0, self.value - ONE_SIDED * self.deviation / math.sqrt(self.samples))

    def needed(self, limit: float) -> int:
        """Return how many samples would tell that a fall as great as this one is beyond a limit, which it is."""
        return math.ceil((ONE_SIDED * self.deviation / (self.value - limit)) ** 2)


@dataclass(frozen=True)
class _Scored:
    """What outputs are worth."""

    whole: float
    parts: tuple[float, ...]
    """Of one group of samples after the other."""


def fall_of(task: Task, golden: Arrays, actual: Arrays, truth: Arrays) -> Fall:
    """Return how far the metric falls from golden's outputs to actual ones, each (N, …) by name."""
    count = len(next(iter(golden.values())))
    size = 1 if task.MEAN_OF_SAMPLES else math.ceil(count / GROUPS)
    before, after = (_scored(task, outputs, truth, size) for outputs in (golden, actual))
    changes = [one - other for one, other in zip(before.parts, after.parts, strict=True)]
    known = [change for change in changes if math.isfinite(change)]
    deviation = float(np.std(known, ddof=1)) * math.sqrt(size) if len(known) > 1 else 0.0
    return Fall(before.whole, after.whole, deviation, count)


def _scored(task: Task, outputs: Arrays, truth: Arrays, size: int) -> _Scored:
    """Return what outputs are worth, and each group of `size` samples; golden's are asked for with every row."""
    marks = (mark for side in (outputs, truth) for name in sorted(side) for mark in (name, *fingerprints(side[name])))
    key = "".join((task.METRIC, str(size), *marks))
    scored = _SCORED.pop(key, None)
    if scored is None:
        parts = (
            [{name: values[first : first + size] for name, values in side.items()} for side in (outputs, truth)]
            for first in range(0, len(next(iter(outputs.values()))), size)
        )
        scored = _Scored(task.score(outputs, truth), tuple(task.score(*part) for part in parts))
    while len(_SCORED) >= KEPT:
        del _SCORED[next(iter(_SCORED))]
    _SCORED[key] = scored  # the last one that was asked for
    return scored


_SCORED: dict[str, _Scored] = {}
