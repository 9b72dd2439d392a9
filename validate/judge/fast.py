"""Compares slow runtimes with fast ones: what was judged on golden alone, with what was judged on further samples, too.

    results = compared(results, measurements, proof)

A slow runtime takes no further samples. That its decisions on golden are those of a runtime that took them says what
its own few samples cannot.
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from measures import tasks
from records.golden import Golden, Proof
from records.tensor import Array
from validate.measure import Measurement
from validate.report.records import Result


def compared(task: str, results: Sequence[Result], measurements: Sequence[Measurement], proof: Proof) -> list[Result]:
    """Return the results; each that took none of the further samples says how it decides beside one that did.

    task: the checkpoint's.
    """
    pairs = list(zip(results, measurements, strict=True))
    fast = {_artifact(pair[0]): pair for pair in reversed(pairs) if pair[0].further and pair[0].further.samples}
    return [
        _beside(task, *pair, *fast[_artifact(pair[0])], proof.golden)
        if pair[0].further and not pair[0].further.samples and pair[0].agreement and _artifact(pair[0]) in fast
        else pair[0]
        for pair in pairs
    ]


def _artifact(result: Result) -> tuple[str, str]:
    return result.target, result.precision


def _beside(
    task: str, slow: Result, measured: Measurement, fast: Result, reference: Measurement, golden: Golden
) -> Result:
    """Return a slow row's result with the number of golden inputs that a fast one decides otherwise."""
    assert slow.further
    count = min(slow.samples, fast.samples)
    ours, theirs = (_decisions(task, each, golden, count) for each in (measured, reference))
    differ = int((ours != theirs).reshape(count, -1).any(axis=1).sum())
    return dataclasses.replace(slow, further=dataclasses.replace(slow.further, fast=fast.where, differ=differ))


def _decisions(name: str, measurement: Measurement, golden: Golden, count: int) -> Array:
    """Return what a row decides on the first golden inputs (count, …), in golden's order."""
    task, outputs = tasks.load(name), measurement.outputs().golden
    expected = {key: values[:count] for key, values in golden.outputs.items()}
    actual = {key: outputs[key][:count] for key in expected}
    return np.asarray(task.decide({**actual, **task.pair(actual, expected, tasks.Fair()).outputs}))
