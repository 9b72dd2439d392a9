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
from records.tensor import Arrays

GROUPS = 16
"""Groups of samples whose own scores are compared, where a score of samples is not the mean of theirs."""
ONE_SIDED = 1.645
"""Standard errors of a normal distribution that 95 % lie above."""


@dataclass(frozen=True)
class Fall:
    """A fall of a metric, in the metric's unit."""

    value: float
    """Golden's metric less the artifact's; negative: it rose."""
    deviation: float
    """Standard deviation of the samples' own changes."""
    samples: int

    @property
    def sure(self) -> float:
        """Return the least that the fall is, with 95 % confidence; 0: it may be none."""
        return max(0.0, self.value - ONE_SIDED * self.deviation / math.sqrt(self.samples))

    def needed(self, limit: float) -> int:
        """Return how many samples would tell that a fall as great as this one is beyond a limit, which it is."""
        return math.ceil((ONE_SIDED * self.deviation / (self.value - limit)) ** 2)


def fall_of(task: Task, golden: Arrays, actual: Arrays, truth: Arrays) -> Fall:
    """Return how far the metric falls from golden's outputs to actual ones, each (N, …) by name."""
    count = len(next(iter(golden.values())))
    if all(np.array_equal(actual[name], values) for name, values in golden.items()):
        return Fall(0.0, 0.0, count)
    size = 1 if task.MEAN_OF_SAMPLES else math.ceil(count / GROUPS)

    def change(first: int) -> float:
        before, after, right = (
            {name: values[first : first + size] for name, values in arrays.items()}
            for arrays in (golden, actual, truth)
        )
        return task.score(before, right) - task.score(after, right)

    changes = [known for first in range(0, count, size) if math.isfinite(known := change(first))]
    deviation = float(np.std(changes, ddof=1)) * math.sqrt(size) if len(changes) > 1 else 0.0
    return Fall(task.score(golden, truth) - task.score(actual, truth), deviation, count)
