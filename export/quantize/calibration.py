"""Samples that set integer ranges: read from a checkpoint, refused where they cannot set any.

    samples = calibration(Checkpoint.open(folder))

Runs inside toolchains: numpy only.
"""

from collections.abc import Iterable
from typing import Any

import numpy as np

from pipeline.checkpoint import Checkpoint
from records.errors import AGAIN
from records.sealed import fingerprints
from records.tensor import Array, Arrays, Tensor

CALIBRATION = 32
"""Samples that integer ranges need, at least."""


def calibration(opened: Checkpoint) -> dict[str, Array]:
    """Return the checkpoint's calibration samples by input name, (N, …) float32.

    Raises ValueError for too few or constant.
    """
    samples = opened.calibration()
    checked: dict[str, Array] = {}
    for tensor in opened.inputs:
        values = samples.get(tensor.name)
        if values is None:
            raise ValueError(f"no calibration for {tensor.name} in {opened.folder}. {AGAIN}.")
        if len(values) < CALIBRATION:
            raise ValueError(
                f"calibration has {len(values)} samples of {tensor.name}; integer ranges need {CALIBRATION}. Train "
                "with more images, or a greater data.calibration; or adopt with more samples."
            )
        rows = values.reshape(len(values), -1)
        if (values == values[:1]).all() or (rows.shape[1] > 1 and bool((rows == rows[:, :1]).all())):
            raise ValueError(
                f"calibration of {tensor.name} is constant, so it sets no integer ranges. Look at the samples."
            )
        checked[tensor.name] = values
    return checked


def spanning(samples: Arrays, tensors: Iterable[Tensor]) -> dict[str, Array]:
    """Return a copy of calibration samples as these inputs lay them out, in which every input spans its whole range.

    Two corner values of the first sample are set to the ends of the range: the step of an image is to be 1/255 exactly.
    """
    spanned: dict[str, Array] = {}
    for tensor in tensors:
        values = np.array(tensor.stored(samples[tensor.name]))
        if tensor.range is not None:
            values[0].flat[0], values[0].flat[-1] = tensor.range
        spanned[tensor.name] = values
    return spanned


def provenance(samples: dict[str, Array]) -> dict[str, Any]:
    """Return, for a manifest, which calibration set the ranges."""
    return {
        "calibration_samples": len(next(iter(samples.values()))),
        "calibration_sha256": {name: fingerprints(values) for name, values in samples.items()},
    }
