"""Judges one output against what PyTorch gave for the same inputs.

output = output_of("logits", actual, golden, oracle, table)
beyond([output], None, None, len(actual))            # a sentence for all that is not within tolerance
"""

import dataclasses
from collections.abc import Sequence

import numpy as np

from measures.distance import compare, equal, floor_of, histogram, sqnr_db, sqnr_of_most_db
from measures.tolerance import EXACT, OF_MOST_SAMPLES, Tolerance
from records.tensor import Array
from validate.judge.judgements import judgement, wording
from validate.report.records import Agreement, Histogram, Metric, Output


def output_of(
    name: str,
    actual: Array,
    golden: Array,
    oracle: Array,
    table: Sequence[Tolerance],
    least_floor: float = 0.0,
    decided: bool = False,
) -> Output:
    """Return an output (N, …) with how far it lies from golden, and what a table says of that.

    least_floor: what its noise floor is at least. decided: True if decisions are made of it, which are judged as such.
    Raises ValueError for another shape.
    """
    difference = compare(actual, golden)
    floor, oracle_db = max(floor_of(golden, oracle), least_floor), sqnr_db(golden, oracle)
    if of_floats(golden):
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


def of_floats(values: Array) -> bool:
    """True if an output's values are near or far from others; integers and booleans are equal or not."""
    return bool(np.issubdtype(values.dtype, np.floating))


def least_db(pairs: Sequence[tuple[Array, Array]]) -> float:
    """Return the least SQNR of (actual, reference) pairs; NaN if they differ in shape or a value is not finite."""
    for actual, reference in pairs:
        if actual.shape != reference.shape or not (np.isfinite(actual).all() and np.isfinite(reference).all()):
            return float("nan")
    return float(np.min([sqnr_db(actual.astype(np.float64), reference) for actual, reference in pairs]))


def beyond(outputs: Sequence[Output], agreed: Agreement | None, metric: Metric | None, count: int) -> list[str]:
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
