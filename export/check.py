"""What a conversion checks by itself: that its result computes what its source does, and that ranges have a basis.

    least(actual, reference) >= SAME_DB

Runs inside toolchains: numpy only.
"""

from typing import Any

import numpy as np

from export.operators import Inexpressible
from pipeline.checkpoint import WEIGHTS, Checkpoint, fingerprints

Array = np.ndarray[Any, Any]

SAMPLES = 32
"""Golden inputs a conversion is checked on."""
SAME_DB = 100.0
"""SQNR of two float32 graphs of one model, at least: rounding alone leaves 115 to 141 dB …"""
BELOW_GOLDEN_DB = 24.0
"""… or this much below golden's own, where the network is hard on float32: as validate/tolerance.py has it."""

INTEGER_DB = 25.0
"""SQNR of a model in integers, at least: validate/tolerance.py has the reason."""
AGREEMENT = 0.99
"""Share of decisions that stay, at least: the same."""

LIMIT_BYTES = 2**31
"""What one protobuf or flatbuffer can hold."""
CALIBRATION = 32
"""Samples that integer ranges need, at least."""


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


def same_db(opened: Checkpoint) -> float:
    """SQNR in dB that two float32 graphs of this model have at least, in another order of summation."""
    golden = opened.golden()
    own = [sqnr(golden[f"output.{one.name}"], golden[f"oracle.{one.name}"]) for one in opened.outputs]
    return float(min(SAME_DB, *(ratio - BELOW_GOLDEN_DB for ratio in own)))


def rounded(ratio: float) -> float:
    """For a manifest: JSON has no infinity."""
    return round(min(ratio, 999.0), 1)


def calibration(opened: Checkpoint) -> dict[str, Array]:
    """The checkpoint's calibration samples by input name, (N, …) float32. Raises ValueError for too few or constant."""
    samples = opened.calibration()
    found: dict[str, Array] = {}
    for tensor in opened.inputs:
        values = samples.get(f"input.{tensor.name}")
        if values is None:
            raise ValueError(
                f"no calibration for {tensor.name} in {opened.folder}. Train again: anywhere train --force."
            )
        if len(values) < CALIBRATION:
            raise ValueError(
                f"calibration has {len(values)} samples of {tensor.name}; integer ranges need {CALIBRATION}. Train "
                "with more images, or a greater data.calibration."
            )
        if (values == values[:1]).all() or (np.ptp(values.reshape(len(values), -1), axis=1) == 0).all():
            raise ValueError(
                f"calibration of {tensor.name} is constant, so it sets no integer ranges. Look at the training images."
            )
        found[tensor.name] = values
    return found


def provenance(samples: dict[str, Array]) -> dict[str, Any]:
    """Which calibration set the ranges, for a manifest."""
    return {
        "calibration_samples": len(next(iter(samples.values()))),
        "calibration_sha256": {name: fingerprints(values) for name, values in samples.items()},
        "calibration_method": "minmax",
    }


def fits(opened: Checkpoint, what: str) -> None:
    """Whether the weights go into one protobuf or flatbuffer. Raises Inexpressible."""
    size = (opened.folder / WEIGHTS).stat().st_size
    if size >= LIMIT_BYTES:
        raise Inexpressible(f"weights of {size / 2**30:.1f} GiB, and {what} holds 2 at most.")
