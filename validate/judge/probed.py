"""Judges what was run beside golden: patterns, other heights and widths, inputs made anew, and image files.

Each function returns what it found, and a sentence for all that cannot be right.
"""

import itertools
from collections.abc import Sequence

import numpy as np

from measures import flags, tasks
from measures.distance import compare, floor_of
from measures.tolerance import LITTLE_HEADROOM, PROBE, Tolerance, allowed_from_file, anew
from records.golden import PATTERNS, Actual, Fresh, Golden, Patterns, Probes, Sized
from records.tensor import Array
from validate.judge.judgements import judgement, wording
from validate.judge.outputs import beyond, least_db, of_floats, output_of
from validate.plan import Row
from validate.report.records import FromFile, Output, Probe
from validate.runtimes.job import Measured
from validate.runtimes.runner import LEAST_FRESH, LEAST_PATTERNS

FRESH_NAME = "made anew"
"""Name, among the probes, of the inputs that were made for this validation."""


def of_patterns(
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
        if not of_floats(golden_rows):  # on inputs unlike any, integers may be a matter of rounding
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


def of_sizes(
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
        output = output_of(name, rows, reference, sized.oracle[name], table)
        tightest = min(output.judgements, key=lambda judged: -np.inf if judged.headroom is None else judged.headroom)
        probes.append(Probe(sized.size, name, output.sqnr_db, output.max_absolute, output.noise_floor, tightest))
        problems += [f"at {sized.size}: {sentence}" for sentence in beyond([output], None, None, len(rows))]
    return probes, problems


def of_fresh(
    outputs: Sequence[Output], actual: Actual, fresh: Fresh, golden: Golden, table: Sequence[Tolerance]
) -> tuple[list[Probe], list[str]]:
    """Return each output for the inputs that were made anew, judged as golden is, and a sentence for each beyond.

    Less is asked than on golden (see `ANEW`). An output of integers is a decision, which on mixtures may be a matter of
    rounding.
    """
    probes: list[Probe] = []
    problems: list[str] = []
    for name in [output.name for output in outputs if of_floats(fresh.outputs[output.name])]:
        rows = actual.fresh.get(name)
        if rows is None or len(rows) < LEAST_FRESH or rows.shape[1:] != fresh.outputs[name].shape[1:]:
            problems.append(f"{FRESH_NAME} by seed {fresh.seed}: {name}: none was run, or another shape was given")
            continue
        reference, oracle = fresh.outputs[name][: len(rows)], fresh.oracle[name][: len(rows)]
        if not np.isfinite(oracle).all():  # PyTorch itself gives none
            continue
        floor = max(floor_of(reference, oracle), floor_of(golden.outputs[name], golden.oracle[name]))
        output = output_of(name, rows, reference, oracle, anew(table), floor)
        tightest = min(output.judgements, key=lambda judged: -np.inf if judged.headroom is None else judged.headroom)
        probes.append(Probe(FRESH_NAME, name, output.sqnr_db, output.max_absolute, floor, tightest))
        problems += [
            f"{FRESH_NAME} by seed {fresh.seed}: {sentence}" for sentence in beyond([output], None, None, len(rows))
        ]
    return probes, problems


def _probe(which: str, name: str, actual: Array, golden: Array, floor: float, limit: Tolerance | None) -> Probe:
    difference = compare(actual, golden)
    judged = judgement(limit.of(1, floor), difference.max_absolute) if limit else None
    return Probe(which, name, difference.sqnr_db, difference.max_absolute, floor, judged)


def tight(probes: Sequence[Probe]) -> list[str]:
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


def from_image_files(row: Row, actual: Actual, probes: Probes, measured: Measured) -> tuple[FromFile | None, list[str]]:
    """Return the numbers of an app that starts from an image file, and a sentence for all that is beyond tolerance."""
    assert row.artifact
    task, names = tasks.load(row.artifact.task), [tensor.name for tensor in row.artifact.outputs]
    files = measured.from_file
    if files is None or any(name not in arrays for name in names for arrays in (actual.file, actual.training)):
        return None, [f"image files prepared in {row.language}: none was run"]
    steps = float("nan") if files.input_steps is None else files.input_steps  # JSON's null is a NaN
    names = [name for name in names if of_floats(probes.outputs[name])] or names
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
