"""What golden and an artifact decide, sample by sample: how much of it is the same, and what that is worth.

decided = Decisions(task, labels, actual, golden, oracle, truth, table, more)
decided.agreed(table), decided.scored(table)
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from export.artifact import Artifact
from measures import flags, tasks
from measures.confidence import fall_of
from measures.distance import NOTHING, agreement, counted, floor_of
from measures.tolerance import INTEGERS, Tolerance, fair_margin
from records.golden import Actual, Further
from records.tensor import Array, Arrays
from validate.judge.judgements import judgement
from validate.report.records import Agreement, Decided, Metric, Sample
from validate.report.records import Further as Told
from validate.runtimes.job import Measured

WORST = 6
"""Samples that a result names."""
TOLD = 4
"""Different decisions of one sample that are said, the most frequent ones."""
THINGS = 10
"""Classes of things that are said of one sample."""


@dataclass(frozen=True)
class More:
    """An artifact's outputs for further samples, PyTorch's, and what is right, each (N, …) by name."""

    actual: Arrays
    golden: Arrays
    truth: Arrays

    @property
    def count(self) -> int:
        """Return how many samples there are."""
        return len(next(iter(self.golden.values())))


def of_further(
    task: tasks.Task, artifact: Artifact, actual: Actual, measured: Measured, further: Further | None
) -> tuple[More | None, list[str]]:
    """Return the further samples of a row of integers, and a sentence for each output that cannot be right.

    None: there are none, all would have taken too long, or they cannot be compared.
    """
    if further is None or artifact.precision not in INTEGERS or (measured.further and not measured.further.samples):
        return None, []
    names = [tensor.name for tensor in artifact.outputs]
    golden = {name: further.outputs[name] for name in names}
    unfit = [
        f"further samples: {name}: none was run, or another shape was given"
        for name in names
        if name not in actual.further or actual.further[name].shape != golden[name].shape
    ]
    if unfit:
        return None, unfit
    for name in names:
        count = int((~np.isfinite(actual.further[name]) & np.isfinite(golden[name])).sum())
        if count:
            unfit.append(f"further samples: {name}: {count} values are NaN or infinite")
    return More({name: actual.further[name] for name in names}, golden, further.truth), unfit


def told_further(measured: Measured, further: Further | None, more: More | None) -> Told | None:
    """Return what a result says of further samples; None: there were none for its row."""
    if further is None or measured.further is None:
        return None
    return Told(more.count if more else 0, further.count, measured.further.seconds)


def _joined(first: Arrays, second: Arrays) -> dict[str, Array]:
    """Return the samples of both, one after the other, of each array that the first has."""
    return {name: np.concatenate([values, second[name]]) for name, values in first.items()}


class Decisions:
    """What golden and the artifact decide, sample by sample."""

    def __init__(
        self,
        task: tasks.Task,
        labels: Sequence[str],
        actual: Arrays,
        golden: Arrays,
        oracle: Arrays,
        truth: Arrays,
        table: Sequence[Tolerance],
        more: More | None = None,
        ties: int = 0,
    ):
        """Take golden's outputs and truth first; the margin that is fair is golden's alone.

        actual: in golden's order. ties: decisions that only one of both makes, and that rounding decides about.
        """
        self._ties = ties
        fair = max(fair_margin(table, golden[name], floor_of(golden[name], oracle[name])) for name in golden)
        self.first = len(next(iter(golden.values())))
        """Number of golden samples, which come first."""
        if more:
            actual, golden, truth = (
                _joined(actual, more.actual),
                _joined(golden, more.golden),
                _joined(truth, more.truth),
            )
        self._task, self._truth = task, truth
        self._actual_outputs, self._golden_outputs = actual, golden
        self.actual, self.golden = task.decide(actual), task.decide(golden)
        """(N, …) integers."""
        self.tied = task.margin(golden) < fair
        """(N, …) bool: decided by golden by less than what is allowed may turn over."""
        self.names = task.names(labels)

    def flags(self, count: int) -> list[str]:
        """Return a flag for each decision that golden takes on the first `count` samples and the artifact never."""
        return flags.decisions(self.actual[:count], self.golden[:count], self.tied[:count], self.names)

    def agreed(self, table: Sequence[Tolerance]) -> Agreement | None:
        """Judge the share of decisions that are golden's, or might have been; None: the task decides nothing."""
        if not self.golden.size:
            return None
        share = agreement(np.where(self.tied, self.golden, self.actual), self.golden)
        return Agreement(share, self._ties + int(self.tied.sum()), judgement(self._limit(table, "agreement"), share))

    @property
    def count(self) -> int:
        """Return how many decisions golden or the artifact makes."""
        return int(((self.golden != NOTHING) | (self.actual != NOTHING)).sum())

    def scored(self, table: Sequence[Tolerance]) -> Metric | None:
        """Judge how far the metric surely falls; None: nobody said what is right, or the task has no metric."""
        task, truth = self._task, self._truth
        if not truth or not task.METRIC:
            return None
        fall, limit = (
            fall_of(task, self._golden_outputs, self._actual_outputs, truth),
            self._limit(table, "metric_fall"),
        )
        judged = judgement(limit, fall.sure)
        needed = fall.needed(limit.allowed) if judged.within and fall.value > limit.allowed else None
        return Metric(task.METRIC, fall.before, fall.after, -fall.value, judged, needed)

    def _limit(self, table: Sequence[Tolerance], measure: str) -> Tolerance:
        return next(row for row in table if row.measure == measure).of(len(self.golden))

    def pairs(self) -> list[Decided]:
        """Return how often each pair of decisions occurs."""
        names, pairs = self.names, counted(self.golden, self.actual)
        pairs.pop((NOTHING, NOTHING), None)
        return [Decided(called(before, names), called(after, names), count) for (before, after), count in pairs.items()]

    def worst(self) -> list[Sample]:
        """Return the golden samples decided otherwise, then those whose outputs lie farthest apart."""
        first = self.first
        gaps = [
            np.abs(self._actual_outputs[name][:first].astype(np.float64) - values[:first]).reshape(first, -1)
            for name, values in self._golden_outputs.items()
        ]
        distance = np.max([np.where(np.isnan(gap), np.inf, gap).max(axis=1) for gap in gaps], axis=0)
        equal_parts = (self.actual == self.golden)[:first].reshape(first, -1)
        same = equal_parts.mean(axis=1) if self.golden.size else np.ones(first)
        labelled = self._task.labelled(self._truth) if self._truth else None
        in_place = self._task.IN_PLACE
        return [
            Sample(
                int(index),
                float(distance[index]) if np.isfinite(distance[index]) else float("nan"),
                told(labelled[index], self.names, in_place) if labelled is not None else "",
                told(self.golden[index], self.names, in_place),
                told(self.actual[index], self.names, in_place),
                float(same[index]),
            )
            for index in np.lexsort((-distance, same))[:WORST]
        ]


def called(decision: int, names: Mapping[int, str]) -> str:
    """Return what a decision is called; one that has no name, for no label is so great, by its number."""
    return names.get(decision, f"unknown {decision}")


def told(decision: Array, names: Mapping[int, str], in_place: bool = True) -> str:
    """Return a sample's decision (…) in words: `cat`; of more than one, each with its share: `cat 61%, dog 39%`.

    in_place: False where things are found in any order; then each with how many there are: `cat, dog ×2`.
    """
    if not in_place:
        values, counts = np.unique(decision[decision != NOTHING], return_counts=True)
        words = [called(int(value), names) for value in values]
        things = [word if count == 1 else f"{word} ×{count}" for word, count in zip(words, counts, strict=True)]
        return ", ".join(things[:THINGS]) + ", …" * (len(things) > THINGS) or "nothing"
    values, counts = np.unique(decision, return_counts=True)
    if not decision.size:
        return ""
    if decision.size == 1:
        return called(int(values[0]), names)
    most = np.argsort(-counts, kind="stable")[:TOLD]
    return ", ".join(f"{called(int(values[place]), names)} {counts[place] / decision.size:.0%}" for place in most)
