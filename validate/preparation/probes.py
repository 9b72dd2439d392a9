"""Prepares a checkpoint's image files as an app in Python prepares them.

prepared(checkpoint.probes(), artifact.preparation, "image")
"""

from collections.abc import Iterable

import numpy as np

from records.golden import Probes
from records.preparation import misfit
from records.tensor import Array, Tensor
from validate.preparation.prepare import prepare


def prepared(probes: Probes, tensors: Iterable[Tensor]) -> dict[str, Array]:
    """Return the probes' image files as each input that has a preparation, (K, 3, H, W) float32. Raises ValueError."""
    inputs = {}
    for tensor in tensors:
        if tensor.preparation is None:
            continue
        expected = probes.inputs[tensor.name]
        if tensor.name not in probes.files:
            raise ValueError(f"the checkpoint has no image files for {tensor.name}.")
        if reason := misfit(tensor.preparation, expected.shape):
            raise ValueError(f"{reason}.")
        images = [prepare(file.tobytes(), tensor.preparation) for file in probes.files[tensor.name]]
        inputs[tensor.name] = np.concatenate(images)
    return inputs
