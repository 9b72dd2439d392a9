"""Judges what was measured: outputs against golden, every difference against the table, and red flags.

    result = judge(row, outputs, golden, measured)

Pure: numbers in, a Result out. Everything is computed before anything is judged.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from export.artifact import Artifact
from validate import flags, tasks
from validate.compare import agreement, compare, histogram, sqnr_db
from validate.report import (
    Agreement,
    Decided,
    Histogram,
    Judgement,
    Latency,
    Metric,
    Output,
    Result,
    Sample,
    Status,
)
from validate.tolerance import LITTLE_HEADROOM, Tolerance, allowed

Array = np.ndarray[Any, Any]
Arrays = dict[str, Array]
TOGETHER, AGAIN, ALONE = "together.", "again.", "alone."
"""What `measure` puts before an output's name: of a few inputs in one call, of the same again, of each by itself."""
WORST = 6
"""Samples that a result names."""


@dataclass(frozen=True)
class Row:
    """One artifact in one runtime: all that is known before it is run."""

    artifact: Artifact | None
    target: str
    precision: str
    runtime: str
    backend: str
    command: str
    """Runs this row alone once more."""
    log: Path | None = None
    """Relative to the run's folder."""
    overrides: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The configuration's tolerances."""

    @property
    def name(self) -> str:
        """`tflite/int8 in litert xnnpack`."""
        return f"{self.target}/{self.precision} in {self.runtime} {self.backend}".rstrip()

    def unmeasured(self, status: Status, reason: str, settled: bool = False) -> Result:
        """The result where there are no outputs."""
        return self.result(status=status, reason=reason, settled=settled)

    def result(self, **values: Any) -> Result:
        """A Result of this row; what is not given is empty."""
        empty: dict[str, Any] = {
            "runtime_version": None,
            "flags": [],
            "warnings": [],
            "outputs": [],
            "agreement": None,
            "metric": None,
            "from_file": None,
            "decisions": [],
            "worst": [],
            "latency_ms": None,
            "samples": 0,
        }
        return Result(
            target=self.target,
            precision=self.precision,
            runtime=self.runtime,
            backend=self.backend,
            size_bytes=self.artifact.size_bytes if self.artifact else None,
            artifact_sha256=self.artifact.sha256 if self.artifact else None,
            command=self.command,
            log=str(self.log) if self.log else None,
            **empty | values,
        )


def judge(row: Row, actual: Arrays, golden: Arrays, measured: Mapping[str, Any]) -> Result:
    """Outputs of the first golden inputs against golden, and all differences against the table."""
    artifact = row.artifact
    assert artifact
    count, task = int(measured["samples"]), tasks.load(artifact.task)
    table = allowed(artifact.precision, row.overrides)
    expected = {tensor.name: golden[f"output.{tensor.name}"][:count] for tensor in artifact.outputs}
    oracle = {tensor.name: golden[f"oracle.{tensor.name}"][:count] for tensor in artifact.outputs}
    beside = {name: value for name, value in actual.items() if name.startswith((TOGETHER, AGAIN, ALONE))}
    actual = {name: value for name, value in actual.items() if name not in beside}
    problems: list[str] = []
    if count == 0:
        problems.append("no golden input was run")
    for name in sorted(set(actual) - set(expected)):
        problems.append(f"{name}: an output that golden does not have")
    outputs: list[Output] = []
    for name, reference in expected.items():
        if name not in actual:
            problems.append(f"{name}: missing among the outputs ({', '.join(actual)})")
            continue
        try:
            outputs.append(_output(name, actual[name], reference, oracle[name], table))
        except ValueError as error:
            problems.append(f"{name}: {error}")
    whole = len(outputs) == len(expected) and count > 0
    found: dict[str, Any] = {}
    red: list[str] = []
    if whole:
        decided = _Decisions.of(task, actual, expected, golden["labels"][:count], oracle)
        found = {
            "agreement": decided.agreed(table),
            "metric": decided.scored(task, table),
            "decisions": decided.pairs(),
            "worst": decided.worst(actual, expected),
        }
        finite = [output for output in outputs if not output.not_finite]
        red = [flag for one in finite for flag in flags.values(one.name, actual[one.name], expected[one.name])]
        red += [flag for one in finite for flag in flags.precision(one.name, artifact.precision, one.sqnr_db or 0)]
        red += flags.decisions(decided.actual, decided.golden, decided.tied, artifact.labels)
        red += _steady(outputs, beside, golden, table)
    judged = [one.judgement for one in (found.get("agreement"), found.get("metric")) if one]
    problems += _beyond(outputs, found.get("agreement"), found.get("metric"), count) + red
    warnings = [
        f"little headroom: {_wording(one)}"
        for one in [*(one for output in outputs for one in output.judgements), *judged]
        if one.within and one.headroom is not None and one.headroom < LITTLE_HEADROOM
    ]
    return row.result(
        runtime_version=measured["runtime_version"],
        status="fail" if problems or not whole else "pass",
        settled=not problems and whole,
        reason="; ".join(problems),
        flags=red,
        warnings=warnings,
        outputs=outputs,
        latency_ms=Latency(**measured["latency_ms"]),
        samples=count,
        **found,
    )


def floor_of(golden: Array, oracle: Array) -> float:
    """One noise floor of an output, in its unit: golden's greatest distance from the oracle.

    Values beyond float32's own resolution cannot be asked for, whatever luck golden had.
    """
    resolution = float(np.abs(golden).max() * np.finfo(np.float32).eps)
    return max(float(np.abs(golden - oracle).max()), resolution)


def _output(name: str, actual: Array, golden: Array, oracle: Array, table: Sequence[Tolerance]) -> Output:
    difference = compare(actual, golden)
    judgements = [
        judgement(tolerance.of(floor_of(golden, oracle), len(golden)), getattr(difference, tolerance.measure))
        for tolerance in table
        if hasattr(difference, tolerance.measure)
    ]
    return Output(
        name=name,
        noise_floor=float(np.abs(golden - oracle).max()),
        histogram=None if difference.not_finite else Histogram(*histogram(actual, golden)),
        judgements=judgements,
        **dataclasses.asdict(difference) | {"worst": list(difference.worst)},
    )


@dataclass(frozen=True)
class _Decisions:
    """What golden and the artifact decide, sample by sample."""

    actual: Array
    golden: Array
    labels: Array
    tied: Array
    """(N,) bool: decided by golden by less than its noise floor."""

    @classmethod
    def of(cls, task: tasks.Task, actual: Arrays, golden: Arrays, labels: Array, oracle: Arrays) -> "_Decisions":
        floor = max(floor_of(golden[name], oracle[name]) for name in golden)
        return cls(task.decide(actual), task.decide(golden), labels, task.margin(golden) < floor)

    @property
    def fair(self) -> Array:
        """The artifact's decisions; golden's where golden itself might have decided otherwise."""
        return np.where(self.tied, self.golden, self.actual)

    def agreed(self, table: Sequence[Tolerance]) -> Agreement:
        share = agreement(self.fair, self.golden)
        return Agreement(share, int(self.tied.sum()), judgement(self._limit(table, "agreement"), share))

    def scored(self, task: tasks.Task, table: Sequence[Tolerance]) -> Metric:
        before, after = task.score(self.golden, self.labels), task.score(self.actual, self.labels)
        fall = max(0.0, before - task.score(self.fair, self.labels))
        return Metric(task.METRIC, before, after, after - before, judgement(self._limit(table, "metric_fall"), fall))

    def _limit(self, table: Sequence[Tolerance], measure: str) -> Tolerance:
        return next(one for one in table if one.measure == measure).of(1.0, len(self.golden))

    def pairs(self) -> list[Decided]:
        """How often each pair of decisions occurs."""
        both, counts = np.unique(np.stack([self.golden, self.actual]), axis=1, return_counts=True)
        return [
            Decided(int(theirs), int(ours), int(count)) for (theirs, ours), count in zip(both.T, counts, strict=True)
        ]

    def worst(self, actual: Arrays, golden: Arrays) -> list[Sample]:
        """The samples decided otherwise, then those whose outputs lie farthest apart."""
        gaps = [np.abs(actual[name].astype(np.float64) - golden[name]).reshape(len(self.golden), -1) for name in golden]
        distance = np.max([np.where(np.isnan(gap), np.inf, gap).max(axis=1) for gap in gaps], axis=0)
        order = np.lexsort((-distance, self.actual == self.golden))[:WORST]
        return [
            Sample(
                int(index),
                float(distance[index]) if np.isfinite(distance[index]) else float("nan"),
                int(self.labels[index]),
                int(self.golden[index]),
                int(self.actual[index]),
            )
            for index in order
        ]


def _steady(outputs: Sequence[Output], beside: Arrays, golden: Arrays, table: Sequence[Tolerance]) -> list[str]:
    """Flags of what was run once more: the same again, and a batch's rows each alone."""
    found = []
    for output in outputs:
        name = output.name
        floor = floor_of(golden[f"output.{name}"], golden[f"oracle.{name}"])
        first, again, alone = (beside.get(f"{kind}{name}") for kind in (TOGETHER, AGAIN, ALONE))
        if first is None or again is None:
            found.append(f"{name}: was not run a second time, so nobody knows whether it is repeatable")
            continue
        found += flags.repeats(name, first, again, floor)
        if alone is not None and not np.isnan(alone).any():
            gap, ratio = float(np.abs(alone - first).max()), sqnr_db(first, alone)
            limits = {one.measure: one.of(floor, len(alone)) for one in table}
            within = limits["max_absolute"].within(gap) if "max_absolute" in limits else limits["sqnr_db"].within(ratio)
            if not within:
                found.append(
                    f"{name}: a batch of {len(alone)} gives other rows than its images one by one "
                    f"(greatest difference {gap:.3g}, SQNR {ratio:.1f} dB)"
                )
    return found


def judgement(tolerance: Tolerance, measured: float) -> Judgement:
    """One number against one limit, which is in the number's own unit."""
    return Judgement(
        measure=tolerance.measure,
        measured=measured,
        allowed=tolerance.allowed,
        upper=tolerance.upper,
        headroom=tolerance.headroom(measured),
        within=tolerance.within(measured),
        reason=tolerance.reason,
        source=tolerance.source,
        by_default=tolerance.by_default,
    )


def _beyond(outputs: Sequence[Output], agreed: Agreement | None, metric: Metric | None, count: int) -> list[str]:
    """A sentence for every judgement that is not within tolerance."""
    found = []
    for output in outputs:
        if output.not_finite:
            found.append(
                f"{output.name}: {output.not_finite} values are NaN or infinite, the first at {tuple(output.worst)}"
            )
            continue
        found += [
            f"{output.name}: {_wording(one)}, greatest difference at {tuple(output.worst)}"
            for one in output.judgements
            if not one.within
        ]
    if agreed and not agreed.judgement.within:
        found.append(
            f"{round((1 - agreed.share) * count)} of {count} decisions differ from golden's: "
            f"{_wording(agreed.judgement)}"
        )
    if metric and not metric.judgement.within:
        found.append(f"{metric.name} {metric.golden:.4f} → {metric.actual:.4f}: {_wording(metric.judgement)}")
    return found


def _wording(one: Judgement) -> str:
    measured = "NaN" if one.measured is None else f"{one.measured:.4g}"
    return f"{one.measure} {measured} ({'at most' if one.upper else 'at least'} {one.allowed:.4g} allowed)"
