"""Judges what was measured: outputs against golden, every difference against the table, and red flags.

    result = judge(row, measurement, proof)

Numbers in, a Result out. Everything is computed before anything is judged.
"""

import dataclasses
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
    compare,
    equal,
    floor_of,
    histogram,
    sqnr_db,
    sqnr_of_most_db,
    strange_samples,
)
from measures.tolerance import (
    BUILT_DB,
    BUILT_SAMPLES,
    EXACT,
    INTEGER_DB,
    INTEGERS,
    LITTLE_HEADROOM,
    OF_MOST_SAMPLES,
    ORACLE_DB,
    PROBE,
    Tolerance,
    allowed,
    allowed_from_file,
    anew,
)
from records.golden import PATTERNS, Actual, Fresh, Golden, Patterns, Probes, Proof, Sized
from records.tensor import Array, Arrays, preparations
from validate.judge.decisions import Decisions, of_further, told_further
from validate.judge.judgements import judgement, wording
from validate.judge.pairing import fairness, paired
from validate.measure import Measurement
from validate.plan import Row, quantization
from validate.report.records import (
    Agreement,
    FromFile,
    Histogram,
    Judgement,
    Metric,
    Output,
    Probe,
    Result,
)
from validate.runtimes.job import Measured
from validate.runtimes.runner import LEAST, LEAST_FRESH, LEAST_PATTERNS

FRESH_NAME = "made anew"
"""Name, among the probes, of the inputs that were made for this validation."""
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
                _output(name, actual.golden[name], reference, oracle[name], table, decided=name in task.DECIDED_BY)
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
    from_file, unfed = _from_file(row, actual, files, measured) if files else (None, [])
    probed, strange = _of_patterns(outputs, actual, proof.patterns, table) if proof.patterns else ([], [])
    if any(tensor.any_size for tensor in artifact.inputs):
        resized, misfits = _of_sizes(actual, proof.sizes, [tensor.name for tensor in artifact.outputs], table)
        probed, strange = probed + resized, strange + misfits
    if proof.fresh:
        mixed, wrong = _of_fresh(outputs, actual, proof.fresh, golden, table)
        probed, strange = probed + mixed, strange + wrong
    problems += _beyond(outputs, decision_fields.get("agreement"), decision_fields.get("metric"), made)
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
    finite = [output for output in outputs if not output.not_finite and _of_floats(golden.outputs[output.name])]
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
    ] + _tight(probed)


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
    pairs = [(actual.golden[name], golden.outputs[name]) for name in names if _of_floats(golden.outputs[name])]
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


def _output(
    name: str,
    actual: Array,
    golden: Array,
    oracle: Array,
    table: Sequence[Tolerance],
    least_floor: float = 0.0,
    decided: bool = False,
) -> Output:
    difference = compare(actual, golden)
    floor, oracle_db = max(floor_of(golden, oracle), least_floor), sqnr_db(golden, oracle)
    if _of_floats(golden):
        judgements = [
            judgement(
                row.of(len(golden), floor, oracle_db),
                sqnr_of_most_db(actual, golden, decided)
                if row.unit == OF_MOST_SAMPLES
                else getattr(difference, row.measure),
            )
            for row in table
            if hasattr(difference, row.measure)
        ]
    else:  # what decisions are made of is judged as such
        judgements = [] if decided else [judgement(row.of(golden.size), equal(actual, golden)) for row in EXACT]
    return Output(
        name=name,
        noise_floor=float(np.abs(golden.astype(np.float64) - oracle).max()),
        histogram=None if difference.not_finite else Histogram(*histogram(actual, golden)),
        judgements=judgements,
        **dataclasses.asdict(difference) | {"worst": list(difference.worst)},
    )


def _cut_off(outputs: Sequence[Output], actual: Actual, expected: Arrays, table: Sequence[Tolerance]) -> list[str]:
    """Return a warning for each output that is within tolerance because its strange samples are left to decisions."""
    found = []
    for output, row in itertools.product(outputs, table):
        reference = expected[output.name]
        if row.unit != OF_MOST_SAMPLES or not _of_floats(reference) or not all(one.within for one in output.judgements):
            continue
        whole = sqnr_of_most_db(actual.golden[output.name], reference)
        if not row.within(whole):
            found.append(
                f"{output.name}: {int(strange_samples(reference).sum())} of {len(reference)} samples have outputs more "
                f"than {STRANGE_TIMES:.0f} times as great as usual, and are judged by their decisions alone; with them "
                f"it is {whole:.1f} dB"
            )
    return found


def _of_floats(values: Array) -> bool:
    """True if an output's values are near or far from others; integers and booleans are equal or not."""
    return bool(np.issubdtype(values.dtype, np.floating))


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
    if not _of_floats(reference):
        return "" if (rows == reference).all() else f" ({float((rows != reference).mean()):.1%} of the values)"
    if np.isnan(reference).any():
        return ""
    gap, ratio = float(np.abs(rows - reference).max()), sqnr_db(rows, reference)
    within = limits["max_absolute"].within(gap) if "max_absolute" in limits else limits["sqnr_db"].within(ratio)
    return "" if within else f" (greatest difference {gap:.3g}, SQNR {ratio:.1f} dB)"


def _of_patterns(
    outputs: Sequence[Output], actual: Actual, patterns: Patterns, table: Sequence[Tolerance]
) -> tuple[list[Probe], list[str]]:
    """Return each pattern's outputs compared with PyTorch's, and a sentence for each that cannot be right.

    A pattern is skipped if PyTorch itself gives NaN or infinity for it.
    """
    probes: list[Probe] = []
    problems: list[str] = []
    limit = next((tolerance for tolerance in table if tolerance.measure == PROBE), None)
    for output in outputs:
        name = output.name
        actual_rows, golden_rows = actual.pattern.get(name), patterns.outputs[name]
        if actual_rows is None or len(actual_rows) < LEAST_PATTERNS or actual_rows.shape[1:] != golden_rows.shape[1:]:
            shape = (
                "none was run"
                if actual_rows is None
                else f"shape {actual_rows.shape}, PyTorch gives {golden_rows.shape}"
            )
            problems.append(f"probes: {name}: {shape}; {LEAST_PATTERNS} probes are needed")
            continue
        floors = patterns.floors[name]  # no number either, where an output is none
        places = np.flatnonzero(np.isfinite(floors[: len(actual_rows)]))
        if not _of_floats(golden_rows):  # on inputs unlike any, integers may be a matter of rounding
            continue
        for index in places:
            floor = max(float(floors[index]), floor_of(golden_rows[places], golden_rows[places]))
            probes.append(_probe(PATTERNS[index], name, actual_rows[index], golden_rows[index], floor, limit))
            problems += _beyond_probe(probes[-1], actual_rows[index])
        if limit is None and len(places) and np.isfinite(actual_rows[places]).all():
            problems += flags.collapsed(
                name, actual_rows[places], golden_rows[places], actual.golden[name], output.max_absolute or 0.0
            )
    return probes, problems


def _of_sizes(
    actual: Actual, sizes: Sequence[Sized], names: Sequence[str], table: Sequence[Tolerance]
) -> tuple[list[Probe], list[str]]:
    """Return each output at each other height and width, judged as golden is, and a sentence for each beyond tolerance.

    Of several judgements of an output the one with the least headroom is told.
    """
    probes: list[Probe] = []
    problems: list[str] = []
    for (number, sized), name in itertools.product(enumerate(sizes), names):
        reference, rows = sized.outputs[name], actual.sized.get(f"{number}.{name}")
        if rows is None or rows.shape != reference.shape:
            what = "was not run" if rows is None else f"has shape {rows.shape}, PyTorch gives {reference.shape}"
            problems.append(f"at {sized.size}: {name} {what}")
            continue
        output = _output(name, rows, reference, sized.oracle[name], table)
        tightest = min(output.judgements, key=lambda judged: -np.inf if judged.headroom is None else judged.headroom)
        probes.append(Probe(sized.size, name, output.sqnr_db, output.max_absolute, output.noise_floor, tightest))
        problems += [f"at {sized.size}: {sentence}" for sentence in _beyond([output], None, None, len(rows))]
    return probes, problems


def _of_fresh(
    outputs: Sequence[Output], actual: Actual, fresh: Fresh, golden: Golden, table: Sequence[Tolerance]
) -> tuple[list[Probe], list[str]]:
    """Return each output for the inputs that were made anew, judged as golden is, and a sentence for each beyond.

    Less is asked than on golden (see `ANEW`). An output of integers is a decision, which on mixtures may be a matter of
    rounding.
    """
    probes: list[Probe] = []
    problems: list[str] = []
    for name in [output.name for output in outputs if _of_floats(fresh.outputs[output.name])]:
        rows = actual.fresh.get(name)
        if rows is None or len(rows) < LEAST_FRESH or rows.shape[1:] != fresh.outputs[name].shape[1:]:
            problems.append(f"{FRESH_NAME} by seed {fresh.seed}: {name}: none was run, or another shape was given")
            continue
        reference, oracle = fresh.outputs[name][: len(rows)], fresh.oracle[name][: len(rows)]
        if not np.isfinite(oracle).all():  # PyTorch itself gives none
            continue
        floor = max(floor_of(reference, oracle), floor_of(golden.outputs[name], golden.oracle[name]))
        output = _output(name, rows, reference, oracle, anew(table), floor)
        tightest = min(output.judgements, key=lambda judged: -np.inf if judged.headroom is None else judged.headroom)
        probes.append(Probe(FRESH_NAME, name, output.sqnr_db, output.max_absolute, floor, tightest))
        problems += [
            f"{FRESH_NAME} by seed {fresh.seed}: {sentence}" for sentence in _beyond([output], None, None, len(rows))
        ]
    return probes, problems


def _probe(which: str, name: str, actual: Array, golden: Array, floor: float, limit: Tolerance | None) -> Probe:
    difference = compare(actual, golden)
    judged = judgement(limit.of(1, floor), difference.max_absolute) if limit else None
    return Probe(which, name, difference.sqnr_db, difference.max_absolute, floor, judged)


def _tight(probes: Sequence[Probe]) -> list[str]:
    """Return a warning for the probe with the least headroom, if that is little."""
    rooms = [(probe.judgement.headroom, probe) for probe in probes if probe.judgement and probe.judgement.within]
    room, worst = min(rooms, key=lambda pair: pair[0] or 0.0, default=(1.0, None))
    if worst is None or worst.judgement is None or (room or 0.0) >= LITTLE_HEADROOM:
        return []
    return [f"little headroom on probe {worst.name}: {wording(worst.judgement)}"]


def _beyond_probe(probe: Probe, actual: Array) -> list[str]:
    """Return a sentence for a probe that failed."""
    where = f"probe {probe.name}: {probe.output}"
    if not np.isfinite(actual).all():
        return [f"{where}: {int((~np.isfinite(actual)).sum())} values are NaN or infinite"]
    if probe.judgement is None or probe.judgement.within:
        return []
    return [f"{where}: {wording(probe.judgement)}, SQNR {probe.sqnr_db:.1f} dB"]


def _from_file(row: Row, actual: Actual, probes: Probes, measured: Measured) -> tuple[FromFile | None, list[str]]:
    """Return the numbers of an app that starts from an image file, and a sentence for all that is beyond tolerance."""
    assert row.artifact
    task, names = tasks.load(row.artifact.task), [tensor.name for tensor in row.artifact.outputs]
    files = measured.from_file
    if files is None or any(name not in arrays for name in names for arrays in (actual.file, actual.training)):
        return None, [f"image files prepared in {row.language}: none was run"]
    steps = float("nan") if files.input_steps is None else files.input_steps  # JSON's null is a NaN
    names = [name for name in names if _of_floats(probes.outputs[name])] or names
    file_db = least_db([(actual.file[name], actual.training[name]) for name in names])
    probe_db = least_db([(actual.file[name][:1], probes.outputs[name][:1]) for name in names])
    values = {"input_steps": steps, "file_db": file_db, "probe_db": probe_db}
    scales = [tensor.scale for tensor in row.artifact.inputs if tensor.preparation and tensor.scale]
    own_db = least_db([(actual.training[name][:1], probes.outputs[name][:1]) for name in names])
    table = allowed_from_file(
        row.artifact.precision, max(scales, default=None), row.overrides, own_db, task.SENSITIVE_DB
    )
    judgements = [judgement(tolerance, values[tolerance.measure]) for tolerance in table]
    beyond = ", ".join(wording(judgement) for judgement in judgements if not judgement.within)
    return FromFile(row.language, files.samples, steps, file_db, probe_db, judgements), (
        [f"image files prepared in {row.language} differ from training's: {beyond}"] if beyond else []
    )


def least_db(pairs: Sequence[tuple[Array, Array]]) -> float:
    """Return the least SQNR of (actual, reference) pairs; NaN if they differ in shape or a value is not finite."""
    for actual, reference in pairs:
        if actual.shape != reference.shape or not (np.isfinite(actual).all() and np.isfinite(reference).all()):
            return float("nan")
    return float(np.min([sqnr_db(actual.astype(np.float64), reference) for actual, reference in pairs]))


def _beyond(outputs: Sequence[Output], agreed: Agreement | None, metric: Metric | None, count: int) -> list[str]:
    """Return a sentence for every judgement that is not within tolerance."""
    sentences = []
    for output in outputs:
        if output.not_finite:
            sentences.append(
                f"{output.name}: {output.not_finite} values are NaN or infinite, the first at {tuple(output.worst)}"
            )
            continue
        sentences += [
            f"{output.name}: {wording(judgement)}, greatest difference at {tuple(output.worst)}"
            for judgement in output.judgements
            if not judgement.within
        ]
    if agreed and not agreed.judgement.within:
        sentences.append(
            f"{round((1 - agreed.share) * count)} of {count} decisions differ from golden's: "
            f"{wording(agreed.judgement)}"
        )
    if metric and not metric.judgement.within:
        sentences.append(f"{metric.name} {metric.golden:.4f} → {metric.actual:.4f}: {wording(metric.judgement)}")
    return sentences
