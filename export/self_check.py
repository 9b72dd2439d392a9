"""What a conversion checks by itself: that its result computes what its source does, and that it fits its format.

    least(actual, reference) >= SAME_DB

Runs inside toolchains: numpy only.
"""

import numpy as np

from export.graphs.operators import Inexpressible
from measures.distance import sqnr_db
from measures.tolerance import BELOW_GOLDEN_DB, SAME_DB
from pipeline.checkpoint import WEIGHTS, Checkpoint
from records.tensor import Arrays

SAMPLES = 32
"""Golden inputs a conversion is checked on."""
LIMIT_BYTES = 2**31
"""What one protobuf or flatbuffer can hold."""


def least(actual: Arrays, reference: Arrays) -> float:
    """The least SQNR of all outputs, in dB; NaN before any number. Raises ValueError for another shape."""
    ratios = []
    for name, expected in reference.items():
        if actual[name].shape != expected.shape:
            raise ValueError(f"{name} has shape {actual[name].shape}, its source gives {expected.shape}")
        ratios.append(sqnr_db(actual[name], expected))
    return float(np.min(ratios))


def same_db(opened: Checkpoint) -> float:
    """SQNR in dB that two float32 graphs of this model have at least, in another order of summation."""
    golden = opened.golden()
    own = [sqnr_db(golden.outputs[tensor.name], golden.oracle[tensor.name]) for tensor in opened.outputs]
    return float(min(SAME_DB, *(ratio - BELOW_GOLDEN_DB for ratio in own)))


def rounded(ratio: float) -> float:
    """Return a ratio in dB as a manifest has it."""
    return round(ratio, 1)


def fits(opened: Checkpoint, what: str) -> None:
    """Whether the weights go into one protobuf or flatbuffer. Raises Inexpressible."""
    size = (opened.folder / WEIGHTS).stat().st_size
    if size >= LIMIT_BYTES:
        raise Inexpressible(f"weights of {size / 2**30:.1f} GiB, and {what} holds 2 at most.")
