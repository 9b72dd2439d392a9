"""Samples that set integer ranges: read from a checkpoint, refused where they cannot set any.

    samples = calibration(Checkpoint.open(folder))

Runs inside toolchains: numpy only.
"""

from typing import Any

import numpy as np

from pipeline.checkpoint import Checkpoint
from records.sealed import fingerprints
from records.tensor import Array

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
        checked[tensor.name] = values
    return checked


def provenance(samples: dict[str, Array]) -> dict[str, Any]:
    """Return, for a manifest, which calibration set the ranges."""
    return {
        "calibration_samples": len(next(iter(samples.values()))),
        "calibration_sha256": {name: fingerprints(values) for name, values in samples.items()},
        "calibration_method": "minmax",
    }
