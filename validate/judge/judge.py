"""Judges what was measured: outputs against golden, every difference against the table, and red flags.

    result = judge(row, measurement, proof)

Numbers in, a Result out. Everything is computed before anything is judged.
"""

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from safetensors import SafetensorError

from export.artifact import Artifact
from measures import flags, tasks
from measures.distance import (
    STRANGE_TIMES,
    floor_of,
    sqnr_db,
    sqnr_of_most_db,
    strange_samples,
)
from measures.tolerance import (
    BUILT_DB,
    BUILT_SAMPLES,
    INTEGER_DB,
    INTEGERS,
    LITTLE_HEADROOM,
    OF_MOST_SAMPLES,
    ORACLE_DB,
    Tolerance,
    allowed,
)
from records.golden import Actual, Golden, Proof
from records.tensor import Array, Arrays, preparations
from validate.judge.decisions import Decisions, of_further, told_further
from validate.judge.judgements import wording
from validate.judge.outputs import beyond, least_db, of_floats, output_of
from validate.judge.pairing import fairness, paired
from validate.judge.probed import from_image_files, of_fresh, of_patterns, of_sizes, tight
from validate.measure import Measurement
from validate.plan import Row, quantization
from validate.report.records import (
    FromFile,
    Judgement,
    Output,
    Probe,
    Result,
)
from validate.runtimes.job import Measured
from validate.runtimes.runner import LEAST

DOUBLING_DB = 3.0
"""What twice as many calibration samples bring the models of two halves nearer by: of 16 to 256 samples, mnasnet1_0's
models lay 27 to 39 dB apart."""


def judge(row: Row, measurement: Measurement, proof: Proof) -> Result:
    """Return the result of a row: its outputs, its decisions and its image files, judged by the table.

    proof without probes or patterns: nothing is said about image files, or about patterns.
    """
    if measurement.measured is None:
        return row.unmeasured(measurement.status, measurement.reason)
    try:
        actual = measurement.outputs()
    except (OSError, SafetensorError) as error:
        return row.unmeasured("error", f"it left no readable outputs: {error}")
    return result_of(row, measurement.measured, actual, proof)


def result_of(row: Row, measured: Measured, actual: Actual, proof: Proof) -> Result:
    """Return the result of a row that was measured."""
    artifact, golden = row.artifact, proof.golden
    assert artifact
    count, task = measured.samples, tasks.load(artifact.task)
    table = allowed(artifact.precision, task.tolerances(artifact.precision), row.overrides)
    expected = {tensor.name: golden.outputs[tensor.name][:count] for tensor in artifact.outputs}
    oracle = {tensor.name: golden.oracle[tensor.name][:count] for tensor in artifact.outputs}
    problems: list[str] = []
    if count < LEAST:
        problems.append(f"{count or 'no'} golden input{'s were' if count > 1 else ' was'} run; {LEAST} are needed")
    for name in sorted(set(actual.golden) - set(expected)):
        problems.append(f"{name}: an output that golden does not have")
    outputs: list[Output] = []
    actual, ties = paired(task, fairness(table, expected, oracle, artifact.decoding), actual, proof, count)
    for name, reference in expected.items():
        if name not in actual.golden:
            problems.append(f"{name}: missing among the outputs ({', '.join(actual.golden)})")
            continue
        try:
            outputs.append(
                output_of(name, actual.golden[name], reference, oracle[name], table, decided=name in task.DECIDED_BY)
            )
        except ValueError as error:
            problems.append(f"{name}: {error}")
    whole = len(outputs) == len(expected) and count > 0
    decision_fields: dict[str, Any] = {}
    made = 0
    red: list[str] = []
    more, unfit = of_further(task, artifact, actual, measured, proof.further)
    if whole:
        truth = {name: values[:count] for name, values in golden.truth.items()}
        decided = Decisions(task, artifact.labels, actual.golden, expected, oracle, truth, table, more, int(ties.sum()))
        decision_fields = {
            "agreement": decided.agreed(table),
            "metric": decided.scored(table),
            "decisions": decided.pairs(),
            "worst": decided.worst(),
        }
        made = decided.count
        red = _flags(artifact, outputs, decided, actual, golden, table)
    files = proof.probes if preparations(artifact.inputs) else None
    from_file, unfed = from_image_files(row, actual, files, measured) if files else (None, [])
    probed, strange = of_patterns(outputs, actual, proof.patterns, table) if proof.patterns else ([], [])
    if any(tensor.any_size for tensor in artifact.inputs):
        resized, misfits = of_sizes(actual, proof.sizes, [tensor.name for tensor in artifact.outputs], table)
        probed, strange = probed + resized, strange + misfits
    if proof.fresh:
        mixed, wrong = of_fresh(outputs, actual, proof.fresh, golden, table)
        probed, strange = probed + mixed, strange + wrong
    problems += beyond(outputs, decision_fields.get("agreement"), decision_fields.get("metric"), made)
    problems += red + strange + unfed + unfit
    problems += row.misfits
    close = _close(
        [
            *(judgement for output in outputs for judgement in output.judgements),
            *_further_judgements(decision_fields, from_file),
        ],
        probed,
    )
    metric = decision_fields.get("metric")
    if metric and metric.needed:
        first, samples = len(next(iter(golden.outputs.values()))), count + (more.count if more else 0)
        offered = artifact.precision in INTEGERS and metric.needed > first and (more is not None or not proof.further)
        more_by = f"--decisions {metric.needed - first}, or " if offered else ""
        close.append(
            f"{metric.name} {metric.golden:.4f} → {metric.actual:.4f}: {samples} samples are too few to tell whether "
            f"more than {metric.judgement.allowed:.4g} is lost; {metric.needed} would ({more_by}data.golden)"
        )
    unlike = _unlike_its_conversion(artifact, actual, golden, [output.name for output in outputs])
    unlike += _cut_off([one for one in outputs if one.name in task.DECIDED_BY], actual, expected, table)
    integers = [*row.remarks, *([artifact.unquantized] if artifact.unquantized else [])]
    return row.result(
        runtime_version=measured.runtime_version,
        status="fail" if problems or not whole else "pass",
        outcome="blocking" if problems or not whole else "tight" if close or unlike or integers else "pass",
        reason="; ".join(problems),
        flags=[*red, *row.misfits],
        warnings=close + _little_calibration(artifact) + unlike + integers,
        outputs=outputs,
        from_file=from_file,
        probes=probed,
        latency_ms=measured.latency_ms,
        samples=count,
        further=told_further(measured, proof.further, more),
        **decision_fields,
    )


def _flags(
    artifact: Artifact,
    outputs: Sequence[Output],
    decided: "Decisions",
    actual: Actual,
    golden: Golden,
    table: Sequence[Tolerance],
) -> list[str]:
    """Return signs of a broken artifact that numbers alone may hide."""
    # Of integers an unchanging value, or few different ones, says nothing.
    finite = [output for output in outputs if not output.not_finite and of_floats(golden.outputs[output.name])]
    signs = [
        flag
        for output in finite
        for flag in flags.values(output.name, actual.golden[output.name], golden.outputs[output.name][: decided.first])
    ]
    if not artifact.unquantized:
        signs += flags.precision(artifact.precision, {output.name: output.sqnr_db or 0 for output in finite})
    # On golden first: that a decision which is missing there is found among many further samples does not excuse it.
    signs += decided.flags(decided.first) or decided.flags(len(decided.golden))
    return signs + _steady(outputs, actual, golden, table)


def _further_judgements(decision_fields: Mapping[str, Any], from_file: FromFile | None) -> list[Judgement]:
    """Return judgements of decisions, metric and image files, as far as there are any."""
    judgements = [part.judgement for part in (decision_fields.get("agreement"), decision_fields.get("metric")) if part]
    return judgements + (from_file.judgements if from_file else [])


def _close(judgements: Sequence[Judgement], probed: Sequence[Probe]) -> list[str]:
    """Return warnings of what is within tolerance, but not by much."""
    return [
        f"little headroom: {wording(judgement)}"
        for judgement in judgements
        if judgement.within and judgement.headroom is not None and judgement.headroom < LITTLE_HEADROOM
    ] + tight(probed)


def _little_calibration(artifact: Artifact) -> list[str]:
    """Return a warning where two halves of the calibration give models far apart, and how many samples would do."""
    integers = quantization(artifact)
    if integers is None or integers.halves_sqnr_db is None or integers.halves_sqnr_db >= INTEGER_DB:
        return []
    doublings = (INTEGER_DB - integers.halves_sqnr_db) / DOUBLING_DB
    enough = math.ceil(integers.calibration_samples * 2**doublings)
    return [
        f"little calibration: two halves of its {integers.calibration_samples} samples give models "
        f"{integers.halves_sqnr_db:.1f} dB apart ({INTEGER_DB:g} needed); about {enough} samples would do: train with "
        f"data.calibration = {enough}, or adopt with more samples"
    ]


def _unlike_its_conversion(artifact: Artifact, actual: Actual, golden: Golden, names: Sequence[str]) -> list[str]:
    """Return a warning where a runtime computes integers much worse than their conversion did: kernels that differ, or
    scales that are not those that were chosen. Of floats, for a class that is another one is not near or far.
    """
    pairs = [(actual.golden[name], golden.outputs[name]) for name in names if of_floats(golden.outputs[name])]
    built, count = artifact.built_sqnr_db, min((len(rows) for rows, _ in pairs), default=0)
    if built is None or count < BUILT_SAMPLES:
        return []
    found = least_db([(rows[:BUILT_SAMPLES], reference[:BUILT_SAMPLES]) for rows, reference in pairs])
    if not found < min(built, ORACLE_DB) - BUILT_DB:
        return []
    return [
        f"unlike its conversion: {found:.1f} dB here; where it was converted it lay {built:.1f} dB from PyTorch on the "
        f"same {BUILT_SAMPLES} samples"
    ]


def _cut_off(outputs: Sequence[Output], actual: Actual, expected: Arrays, table: Sequence[Tolerance]) -> list[str]:
    """Return a warning for each output that is within tolerance because its strange samples are left to decisions."""
    found = []
    for output, row in itertools.product(outputs, table):
        reference = expected[output.name]
        if row.unit != OF_MOST_SAMPLES or not of_floats(reference) or not all(one.within for one in output.judgements):
            continue
        whole = sqnr_of_most_db(actual.golden[output.name], reference)
        if not row.within(whole):
            found.append(
                f"{output.name}: {int(strange_samples(reference).sum())} of {len(reference)} samples have outputs more "
                f"than {STRANGE_TIMES:.0f} times as great as usual, and are judged by their decisions alone; with them "
                f"it is {whole:.1f} dB"
            )
    return found


def _steady(outputs: Sequence[Output], actual: Actual, golden: Golden, table: Sequence[Tolerance]) -> list[str]:
    """Return flags of outputs that a second run changed, or that differ between a batch and its samples one by one."""
    signs = []
    for output in outputs:
        name = output.name
        expected, oracle = golden.outputs[name], golden.oracle[name]
        floor, oracle_db = floor_of(expected, oracle), sqnr_db(expected, oracle)
        first, again, alone = (arrays.get(name) for arrays in (actual.together, actual.again, actual.alone))
        if first is None or again is None:
            signs.append(f"{name}: was not run a second time, so nobody knows whether it is repeatable")
            continue
        signs += flags.repeats(name, first, again, floor)
        limits = {tolerance.measure: tolerance.of(1, floor, oracle_db) for tolerance in table}
        if alone is not None and (apart := _apart(first, alone, limits)):
            signs.append(f"{name}: a batch of {len(alone)} gives other rows than its images one by one{apart}")
        for key, rows in part_of(actual.batches, name).items():
            if apart := _apart(rows, actual.golden[name][: int(key)], limits):
                signs.append(f"{name}: a batch of {key} gives other rows than the same inputs in other batches{apart}")
        last = actual.last.get(name)
        if last is None:
            signs.append(f"{name}: the last timed call left no outputs, so nobody knows whether it stays right")
        elif apart := _apart(last, actual.golden[name][:1], limits):
            signs.append(f"{name}: the last of the timed calls gives other outputs than the first call{apart}")
    return signs


def part_of(batches: Arrays, output: str) -> dict[str, Array]:
    """Return the arrays of an output by what stands before its name: `33.logits` by `33`."""
    return {key.partition(".")[0]: rows for key, rows in batches.items() if key.partition(".")[2] == output}


def _apart(rows: Array, reference: Array, limits: Mapping[str, Tolerance]) -> str:
    """Return in words how far an artifact's rows lie from its own of the same inputs; empty: no farther than allowed.

    Where a reference is NaN, that is said elsewhere.
    """
    if rows.shape != reference.shape:
        return f" (shape {rows.shape} for {reference.shape})"
    if not of_floats(reference):
        return "" if (rows == reference).all() else f" ({float((rows != reference).mean()):.1%} of the values)"
    if np.isnan(reference).any():
        return ""
    gap, ratio = float(np.abs(rows - reference).max()), sqnr_db(rows, reference)
    within = limits["max_absolute"].within(gap) if "max_absolute" in limits else limits["sqnr_db"].within(ratio)
    return "" if within else f" (greatest difference {gap:.3g}, SQNR {ratio:.1f} dB)"
