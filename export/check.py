"""Does what a conversion made compute what its source computes? Asked before the artifact is accepted.

    sqnr(actual, reference) >= SAME_DB

Runs inside toolchains: numpy only.
"""

from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]

SAMPLES = 32
"""Golden inputs a conversion is checked on."""
SAME_DB = 100.0
"""SQNR of two float32 graphs of one model, at least: rounding alone leaves 115 to 141 dB."""


def sqnr(actual: Array, reference: Array) -> float:
    """Signal to quantization noise ratio in dB; infinite for equal arrays, NaN where a value is no number."""
    noise = np.square(actual.astype(np.float64) - reference).sum()
    return float(10 * np.log10(np.square(reference.astype(np.float64)).sum() / noise)) if noise else float("inf")


def least(actual: dict[str, Array], reference: dict[str, Array]) -> float:
    """The least SQNR of all outputs, in dB; NaN before any number. Raises ValueError for another shape."""
    ratios = []
    for name, expected in reference.items():
        if actual[name].shape != expected.shape:
            raise ValueError(f"{name} has shape {actual[name].shape}, its source gives {expected.shape}")
        ratios.append(sqnr(actual[name], expected))
    return float(np.min(ratios))


def rounded(ratio: float) -> float:
    """For a manifest: JSON has no infinity."""
    return round(min(ratio, 999.0), 1)
