"""The checks that a conversion makes by itself: its result computes what its source does, and fits its format.

    least(actual, reference) >= SAME_DB

Runs inside toolchains: numpy only.
"""

import itertools
import math
from collections.abc import Callable, Mapping

import numpy as np

from export.graphs.operators import Inexpressible
from measures import tasks
from measures.distance import sqnr_db
from measures.tolerance import BELOW_GOLDEN_DB, BUILT_SAMPLES, SAME_DB
from pipeline.checkpoint import WEIGHTS, Checkpoint
from records.golden import Golden
from records.tensor import Arrays

SAMPLES = 32
"""Golden inputs a conversion is checked on."""
BATCHES = (1, 5, 8)
"""Samples of one call of a check: one, an odd number, and little memory at any image size."""
BUILT = "built_sqnr_db"
"""Key among a manifest's details: SQNR against PyTorch that a conversion to integers measured of its own result."""
LIMIT_BYTES = 2**31
"""Bytes that one protobuf or flatbuffer can hold."""


def least(
    actual: Arrays,
    reference: Arrays,
    task: tasks.Task | None = None,
    thresholds: Mapping[str, float] = tasks.NO_THRESHOLDS,
) -> float:
    """Return the least SQNR of all outputs, in dB; NaN if one is NaN. Raises ValueError for a different shape.

    Beside floats, integers do not count: a class that is another one is not near or far. task: what puts outputs in the
    reference's order first; None: they are. thresholds: what the model decides by, as a checkpoint's `decoding`.
    """
    ratios: dict[str, float] = {}
    for name, expected in reference.items():
        if actual[name].shape != expected.shape:
            raise ValueError(f"{name} has shape {actual[name].shape}, its source gives {expected.shape}")
    ordered = tasks.in_order(task, actual, reference, thresholds) if task else actual
    for name, expected in reference.items():
        ratios[name] = sqnr_db(ordered[name], expected)
    floats = [name for name, expected in reference.items() if np.issubdtype(expected.dtype, np.floating)]
    return float(np.min([ratios[name] for name in floats or ratios]))


def built(golden: Golden, call: Callable[[Arrays], Arrays], task: tasks.Task) -> dict[str, float]:
    """Return the detail of a manifest that says how near integers lie to PyTorch on the first golden samples, in dB.

    None, where that is no number, or what was converted does not run here, which a row of the report says in its own
    words. A runtime that computes the file otherwise than its conversion saw it is told by this.

    call: inputs (N, …) → outputs, both as the checkpoint has them.
    """
    inputs, reference = (
        {name: values[:BUILT_SAMPLES] for name, values in arrays.items()} for arrays in (golden.inputs, golden.outputs)
    )
    try:
        ratio = least(call(inputs), reference, task)
    except (RuntimeError, ValueError) as error:
        print(f"not measured against PyTorch: {error}")
        return {}
    return {BUILT: rounded(ratio)} if math.isfinite(ratio) else {}


def in_batches(call: Callable[[Arrays], Arrays], arrays: Arrays) -> Arrays:
    """Return what a function of some samples gives for all: called for each size of a batch once, then the greatest."""
    count = len(next(iter(arrays.values())))
    starts = [0, *np.cumsum(BATCHES).tolist()]
    starts = [*starts, *range(starts[-1] + BATCHES[-1], count, BATCHES[-1])]
    bounds = [start for start in starts if start < count] + [count]
    parts = [
        call({name: value[start:end] for name, value in arrays.items()}) for start, end in itertools.pairwise(bounds)
    ]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}


def same_db(opened: Checkpoint) -> float:
    """Return the SQNR in dB that two float32 graphs of this model have at least, whatever their order of summation."""
    golden = opened.golden()
    own = [
        sqnr_db(golden.outputs[tensor.name], golden.oracle[tensor.name])
        for tensor in opened.outputs
        if np.issubdtype(golden.outputs[tensor.name].dtype, np.floating)
    ]
    return float(min(SAME_DB, *(ratio - BELOW_GOLDEN_DB for ratio in own)))


def rounded(ratio: float) -> float:
    """Return a ratio in dB as a manifest keeps it."""
    return round(ratio, 1)


def beyond_one_file(opened: Checkpoint) -> bool:
    """True if the weights do not go into one protobuf or flatbuffer."""
    return (opened.folder / WEIGHTS).stat().st_size >= LIMIT_BYTES


def fits(opened: Checkpoint, format_name: str) -> None:
    """Check that the weights go into one protobuf or flatbuffer. Raises Inexpressible."""
    if beyond_one_file(opened):
        size = (opened.folder / WEIGHTS).stat().st_size
        raise Inexpressible(f"weights of {size / 2**30:.1f} GiB, and {format_name} holds 2 at most.")
